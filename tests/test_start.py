"""start.py with other Pythons, machines and networks than this one; nothing large is installed."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from conftest import ROOT
from test_pack_room import write_wheel

import start

SOURCE = (ROOT / "start.py").read_text("utf-8")


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip and nothing else, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=True)
    return folder


@pytest.fixture
def project(tmp_path: Path, bare_venv: Path) -> Path:
    """A project of two files: start.py installs one empty package, without a network."""
    folder = tmp_path / "a project"
    (folder / "fetch").mkdir(parents=True)
    (folder / "fetch" / "__main__.py").write_text("print('data ready')")
    (folder / "tools").mkdir()
    (folder / "tools" / "run_notebooks.py").write_text(
        "import os, sys\nprint(sys.argv[1:], sys.prefix, os.environ['VIRTUAL_ENV'])\nsys.exit(7)"
    )
    for module in ("app/serve.py", "docs/book/build.py", "jupyterlab.py"):
        (folder / module).parent.mkdir(parents=True, exist_ok=True)
        (folder / module).write_text("import sys\nprint(sys.argv[1:])")
    (folder / "start.py").write_text(SOURCE, "utf-8")
    (folder / "pyproject.toml").touch()
    for name in ("requirements.txt", "requirements-dev.txt"):
        (folder / name).write_text("# nothing is needed\n")
    shutil.copytree(bare_venv, folder / ".venv", symlinks=True)
    return folder


def variables(**changes: str) -> dict[str, str]:
    """Return this environment with no uv on its PATH and no network for pip."""
    places = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(place for place in places if not shutil.which("uv", path=place))
    return (
        dict(os.environ, PATH=path, PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1") | changes
    )


def run(folder: Path, *arguments: str, python: str = sys.executable, **changes: str):
    command = [python, str(folder / "start.py"), *arguments]
    env = variables(**changes)
    page = env.get("PYTHONIOENCODING", "").split(":")[0] or "utf-8"
    return subprocess.run(command, capture_output=True, encoding=page, env=env, timeout=120)


GOOD = {"python": "3.12", "system": "Linux", "machine": "x86_64", "bits": 64}


@pytest.mark.parametrize(
    ("system", "machine", "macos"),
    [
        ("Linux", "x86_64", ""),
        ("Linux", "aarch64", ""),
        ("Windows", "AMD64", ""),
        ("Darwin", "arm64", "14.2"),
        ("Darwin", "arm64", "26.0"),
    ],
)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_takes_what_tensorflow_is_built_for(python, system, machine, macos) -> None:
    assert start.unsupported(python, system, machine, 64, macos) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.9"}, "Python 3.9 will not do"),
        ({"python": "3.10"}, "`python3.12 start.py`"),
        ({"python": "3.14"}, "Python 3.14 will not do"),
        ({"python": "3.14", "system": "Windows"}, "`py -3.12 start.py`"),
        ({"bits": 32}, "32-bit"),
        ({"system": "Windows", "machine": "AMD64", "bits": 32}, "32-bit"),
        ({"system": "Darwin", "macos": "15.1"}, "Intel Mac"),
        ({"system": "Darwin", "machine": "arm64", "macos": "11.7.10"}, "macOS 11.7.10"),
        ({"machine": "armv7l"}, "no build for Linux armv7l"),
        ({"system": "Windows", "machine": "ARM64"}, "no build for Windows ARM64"),
        ({"system": "FreeBSD", "machine": "amd64"}, "no build for FreeBSD amd64"),
    ],
)
def test_refuses_the_rest_in_one_sentence(change, said) -> None:
    sentence = start.unsupported(**{**GOOD, **change})
    assert said in sentence
    assert "\n" not in sentence
    assert len(sentence) < 200


def test_an_old_python_can_read_it() -> None:
    ast.parse(SOURCE, feature_version=(3, 8))
    assert len(SOURCE.splitlines()) <= 175


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.14"])
def test_an_unsupported_python_gets_the_sentence_and_nothing_else(version: str, tmp_path) -> None:
    candidates = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    python = str(candidates[0]) if candidates else shutil.which(f"python{version}")
    if not python or subprocess.run([python, "-V"], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    shutil.copy(ROOT / "start.py", tmp_path)
    done = run(tmp_path, python=python)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Python {version} will not do")
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["start.py"]


def test_help_and_mistyped_words(project: Path) -> None:
    done = run(project, "--help")
    assert done.returncode == 0
    for word in (
        "lab",
        "app",
        "test",
        "run",
        "pack",
        "book",
        "--no-browser",
        "--port",
        "--prepare-only",
    ):
        assert word in done.stdout
    for wrong in (["tset"], ["--no-browsr"], ["--port", "eighty"]):
        done = run(project, *wrong)
        assert done.returncode == 2
        assert wrong[-1] in done.stderr


def test_installs_once_and_again_only_when_the_list_changes(project: Path) -> None:
    first = run(project, "--prepare-only")
    assert first.returncode == 0, first.stderr
    assert "Installing requirements.txt with pip" in first.stdout
    assert "Making" not in first.stdout, "an environment that is whole is kept"
    assert first.stdout.endswith("data ready\n")
    settings = project / ".venv/share/jupyter/lab/settings/overrides.json"
    assert '"fetchNews": "false"' in settings.read_text("utf-8")

    assert run(project, "--prepare-only").stdout == "data ready\n"
    assert "requirements-dev.txt" in run(project, "test", "--prepare-only").stdout
    (project / "requirements.txt").write_text("# another comment\n")
    assert "Installing" in run(project, "--prepare-only").stdout
    assert run(project, "--prepare-only").stdout == "data ready\n"


def test_an_installation_that_fails_says_so_and_is_repeated(project: Path) -> None:
    run(project, "--prepare-only")
    (project / "requirements.txt").write_text("a-package-that-nobody-has-written==1.0\n")
    for _ in range(2):
        done = run(project, "--prepare-only", PIP_FIND_LINKS="")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("The installation failed (see above)")
        assert "Traceback" not in done.stderr
        assert "data ready" not in done.stdout
    (project / "requirements.txt").write_text("# nothing is needed\n")
    done = run(project, "--prepare-only")
    assert "Installing" in done.stdout, "what the failure left is not taken for complete"
    assert done.returncode == 0


UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


@pytest.mark.parametrize("uv", [False, True])
def test_a_packed_folder_needs_no_network(project: Path, tmp_path: Path, uv: bool) -> None:
    if uv and not UV:
        pytest.skip("no uv here")
    write_wheel(project / "wheels")
    (project / "requirements.txt").write_text("tiny-package>=1,<2\n")
    nowhere = "http://127.0.0.1:9/simple"  # who asks an index here fails at once
    changes = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": nowhere, "UV_INDEX_URL": nowhere}
    if uv:
        changes["PATH"] = os.pathsep.join([str(Path(UV).parent), os.environ["PATH"]])
    done = run(project, "--prepare-only", **changes)
    assert done.returncode == 0, done.stderr
    assert f"with {'uv' if uv else 'pip'}" in done.stdout
    python = project / ".venv" / start.PYTHON.relative_to(start.VENV)
    code = "import tiny_package; print(tiny_package.answer)"
    assert subprocess.run([python, "-c", code], capture_output=True).stdout.strip() == b"42"


def test_a_packed_folder_for_other_computers_says_so(project: Path) -> None:
    (project / "wheels").mkdir()
    (project / "requirements.txt").write_text("tiny-package>=1,<2\n")
    done = run(project, "--prepare-only")
    assert done.returncode == 1
    this = "{}.{}".format(*sys.version_info)
    assert done.stderr.splitlines()[-1].endswith(f"with this system and Python {this}.")


def test_an_environment_that_is_broken_or_of_another_python_is_made_anew(project: Path) -> None:
    run(project, "--prepare-only")
    python = project / ".venv" / start.PYTHON.relative_to(start.VENV)
    python.unlink()
    done = run(project, "--prepare-only")
    assert done.returncode == 0, done.stderr
    assert "Making" in done.stdout
    assert python.exists()


def test_a_folder_that_cannot_hold_an_environment_gets_a_sentence(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    (project / ".venv").write_text("a file where the folder should be")
    done = run(project, "--prepare-only")
    assert done.returncode == 1
    assert "could not be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_run_in_the_environment_and_pass_on_arguments_and_exit_code(project) -> None:
    done = run(project, "run", "--output", "elsewhere", "notebooks/02.ipynb")
    assert done.returncode == 7
    home = str(project / ".venv")
    assert done.stdout.splitlines()[-1] == (
        f"['--output', 'elsewhere', 'notebooks/02.ipynb'] {home} {home}"
    )


def test_the_app_is_told_all_that_is_not_for_start_itself_and_waits_for_no_data(project) -> None:
    done = run(project, "app", "--port", "9000", "--no-browser", "--name", "demo.example.org")
    assert done.returncode == 0, done.stderr
    assert "data ready" not in done.stdout
    told = ["--name", "demo.example.org", "--port=9000", "--no-browser"]
    assert done.stdout.splitlines()[-1] == str(told)
    assert run(project, "app").stdout == "[]\n"
    assert run(project, "app", "--prepare-only").stdout == ""


def test_the_book_gets_what_tests_need_and_waits_for_no_data(project: Path) -> None:
    said = run(project, "book", "--output", "elsewhere").stdout.splitlines()
    assert "Installing requirements-dev.txt" in said[0]
    assert said[-1] == "['--output', 'elsewhere']"
    assert "data ready" not in said


def test_the_lab_is_told_port_and_browser(project: Path) -> None:
    *_, said = run(project, "lab", "--port", "9000", "--no-browser").stdout.splitlines()
    assert said.endswith("'--port=9000', '--no-browser']")
    *_, said = run(project).stdout.splitlines()
    assert "--LabApp.default_url" in said and "--port" not in said and "browser" not in said


def test_data_that_cannot_be_used_end_it(project: Path) -> None:
    (project / "fetch" / "__main__.py").write_text("import sys\nsys.exit('There is no such zip.')")
    done = run(project, "run")
    assert done.returncode == 1
    assert done.stderr == "There is no such zip.\n"


def test_letters_that_a_code_page_lacks_end_nothing(project: Path) -> None:
    folder = project.rename(project.with_name("š я 日本"))
    (folder / "fetch" / "__main__.py").write_text("print('48 × 48 日本, data ready')", "utf-8")
    shutil.rmtree(folder / ".venv" / "lib", ignore_errors=True)  # so that its path is said
    (folder / "requirements.txt").write_text("# nothing\n")
    done = run(folder, "--prepare-only", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr
    assert "Making" in done.stdout and done.stdout.endswith(
        r"48 × 48 \u65e5\u672c, data ready" + "\n"
    )
    assert "Traceback" not in done.stderr


def test_warns_of_a_full_disk(monkeypatch, tmp_path, capsys) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=int(1.5e9))
    monkeypatch.setattr(start.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(start, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(start, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(start.venv, "create", lambda *args, **kwargs: None)
    monkeypatch.setattr(start, "call", lambda *command: 0)
    start.install("requirements.txt")
    assert "Warning: 1.5 GB are free" in capsys.readouterr().out


@pytest.mark.parametrize("uv", ["/somewhere/uv", None])
def test_uv_is_used_where_it_is_on_the_path(monkeypatch, tmp_path, uv) -> None:
    made, called = [], []
    monkeypatch.setattr(start, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(start, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(start.shutil, "which", lambda name: uv)
    monkeypatch.setattr(
        start.venv, "create", lambda path, **kwargs: made.append(kwargs["with_pip"])
    )
    monkeypatch.setattr(start, "call", lambda *command: called.append(command[:3]) or 0)
    start.install("requirements.txt")
    assert made == [uv is None]
    expected = (uv, "pip", "install") if uv else (start.PYTHON, "-m", "pip")
    assert called == [expected]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_ctrl_c_ends_it_in_one_line(project: Path) -> None:
    (project / "fetch" / "__main__.py").write_text(
        "import time\nprint('working', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    raise SystemExit(130)"
    )
    command = [sys.executable, str(project / "start.py")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables(),
        start_new_session=True,
    ) as child:
        while child.stdout.readline() != "working\n":
            assert child.poll() is None
        time.sleep(0.2)
        os.killpg(child.pid, signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert child.returncode == 1
    assert errors == "\nStopped; the same command goes on from here.\n"
