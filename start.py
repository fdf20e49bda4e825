"""Set the tutorial up and open it; needs nothing but Python 3.11, 3.12 or 3.13.

    python start.py            set up, then open the contents page in JupyterLab
    python start.py app        set up, then open the demo, a page that needs no data
    python start.py test       set up, then run the tests (what follows goes to pytest)
    python start.py run        set up, then execute all notebooks into build/*.html
    python start.py pack DIR   set up, then pack a folder for computers without a network
    python start.py book       set up, then build the lessons as a site, in build/book

The first start makes .venv beside this file and fills it; later ones take seconds. In an
environment of your own, `pip install -r requirements.txt` and `python -m jupyterlab` do instead.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
WHEELS = ROOT / "wheels"  # in a packed folder: what to install, so that no network is needed
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
PYTHONS = ("3.11", "3.12", "3.13")  # TensorFlow has builds for these Pythons and machines
MACHINES = ("Linux x86_64", "Linux aarch64", "Darwin arm64", "Windows AMD64")
NEEDED_GB = 5  # the packages, their downloads and the data
LAB = (
    "-m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_contents.ipynb"
    " --ServerApp.log_level=WARN --ServerApp.allow_root=True"
    # The usual 10 MiB would lose a larger uploaded photograph without a word.
    ' --ServerApp.tornado_settings={"websocket_max_message_size":104857600}'
)
# command: what the environment's Python is given, the list to install, and whether it needs data
COMMANDS = {
    "lab": (LAB.split(), "requirements.txt", True),
    "app": (["app/serve.py"], "requirements.txt", False),
    "test": (["-m", "pytest", "-n", "2"], "requirements-dev.txt", False),
    "run": (["tools/run_notebooks.py"], "requirements.txt", True),
    "pack": (["tools/pack_room.py"], "requirements.txt", True),
    "book": (["docs/book/build.py"], "requirements-dev.txt", False),
}
NEWS = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}'
SETTINGS = {  # files in .venv: no question about news, no advice to encrypt the kernel's sockets
    "share/jupyter/lab/settings/overrides.json": NEWS,
    "etc/ipython/ipython_kernel_config.json": '{"IPKernelApp": {"log_level": 40}}',
}


def unsupported(python: str, system: str, machine: str, bits: int, macos: str = "") -> str:
    """Return the sentence that refuses this Python or machine, or "" if it will do."""
    home = "https://www.python.org/downloads/"
    if python not in PYTHONS:
        other = "py -3.12" if system == "Windows" else "python3.12"
        return f"Python {python} will not do: install 3.12 from {home} and run `{other} start.py`."
    if bits != 64:
        return f"This Python is a 32-bit one, for which TensorFlow has no build: see {home}."
    if (system, machine) == ("Darwin", "x86_64"):
        need = "a computer that is no Intel Mac or, on an Apple chip, the Python made for it"
        return f"TensorFlow has no build for Intel Macs any more: use {need} ({home})."
    if f"{system} {machine}" not in MACHINES:
        return f"TensorFlow has no build for {system} {machine}: use {', '.join(MACHINES)}."
    if macos and int(macos.split(".")[0]) < 12:
        return f"TensorFlow has no build for macOS {macos}: update to 12 or later."
    return ""


def call(*command: str | Path, **options) -> int:
    """Run a program and return its exit code; on Ctrl-C let it end in its own way first."""
    stopped = []  # no exception, which could fall between the program's end and its exit code
    before = signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    try:
        code = subprocess.Popen([str(part) for part in command], cwd=ROOT, **options).wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if stopped and code:
        raise KeyboardInterrupt
    return code


def install(requirements: str) -> None:
    """Make .venv hold what the list names, unless its stamp says that it does."""
    files = [ROOT / name for name in ("pyproject.toml", "requirements.txt", requirements)]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    version = str(sys.version_info[:2])
    stamp, state = VENV / f"{requirements}.stamp", f"{version} {ROOT} {digest}"
    if PYTHON.exists() and stamp.is_file() and stamp.read_text("utf-8") == state:
        return
    for old in VENV.glob("*.stamp"):  # written again at the very end
        old.unlink()
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        print(f"Warning: {free:.1f} GB are free here, and {NEEDED_GB} GB may be needed.")
    uv = shutil.which("uv")
    # An environment that is whole and of this version is kept, whoever made it.
    probe = f"import sys{'' if uv else ', pip'}; print(sys.version_info[:2])"
    try:
        found = subprocess.run([str(PYTHON), "-c", probe], capture_output=True, text=True).stdout
    except OSError:
        found = ""
    try:
        if found.strip() != version:
            print(f"Making {VENV} ...", flush=True)
            venv.create(VENV, clear=True, with_pip=not uv)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"{VENV} could not be made ({error}): if permissions and space are right, install "
            "uv or, on Debian and Ubuntu, the package python3-venv, and start again."
        )
    pip = [uv, "pip", "install", "--python", PYTHON] if uv else [PYTHON, "-m", "pip", "install"]
    print(f"Installing {requirements} with {'uv' if uv else 'pip'}: up to 3 GB ...", flush=True)
    found = ["--find-links", WHEELS] if WHEELS.is_dir() else []
    alone = ["--no-index"] if found and requirements == "requirements.txt" else []
    if call(*pip, *alone, *found, "-r", requirements):
        if alone:
            sys.exit(
                "The installation failed (see above): wheels/ must be packed on a computer with "
                f"this system and Python {'{}.{}'.format(*sys.version_info)}."
            )
        sys.exit(
            "The installation failed (see above): check the network and the free space, then "
            "start again; it goes on from there."
        )
    for name, text in SETTINGS.items():
        (VENV / name).parent.mkdir(parents=True, exist_ok=True)
        (VENV / name).write_text(text, "utf-8")
    stamp.write_text(state, "utf-8")


def main() -> int:
    for stream in (sys.stdout, sys.stderr):  # its code page may lack a letter of a folder's name
        stream.reconfigure(errors="backslashreplace")
    python, bits = "{}.{}".format(*sys.version_info), 64 if sys.maxsize > 2**32 else 32
    system, machine, macos = platform.system(), platform.machine(), platform.mac_ver()[0]
    if refusal := unsupported(python, system, machine, bits, macos):
        sys.exit(refusal)
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="lab")
    parser.add_argument("--prepare-only", action="store_true", help="set up and stop there")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--port", type=int, help="if taken, the next free one")
    options, rest = parser.parse_known_args()
    if options.command == "lab" and rest:
        parser.error(f"unknown: {' '.join(rest)}")
    rest += [f"--port={options.port}"] * bool(options.port) + ["--no-browser"] * options.no_browser
    arguments, requirements, data = COMMANDS[options.command]
    install(requirements)
    # The variables of an activated environment, so that `!python` in a cell is its Python.
    env = dict(os.environ, VIRTUAL_ENV=str(VENV), JUPYTER_PREFER_ENV_PATH="1", PYTHONUTF8="1")
    page = env.get("PYTHONIOENCODING", "").split(":")[0]
    env["PYTHONIOENCODING"] = f"{page}:backslashreplace"
    env["PATH"] = os.pathsep.join([str(BIN), env.get("PATH", "")])
    env.pop("PYTHONHOME", None)
    code = call(PYTHON, "-m", "fetch", env=env) if data else 0
    if code or options.prepare_only:
        return code
    if options.command == "lab":
        print("Starting JupyterLab; press Ctrl-C twice to end it.", flush=True)
    return call(PYTHON, *arguments, *rest, env=env)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command goes on from here.")
