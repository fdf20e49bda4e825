"""Downloads FER-2013 from Kaggle, and gives up where nothing more comes."""

import os
import re
import shutil
import site
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from fetch.folders import read_folder
from helpers import TutorialError

HANDLE = "msambare/fer2013/versions/1"  # a fixed version: what a lesson measured stays true
CREDENTIALS = ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR")
PROBE_SECONDS = 5.0  # to find out whether a server answers at all
STALL_SECONDS = 30.0  # a download that brings nothing new for so long is given up
DOWNLOAD = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this
try:
    import kagglehub
    kagglehub.dataset_download(sys.argv[1], output_dir=sys.argv[2])
except Exception as error:
    print()
    print(*str(error).split())
    sys.exit(1)
"""


def reachable(address: str) -> bool:
    """Whether a server answers anything at all within PROBE_SECONDS."""
    import requests

    answers = []

    def ask() -> None:
        with suppress(requests.RequestException):
            answers.append(requests.head(address, timeout=PROBE_SECONDS, allow_redirects=False))

    # A name look-up cannot be interrupted, so it hangs in a thread that nobody waits for.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return len(answers) > 0


def download(folder: Path) -> None:
    """Fetch FER-2013 into a new folder, without an account where the one found here is refused.

    Raises:
        TutorialError: if it cannot be had within reasonable time, or something else comes.
    """
    is_test = os.environ.get("KAGGLE_API_ENVIRONMENT") == "TEST"  # as kagglehub has it
    if not reachable("http://localhost:7777" if is_test else "https://api.kaggle.com"):
        raise TutorialError("Kaggle cannot be reached")
    print("Downloading FER-2013 from Kaggle ...", flush=True)
    trouble = _attempt(folder, dict(os.environ))
    known = any(map(os.environ.get, CREDENTIALS)) or Path("~/.kaggle").expanduser().exists()
    if known and re.search("40[13]|permission|redential", trouble):
        print("Kaggle refused; trying without the credentials of this computer ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        unset = dict.fromkeys(CREDENTIALS, "")
        unset |= dict.fromkeys(("HOME", "USERPROFILE", "KAGGLE_CONFIG_DIR"), str(folder.parent))
        unset["PYTHONUSERBASE"] = site.getuserbase()  # else packages are looked for in there
        trouble = _attempt(folder, os.environ | unset)
    if trouble:
        raise TutorialError(f"the download failed ({trouble[:150]})")
    read_folder(folder, "what Kaggle sent")


def _attempt(folder: Path, environment: dict[str, str]) -> str:
    """Download in a process of its own, which can be ended; return "" or what went wrong."""
    command = [sys.executable, "-c", DOWNLOAD, HANDLE, str(folder)]
    options = {"stdout": subprocess.PIPE, "text": True, "errors": "replace"}
    before = -1
    with subprocess.Popen(command, env=environment, **options) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    lines = process.communicate(timeout=STALL_SECONDS)[0].splitlines()
                    return (lines or ["it ended"])[-1] if process.returncode else ""
                now = sum(path.stat().st_size for path in folder.rglob("*"))
                if now == before and folder.exists():  # kagglehub makes it before it asks
                    return f"nothing came for {STALL_SECONDS:.0f} seconds"
                before = now
        finally:
            process.kill()
