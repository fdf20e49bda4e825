"""What all tests share: they touch nothing of the learner's, and reach no network."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

# Set before `helpers` is imported, and inherited by every program that a test starts: by the
# workers too, among which `python start.py test` divides the tests.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if not WORKER:
    os.environ["TUTORIAL_TESTS"] = tempfile.mkdtemp(prefix="tutorial-tests-")
    os.environ["TUTORIAL_TESTS_DATASET"] = os.environ.pop("TUTORIAL_DATASET", "")
SHARED = Path(os.environ["TUTORIAL_TESTS"])  # by all workers
SCRATCH = SHARED / (WORKER or "alone")
os.environ.pop("TUTORIAL_PROFILE", None)
os.environ["TUTORIAL_RUNS"] = str(SCRATCH / "runs")
os.environ["KERAS_HOME"] = str(SCRATCH / "keras")
os.environ["KAGGLEHUB_CACHE"] = str(SCRATCH / "kagglehub")
os.environ["KAGGLE_API_ENVIRONMENT"] = "TEST"  # Kaggle's client then asks localhost:7777
os.environ["MPLBACKEND"] = "Agg"
if WORKER:  # one core for each, which they would else take from each other
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

KINDS = ("browser", "notebook")  # they come after all others, so that the first word is quick
ALONE = "test_runs_alone"  # whole notebooks share nothing: any worker takes the next one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def kind(item: pytest.Item) -> int:
        marked = [k for k, name in enumerate(KINDS, 1) if item.get_closest_marker(name)]
        return max(marked, default=0)

    items.sort(key=kind)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Let a worker take the tests of a whole file: they share servers, ports and what they make."""
    # Marks for --dist=loadgroup would do, but pytest-xdist 3.8 loses them with pytest 9.2.
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return nodeid if test.startswith(ALONE) else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_unconfigure() -> None:
    if not WORKER:
        shutil.rmtree(SHARED, ignore_errors=True)


def lacking(reason: str) -> None:
    """Skip for want of something that continuous integration has; there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing is skipped for this: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name but this machine's be looked up."""
    real = socket.getaddrinfo

    def local_only(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name in (None, "", "localhost", "0.0.0.0", "::", "::1") or name.startswith("127."):
            return real(host, *args, **kwargs)
        raise socket.gaierror(f"tests reach no network, and {name} is one")

    monkeypatch.setattr(socket, "getaddrinfo", local_only)


@pytest.fixture(scope="session")
def fer2013_zip() -> Path:
    """The true FER-2013: what TUTORIAL_DATASET names, or a copy beside the project."""
    named = Path(os.environ["TUTORIAL_TESTS_DATASET"])
    for path in (named, ROOT.parent / "shared" / "fer2013.zip"):
        if path.suffix == ".zip" and path.is_file():
            return path.resolve()
    pytest.skip("FER-2013 is not here: name Kaggle's archive.zip in TUTORIAL_DATASET")


@pytest.fixture(scope="session")
def toy_folder() -> Path:
    """The toy faces, written once for all tests; to be read only."""
    from fetch.toy_faces import write_toy_faces

    folder = SHARED / "toy"
    if not folder.exists():
        mine = write_toy_faces(SCRATCH / "toy")
        with contextlib.suppress(OSError):  # the other worker was quicker
            mine.rename(folder)
    return folder


@pytest.fixture(scope="session")
def installed() -> Path:
    """A folder with what `pip install` of the project copies, and nothing else of it."""
    poetry = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["poetry"]
    patterns = [f"{package['include']}/**/*" for package in poetry["packages"]]
    patterns += [entry["path"] for entry in poetry["include"]]
    for path in (path for pattern in patterns for path in ROOT.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = SCRATCH / "installed" / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return SCRATCH / "installed"


@functools.cache
def find_chromium() -> str:
    """Return the path of a Chromium, the system's or the one that Playwright downloaded, or ""."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else ""


@pytest.fixture(scope="session")
def chromium() -> str:
    if not find_chromium():
        lacking("no Chromium here: install it, or run `python -m playwright install chromium`")
    return find_chromium()
