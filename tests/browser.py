"""Pages in a real browser, JupyterLab above all, as a learner opens it: what tests share."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect
from skimage.data import astronaut

from helpers import BUILD
from start import LAB
from tools.run_notebooks import kernel_environment

SCREENSHOTS = BUILD / "screenshots"
LAPTOP = {"width": 1366, "height": 768}
MINUTE = 60_000  # ms
TOKEN = "only-for-the-tests"
NOBODY = "http://127.0.0.1:9"  # answers there: as a proxy, it keeps a kernel off the network
OPENED = [path.stem for path in sorted((ROOT / "notebooks").glob("0[1-7]_*.ipynb"))]  # in Chromium
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A lesson that needs the network would fail here: no name but this machine's is looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
# What every page remembers of itself: its camera's tracks, and the largest message it sent.
MEMORY = """
    window.tracks = [];
    window.largest = 0;
    const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
    if (open) navigator.mediaDevices.getUserMedia = async wanted => {
        const stream = await open(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        window.largest = Math.max(window.largest, data.byteLength ?? data.size ?? data.length);
        return send.call(this, data);
    };
"""
OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    # All cells stay in the page, so that one that is scrolled away can be asked too.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def call(address: str, method: str = "GET", content: object = None) -> object:
    """Ask JupyterLab's server; return what its JSON says, None for an empty answer."""
    headers = {"Authorization": f"token {TOKEN}"}
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def fake_camera(path: Path) -> list[str]:
    """Return the flags that give Chromium a camera: a portrait that moves to and fro.

    Args:
        path: an .mjpeg file to write; that format is one JPEG after the other.
    """
    frames = io.BytesIO()
    for shift in (*range(0, 40, 4), *range(40, 0, -4)):
        frame = Image.fromarray(astronaut()[:354, shift : shift + 472]).resize((640, 480))
        frame.save(frames, "JPEG", quality=90)
    path.write_bytes(frames.getvalue())
    return [
        "--use-fake-device-for-media-stream=fps=30",
        f"--use-file-for-fake-video-capture={path}",
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_family(server: subprocess.Popen) -> None:
    """End a server and all that it started, and wait until they are gone."""
    family = [psutil.Process(server.pid)] if server.poll() is None else []
    family += [child for parent in family for child in parent.children(recursive=True)]
    for process in family:  # kernels too: asked nicely, a busy one could take its time
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    server.communicate()
    psutil.wait_procs(family[1:], timeout=30)


@contextmanager
def jupyterlab(folder: Path, **variables: str) -> Iterator[str]:
    """Serve a copy of notebooks and pictures with the options of start.py, and yield the address.

    At the end the server and all its kernels are gone, whatever happened.

    Args:
        folder: an empty one, for the copy and for all that Jupyter writes.
        variables: environment variables for the kernels.
    """
    for name in ("notebooks", "docs/assets"):
        ignored = shutil.ignore_patterns(".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    places += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    for name in places:
        variables[name] = str(folder / name.lower())
    settings = (
        Path(variables["JUPYTER_CONFIG_DIR"]) / "labconfig" / "default_setting_overrides.json"
    )
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(OVERRIDES), "utf-8")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, *LAB.split(), "--no-browser", f"--port={port}"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}"]
    command += ["--LabApp.expose_app_in_browser=True"]  # to change the theme
    env = kernel_environment(JUPYTER_PREFER_ENV_PATH="1", PYTHONUTF8="1", **variables)
    log = folder / "jupyterlab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                call(f"{address}/api/status")
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"JupyterLab: {log.read_text('utf-8')}") from error
                time.sleep(0.2)
        yield address
    finally:
        kill_family(server)


@contextmanager
def watched(
    browser: Browser, local: Sequence[str], forgiven: Sequence[str] = (), **options
) -> Iterator[Page]:
    """Yield an empty page; nothing opened in it may complain or ask for what is not `local`.

    Args:
        browser: where it is opened.
        local: how the addresses begin that it may ask for.
        forgiven: complaints that do not count.
        options: of `Browser.new_context`.
    """
    context = browser.new_context(viewport=LAPTOP, **options)
    page, complaints = context.new_page(), []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda r: None if r.url.startswith(tuple(local)) else complaints.append(r.url)
    )
    yield page
    context.close()
    unforgiven = [complaint for complaint in complaints if complaint not in forgiven]
    assert unforgiven == [], unforgiven


@dataclass
class Lesson:
    """A notebook that is open in a browser."""

    stem: str
    page: Page
    code_cells: int  # so many must be there
    complaints: list[str] = field(default_factory=list)  # errors in the console

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def cell(self, code: str) -> Locator:
        """Return the code cell that contains this code."""
        return self.cells.filter(has=self.page.locator(".jp-InputArea", has_text=code))

    def listen(self) -> None:
        """Collect the errors in the console, and those that no part of the page caught."""

        def console(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

        self.page.on("console", console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def wait_until_idle(self, limit: int = MINUTE) -> None:
        # The status bar, because the sign above the notebook says idle before there is a kernel.
        idle = self.page.get_by_text("Python 3 (ipykernel) | Idle", exact=True)
        idle.wait_for(timeout=limit)

    def clear(self) -> None:
        """Choose Edit, Clear Outputs of All Cells: what is shown afterwards is of this run."""
        self.page.get_by_role("menuitem", name="Edit", exact=True).click()
        self.page.get_by_role("menuitem", name="Clear Outputs of All Cells", exact=True).click()
        expect(self.page.locator(".jp-Notebook .jp-OutputArea-child")).to_have_count(0)
        prompts = self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")
        expect(prompts.filter(has_text=re.compile(r"\d"))).to_have_count(0)

    def run_all(self, limit: int = 10 * MINUTE) -> None:
        """Choose Run, Run All Cells; return when the last cell has run or one has failed."""
        page = self.page
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(
            """number => {
                const all = selector => [...document.querySelectorAll(".jp-Notebook " + selector)];
                const ran = all(".jp-InputPrompt").filter(p => /\\[\\d+\\]/.test(p.textContent));
                return all('[data-mime-type="application/vnd.jupyter.error"]').length
                    || ran.length === number;
            }""",
            arg=self.code_cells,
            timeout=limit,
        )
        self.wait_until_idle()

    def saved(self) -> nbformat.NotebookNode:
        """Save the notebook, and return the file with its outputs."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        server = self.page.evaluate("location.origin")
        file = call(f"{server}/api/contents/notebooks/{self.stem}.ipynb")
        return nbformat.from_dict(file["content"])

    def outputs(self) -> str:
        """Return all text below the code cells, widgets included."""
        return "\n".join(self.page.locator(".jp-Notebook .jp-OutputArea").all_inner_texts())

    def picture(self, name: str) -> None:
        """Keep what a laptop shows now in build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{self.stem[:2]}_{name}.png")

    def still(self, name: str, widget: Locator) -> None:
        """Keep what a widget shows now in build/screenshots/stills, for docs/assets."""
        self.page.set_viewport_size({**LAPTOP, "height": 1400})  # else its head is behind the bar
        widget.screenshot(path=SCREENSHOTS / "stills" / f"{name}.png")
        self.page.set_viewport_size(LAPTOP)


@contextmanager
def opened(browser: Browser, address: str, stem: str) -> Iterator[Lesson]:
    """Open a notebook in a browser of its own, and end its kernel afterwards."""
    context = browser.new_context(viewport=LAPTOP)
    context.set_default_timeout(2 * MINUTE)
    context.add_init_script(MEMORY)
    try:
        copy = call(f"{address}/api/contents/notebooks/{stem}.ipynb")["content"]
        code = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
        lesson = Lesson(stem, context.new_page(), len(code))
        lesson.listen()
        lesson.page.goto(f"{address}/lab/tree/notebooks/{stem}.ipynb?reset&token={TOKEN}")
        lesson.wait_until_idle(3 * MINUTE)
        expect(lesson.cells).to_have_count(len(code), timeout=MINUTE)
        lesson.clear()
        yield lesson
    finally:
        context.close()
        for kernel in call(f"{address}/api/kernels"):
            call(f"{address}/api/kernels/{kernel['id']}", "DELETE")
