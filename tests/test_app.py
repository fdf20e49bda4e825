"""The demo as `python start.py app` serves it, in Chromium and without."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from browser import (
    FLAGS,
    MEMORY,
    MINUTE,
    SCREENSHOTS,
    fake_camera,
    free_port,
    kill_family,
    watched,
)
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from skimage.data import astronaut

from helpers import FER_CLASSES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

NOTEBOOK = ROOT / "app" / "demo.ipynb"
ANSWER = re.compile(rf"Face 1 looks ({'|'.join(FER_CLASSES)}) \(\d+%\)")
expect.set_options(timeout=MINUTE)


@dataclass
class Server:
    """An app that runs, the address that it said, and where its standard error goes."""

    process: subprocess.Popen
    address: str
    errors: Path

    @property
    def port(self) -> int:
        return int(re.search(r"localhost:(\d+)/", self.address)[1])

    def kernels(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended this moment
                found += [child] * ("ipykernel_launcher" in child.cmdline())
        return found

    def wait_for_kernels(self, count: int) -> None:
        wait(lambda: len(self.kernels()) == count, f"{count} kernels")


def wait(until: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the app needs, the networks included; it is soon out of patience."""
    folder = tmp_path_factory.mktemp("app") / "project"
    for name in ("app", "fetch", "helpers", "models", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "start.py", folder)  # by which it is known for a project
    for name, patience in (("faces.js", "DOUBT_EVERY = 10;"), ("pictures.js", "PATIENCE = 20;")):
        script = (folder / "app" / name).read_text("utf-8")
        assert patience in script
        quick = re.sub(r"\d+", "2", patience)
        (folder / "app" / name).write_text(script.replace(patience, quick), "utf-8")
    return folder


@contextmanager
def served(project: Path, *arguments: str, **variables: str) -> Iterator[Server]:
    """Run app/serve.py, without a browser if not told otherwise; at the end all of it is gone."""
    state = project.parent / "jupyter"
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    env = dict(os.environ, **{name: str(state / name.lower()) for name in places})
    env |= {"TUTORIAL_RUNS": str(project.parent / "runs"), "PYTHONUTF8": "1"} | variables
    env.pop("JUPYTER_TOKEN", None)
    command = [sys.executable, "app/serve.py", *(arguments or ("--no-browser",))]
    if "--port" not in arguments:
        command += ["--port", str(free_port())]
    errors = project.parent / f"errors-{time.monotonic_ns()}.log"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=file, text=True
        )
    try:
        said = process.stdout.readline()
        address = re.search(r"http://\S+", said)
        assert address, f"{said!r} {errors.read_text('utf-8')}"
        yield Server(process, address[0], errors)
    finally:
        kill_family(process)


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Server]:
    with served(project) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    flags = FLAGS + fake_camera(tmp_path_factory.mktemp("camera") / "portrait.mjpeg")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; whatever is opened in it makes no complaint and asks only this computer."""
    # The first widget is made while the page loads. On a slow computer that takes longer than the
    # two seconds after which anywidget would let no message through to it; it needs none. The
    # webcam does, but the test of the webcam would see that it got none.
    slow = "[anywidget] Failed to initialize model."
    # What newer Chromiums remark when a password is wrong.
    wrong = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
    local = ("http://localhost:", "data:", "blob:")
    with watched(browser, local, forgiven=[slow, wrong]) as page:
        page.set_default_timeout(5 * MINUTE)  # the first page waits for TensorFlow
        page.add_init_script(MEMORY)
        page.add_init_script(
            """window.sentences = new Set();  // all that was ever said in a place for sentences
            new MutationObserver(() => document.querySelectorAll("[role=status]").forEach(
                place => window.sentences.add(place.textContent)
            )).observe(document, {subtree: true, childList: true, characterData: true});"""
        )
        yield page


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"app_{name}.png")


def status(address: str, host: str = "") -> int:
    """Return the status of the answer to a request that names this host."""
    headers = {"Host": host} if host else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)]


def test_it_is_ready_answers_and_ends_its_kernel_when_closed(server: Server, page: Page) -> None:
    page.goto(server.address)
    page.get_by_text("Loading the network").or_(page.get_by_label("Sample")).wait_for()
    picture(page, "loading")
    page.get_by_label("Sample").wait_for()
    assert any("Loading the network" in said for said in page.evaluate("[...window.sentences]"))
    expect(page.get_by_text("Loading the network")).to_have_count(0)
    expect(page.locator(".jp-CodeCell .jp-InputArea:visible")).to_have_count(0)
    assert page.title() == "Apparent expressions"
    assert "import asyncio" not in page.content()
    assert page.evaluate("isSecureContext && 'mediaDevices' in navigator"), "no camera here"
    picture(page, "ready")

    page.get_by_label("Sample").select_option(label="Grace Hopper")
    expect(page.get_by_text(ANSWER)).to_be_visible()
    drawing = page.locator("canvas[aria-label*='Face 1 looks']")
    assert drawing.evaluate("canvas => canvas.width") > 300
    picture(page, "sample")
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide), "it has to be scrolled sideways"

    server.wait_for_kernels(1)
    (first,) = server.kernels()
    page.reload()
    page.get_by_label("Sample").wait_for()
    wait(lambda: first not in server.kernels(), "the end of the first page's kernel")
    server.wait_for_kernels(1)
    page.close(run_before_unload=True)
    server.wait_for_kernels(0)
    noise = server.errors.read_text("utf-8").splitlines()
    # start.py silences the kernel's own, and nothing silences LiteRT's.
    usual = ("IPKernelApp", "INFO: Created TensorFlow Lite")
    assert [line for line in noise if not any(word in line for word in usual)] == []


def test_uploads_and_the_webcam_work_here_too(server: Server, page: Page) -> None:
    page.context.grant_permissions(["camera"])
    page.goto(server.address)
    page.get_by_label("Sample").wait_for()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload pictures").first.click()
    portrait = io.BytesIO()
    Image.fromarray(astronaut()).save(portrait, "PNG")
    files = {"portrait.png": portrait.getvalue(), "notes.txt": b"text"}
    chooser.value.set_files(
        [{"name": name, "mimeType": "image/*", "buffer": files[name]} for name in files]
    )
    expect(page.get_by_text(ANSWER)).to_be_visible()
    expect(page.get_by_text("This file is not a picture")).to_be_visible()
    page.get_by_role("tab", name="Webcam").click()
    place = page.locator(".emotion-webcam:visible")
    place.get_by_role("button", name="Start").click()
    expect(place.locator(".result")).to_contain_text("Apparent expression: happy")
    picture(page, "webcam")
    for kernel in server.kernels():
        kernel.kill()
    expect(place.get_by_role("status")).to_contain_text("Python was stopped or restarted")
    expect(place.get_by_role("status")).to_contain_text("Reload this page.")
    assert page.evaluate("tracks.length && tracks.every(t => t.readyState === 'ended')")
    picture(page, "kernel_lost")
    page.close(run_before_unload=True)


def test_a_kernel_that_ended_while_the_connection_was_down_is_noticed(
    server: Server, browser: Browser
) -> None:
    """As when a laptop slept: the page hears nothing of it, and has to ask."""
    server.wait_for_kernels(0)  # one that a test before ended while it started left a traceback
    before = server.errors.stat().st_size
    context = browser.new_context(permissions=["camera"])
    context.add_init_script(MEMORY)
    context.set_default_timeout(2 * MINUTE)
    page, sockets, cut = context.new_page(), [], []

    def connect(socket) -> None:
        sockets.append(socket)
        if cut:
            socket.close()
        else:
            socket.connect_to_server()

    page.route_web_socket(re.compile(r"/channels"), connect)
    page.goto(server.address)
    page.get_by_role("tab", name="Webcam").click()
    place = page.locator(".emotion-webcam:visible")
    place.get_by_role("button", name="Start").click()
    expect(place.locator(".result")).to_contain_text("Apparent expression: happy")
    cut.append(True)
    for socket in sockets:
        socket.close()
    kernel = page.evaluate(
        "JSON.parse(document.querySelector('#jupyter-config-data').textContent).kernelId"
    )
    address, _, token = server.address.partition("?token=")
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(f"{address}api/kernels/{kernel}", None, headers)
    request.method = "DELETE"
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
    lost = "The connection to Python was lost. Reload this page."
    expect(place.get_by_role("status")).to_contain_text(f"{lost} The camera is off.")
    assert page.evaluate("tracks.length && tracks.every(t => t.readyState === 'ended')")
    page.get_by_role("tab", name="Photographs").click()
    page.get_by_label("Sample").select_option(label="Grace Hopper")
    expect(page.locator(".emotion-upload:visible .area [role=status]")).to_have_text(lost)
    picture(page, "connection_lost")
    context.close()
    assert b"Traceback" not in server.errors.read_bytes()[before:]


def test_it_answers_to_this_computer_and_to_who_has_the_token(server: Server, page: Page) -> None:
    page.goto(server.address.partition("?")[0])
    expect(page.get_by_text("for those who were given its password")).to_be_visible()
    expect(page.locator("input[type=password]")).to_have_count(1)  # none to change it with
    page.get_by_label("Password or token").fill("a guess")
    page.get_by_role("button", name="Show the page").click()
    expect(page.get_by_role("alert")).to_have_text("Invalid credentials")
    assert server.kernels() == []
    page.get_by_label("Password or token").fill(server.address.partition("token=")[2])
    page.get_by_role("button", name="Show the page").click()
    page.get_by_label("Sample").wait_for()
    page.close(run_before_unload=True)
    static = f"http://127.0.0.1:{server.port}/voila/static/voila.js"
    hosts = {"": 200, "localhost": 200, "[::1]": 200, "demo.example.org": 403, "10.0.0.7": 403}
    for host, expected in hosts.items():
        assert status(f"http://127.0.0.1:{server.port}/login", host) == expected
    assert status(static) == 200
    for file in ("serve.py", "demo.ipynb", "index.html.j2", "login.html"):
        assert status(f"http://127.0.0.1:{server.port}/voila/files/{file}") == 403
    listening = psutil.Process(server.process.pid).net_connections("tcp")
    addresses = {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN}
    assert addresses <= {"127.0.0.1", "::1"}


def test_a_taken_port_is_left_and_a_proxy_s_name_and_path_are_known(
    server: Server, project: Path, page: Page
) -> None:
    options = ["--no-browser", "--port", str(server.port), "--name", "demo.example.org"]
    with served(project, *options, "--base-url", "demo") as second:
        assert second.port != server.port
        login = f"http://127.0.0.1:{second.port}/demo/login"
        assert status(login, "demo.example.org") == 200
        assert status(login, "other.example.org") == 403
        page.goto(second.address.partition("?")[0])
        page.get_by_label("Password or token").fill(second.address.partition("token=")[2])
        page.get_by_role("button", name="Show the page").click()
        page.get_by_label("Sample").select_option(label="Grace Hopper")
        expect(page.get_by_text(ANSWER)).to_be_visible()
        assert "/demo/" in page.url
        page.close(run_before_unload=True)
        second.wait_for_kernels(0)


def test_an_impossible_port_gets_a_sentence(project: Path) -> None:
    command = [sys.executable, "app/serve.py", "--port", "70000"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("--port takes 1 to 65535, not 70000")


@pytest.mark.skipif(os.name == "nt", reason="a BROWSER of one's own, and Ctrl-C to a process")
def test_it_opens_the_browser_and_ends_on_ctrl_c(project: Path, tmp_path: Path) -> None:
    """The token is seen by its owner alone, and no file with it stays."""
    note = tmp_path / "note.json"
    script = tmp_path / "browser.py"
    script.write_text(f"import json, sys; json.dump(sys.argv[1:], open({str(note)!r}, 'w'))")
    with served(
        project, "--port", str(free_port()), BROWSER=f"{sys.executable} {script} %s"
    ) as server:
        wait(lambda: note.exists() and note.read_text().endswith("]"), "the browser")
        (opened,) = json.loads(note.read_text())
        token = server.address.partition("token=")[2]
        assert len(token) > 30 and token not in opened
        file = Path(urllib.request.url2pathname(opened.removeprefix("file://")))
        assert server.address in file.read_text("utf-8")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert status(server.address) == 200
        assert not file.exists()  # the browser has been there
        file.write_text("as if it had not")
        (kernel,) = server.kernels()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
        assert psutil.wait_procs([kernel], timeout=30)[1] == []
        assert "Traceback" not in server.errors.read_text("utf-8")
        assert not file.exists()


def test_what_goes_wrong_while_it_loads_becomes_a_sentence(
    project: Path, tmp_path: Path, browser: Browser, page: Page
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    shutil.rmtree(folder / "models")
    (folder / "models").mkdir()
    said = page.get_by_role("status")
    with served(folder) as server:
        page.goto(server.address)
        expect(said).to_contain_text("There is no trained network yet: run notebook 04")
        picture(page, "no_network")
        (folder / "app" / "demo.py").write_text("raise RuntimeError('<b>broken</b>')")
        page.reload()
        expect(said).to_contain_text("could not be loaded (RuntimeError: <b>broken</b>)")
        expect(page.get_by_text("Traceback")).to_have_count(0)
        picture(page, "broken")
        page.close(run_before_unload=True)
