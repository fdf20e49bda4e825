"""What all tests share: they touch nothing of the learner's, and reach no network."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

# Set before `helpers` is imported, and inherited by every program that a test starts.
GIVEN_DATASET = os.environ.pop("TUTORIAL_DATASET", "")
SCRATCH = Path(tempfile.mkdtemp(prefix="tutorial-tests-"))
os.environ.pop("TUTORIAL_PROFILE", None)
os.environ["TUTORIAL_RUNS"] = str(SCRATCH / "runs")
os.environ["KERAS_HOME"] = str(SCRATCH / "keras")
os.environ["KAGGLEHUB_CACHE"] = str(SCRATCH / "kagglehub")
os.environ["KAGGLE_API_ENVIRONMENT"] = "TEST"  # Kaggle's client then asks localhost:7777
os.environ["MPLBACKEND"] = "Agg"


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)


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
    named = Path(GIVEN_DATASET) if GIVEN_DATASET.endswith(".zip") else None
    for path in filter(None, (named, ROOT.parent / "shared" / "fer2013.zip")):
        if path.is_file():
            return path.resolve()
    pytest.skip("FER-2013 is not here: name Kaggle's archive.zip in TUTORIAL_DATASET")


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy faces, written once for all tests; to be read only."""
    from fetch.toy_faces import write_toy_faces

    return write_toy_faces(tmp_path_factory.mktemp("toy") / "toy")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium: the system's, or the one that Playwright downloaded."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    if not Path(path).exists():
        lacking("no Chromium here: install it, or run `python -m playwright install chromium`")
    return path
