"""The notebooks in JupyterLab, in Chromium, under a learner's hands."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser import FLAGS, MINUTE, NOBODY, OPENED, Lesson, call, fake_camera, jupyterlab, opened
from PIL import Image
from playwright.sync_api import Browser, Locator, Playwright, expect, sync_playwright
from skimage.data import astronaut
from test_notebooks import assert_that_it_ran

from helpers import FER_CLASSES, faces

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

WITHOUT_WIDGETS = ("01_explore_the_data", "03_build_the_cnn", "05_evaluate")
AUGMENTATION = "02_preview_augmentation"
TRAINING = "04_train_with_class_weights"
WIDGETS = "06_classify_with_widgets"
LIVE_LESSON = "07_ask_why"
TAUGHT = ("Webcam(networks)", "Teacher(webcam)")  # its cells with the webcam
LIVE = "90_live"  # a notebook of these tests, with the demo alone

DEMO = "demo()"
ANSWER = re.compile(rf"Face 1 looks ({'|'.join(FER_CLASSES)}) \(\d+%\)")
expect.set_options(timeout=MINUTE)  # a busy machine answers late, and that is no failure
IN_HTML = re.compile(r"data:image/\w+;base64,([^\"]+)")
DRAWN = "img[src]:not([src='']):visible"


# The scope is the module, so that Playwright's event loop is gone before other tests run.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    flags = FLAGS + fake_camera(tmp_path_factory.mktemp("camera") / "portrait.mjpeg")
    browser = playwright.chromium.launch(executable_path=chromium, args=flags)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def lab(chromium: str, toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lab")
    variables = {"TUTORIAL_DATASET": str(toy_folder), "TUTORIAL_RUNS": str(folder / "runs")}
    new = nbformat.v4
    variables |= {"TUTORIAL_PROFILE": "quick", "HTTPS_PROXY": NOBODY}
    with jupyterlab(folder, **variables) as address:
        cells = [new.new_markdown_cell("far above\n\n" * 40) for _ in range(4)]
        cells.append(new.new_code_cell(f"from app.demo import demo\n\n{DEMO}"))
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        notebook = new.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, folder / "notebooks" / f"{LIVE}.ipynb")
        yield address


@pytest.fixture(scope="module")
def lesson(request: pytest.FixtureRequest, browser: Browser, lab: str) -> Iterator[Lesson]:
    """Return a notebook after Run All; tests of the same one follow each other and share it."""
    with opened(browser, lab, request.param) as lesson:
        lesson.page.evaluate(
            """() => {
                window.drawings = {};  // the descriptions of pictures that each cell has shown
                new MutationObserver(() => {
                    document.querySelectorAll(".jp-Notebook .jp-CodeCell").forEach((cell, n) => {
                        for (const img of cell.querySelectorAll("img[src]")) {
                            (window.drawings[n] ??= new Set()).add(img.src);
                        }
                    });
                }).observe(document.body, {subtree: true, childList: true, attributes: true});
            }"""
        )
        lesson.run_all()
        lesson.picture("after_run_all")
        yield lesson


@pytest.fixture(autouse=True)
def no_errors_in_the_console(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"lesson", "live"} & set(request.fixturenames):
        lesson = request.getfixturevalue(name)
        complaints, lesson.complaints[:] = list(lesson.complaints), []
        assert complaints == []


def of(*stems: str):
    return pytest.mark.parametrize("lesson", stems, indirect=True)


def check_that_it_ran(lesson: Lesson) -> None:
    """All cells ran in order, without an error, and everything they show is whole."""
    text = lesson.outputs()
    for bad in ("Traceback", "Error:", "Error displaying", "Error creating", "Loading widget"):
        assert bad not in text
    prompts = lesson.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert prompts == [f"[{n}]:" for n in range(1, lesson.code_cells + 1)]
    found = lesson.page.evaluate(
        """() => {
            const all = selector => [...document.querySelectorAll(".jp-Notebook " + selector)];
            const visible = element => element.getClientRects().length > 0;
            const edge = document.querySelector(".jp-Notebook").getBoundingClientRect().right;
            const pictures = all(".jp-OutputArea img").filter(visible);
            return {
                pictures: pictures.length,
                broken: pictures.filter(img => img.complete && !img.naturalWidth).length,
                hollow: all('[data-mime-type="application/vnd.jupyter.widget-view+json"]')
                    .filter(view => !view.querySelector(".jupyter-widgets, .widget-image")).length,
                wide: all(".jp-OutputArea img, .jp-OutputArea .jupyter-widgets")
                    .filter(e => visible(e) && e.getBoundingClientRect().right > edge + 1)
                    .map(e => e.outerHTML.slice(0, 200)),
            };
        }"""
    )
    assert found.pop("pictures") > 0
    assert found == {"broken": 0, "hollow": 0, "wide": []}
    assert_that_it_ran(lesson.saved(), lesson.stem[:2], "toy faces")


def source(picture: Locator) -> str:
    return picture.get_attribute("src") or ""


def test_every_notebook_is_opened_here() -> None:
    assert set(OPENED) == {*WITHOUT_WIDGETS, AUGMENTATION, TRAINING, WIDGETS, LIVE_LESSON}


@of(*WITHOUT_WIDGETS)
def test_it_runs(lesson: Lesson) -> None:
    check_that_it_ran(lesson)


def change_theme(lesson: Lesson, theme: str, light: str) -> None:
    command = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    lesson.page.evaluate(command, theme)
    expect(lesson.page.locator("body")).to_have_attribute("data-jp-theme-light", light)


# 02: sliders


@of(AUGMENTATION)
def test_augmentation_runs(lesson: Lesson) -> None:
    check_that_it_ran(lesson)


def sliders(lesson: Lesson) -> Locator:
    return lesson.cell("interactive_output(")


@of(AUGMENTATION)
def test_keys_move_the_rotation_and_the_preview_follows(lesson: Lesson) -> None:
    cell = sliders(lesson)
    slider = cell.locator(".widget-slider", has_text="rotation")
    readout, handle = slider.locator(".widget-readout"), slider.locator(".noUi-handle")
    preview = cell.locator(DRAWN)
    expect(readout).to_have_text("15")
    before = source(preview)
    for key, value in (("ArrowRight", "16"), ("End", "180"), ("Home", "0")):
        handle.press(key)
        expect(readout).to_have_text(value)
        expect(preview).not_to_have_attribute("src", before)
        expect(preview).to_have_count(1)
        before = source(preview)
        lesson.picture(f"rotation_{value}")


@of(AUGMENTATION)
def test_the_mirror_box_changes_the_preview(lesson: Lesson) -> None:
    cell = sliders(lesson)
    preview, box = cell.locator(DRAWN), cell.get_by_label("mirror half of them")
    with_mirror = source(preview)
    box.uncheck()
    expect(preview).not_to_have_attribute("src", with_mirror)
    box.check()
    expect(preview).to_have_attribute("src", with_mirror)  # the same seed, the same pictures


# 04: curves that grow


@of(TRAINING)
def test_training_runs(lesson: Lesson) -> None:
    check_that_it_ran(lesson)


@of(TRAINING)
def test_curves_are_redrawn_in_place(lesson: Lesson) -> None:
    cells = lesson.cells.locator(".jp-InputArea").all_inner_texts()
    (number,) = (n for n, code in enumerate(cells) if "LiveCurves(\"the lesson's" in code)
    shown = lesson.page.evaluate("n => [...window.drawings[n]]", number)
    assert len(shown) > 1, "the curves did not change while the network trained"
    curves = lesson.cells.nth(number).locator(DRAWN)
    expect(curves).to_have_count(1)
    assert curves.evaluate("image => image.src") == shown[-1]
    curves.scroll_into_view_if_needed()
    lesson.picture("curves")


# 06: pictures of one's own


@of(WIDGETS, LIVE_LESSON)
def test_widgets_run(lesson: Lesson) -> None:
    check_that_it_ran(lesson)


def box(lesson: Lesson) -> Locator:
    return lesson.cells.last.locator(".jp-OutputArea")


def choose_files(lesson: Lesson, place: Locator, files: dict[str, bytes]) -> None:
    """Click the upload button and answer the dialogue that the browser opens."""
    payload = [
        {"name": name, "mimeType": "image/*", "buffer": content} for name, content in files.items()
    ]
    with lesson.page.expect_file_chooser() as chooser:
        place.get_by_role("button", name="Upload").first.click()
    chooser.value.set_files(payload)


def results(tool: Locator) -> Locator:
    """Return what is said of each picture."""
    return tool.locator(".emotion-upload:visible article")


def as_file(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@of(WIDGETS)
def test_a_sample_gets_probabilities(lesson: Lesson) -> None:
    tool = box(lesson)
    tool.get_by_label("Sample").select_option(label="Grace Hopper")
    result = results(tool)
    expect(result).to_contain_text("Grace Hopper")
    expect(result).to_contain_text(ANSWER)
    drawing = result.locator("canvas[role=img]")
    expect(drawing).to_have_attribute("aria-label", ANSWER)
    assert drawing.evaluate("canvas => canvas.width") > 300
    tool.scroll_into_view_if_needed()
    lesson.picture("sample")
    lesson.still("photographs", tool.locator(".jp-OutputArea-output").last)


@of(WIDGETS)
def test_several_files_at_once_each_get_an_answer(lesson: Lesson) -> None:
    tool = box(lesson)
    wall = np.full((300, 400, 3), 128, np.uint8)
    files = {"first.png": as_file(astronaut()), "notes.jpg": b"text", "wall.png": as_file(wall)}
    choose_files(lesson, tool, files)
    answers = results(tool)
    expect(answers).to_have_count(3)
    first, notes, empty = answers.all()
    expect(empty).to_contain_text("No face was found")
    expect(first).to_contain_text(ANSWER)
    expect(notes).to_contain_text("notes.jpg: This file is not a picture")
    expect(notes.locator("canvas")).to_have_count(0)
    lesson.picture("several_files")
    whole = tool.get_by_label("the whole picture is the face")
    whole.check()
    expect(empty).to_contain_text(re.compile("Face 1 (looks|is too dark or unclear)"))
    choose_files(lesson, tool, {"wall.png": as_file(wall)})
    expect(whole).not_to_be_checked()  # that was for the pictures before
    expect(answers).to_have_count(1)
    expect(empty.or_(answers)).to_contain_text("No face was found")


def lying(kind: str, side: int, **notes) -> bytes:
    """Return the portrait as a file that lies on its side."""
    buffer = io.BytesIO()
    turned = Image.fromarray(astronaut()).resize((side, side))
    turned.transpose(Image.Transpose.ROTATE_90).save(buffer, kind, **notes)
    return buffer.getvalue()


@of(WIDGETS)
def test_pictures_are_upright_at_every_size_and_small_before_they_travel(lesson: Lesson) -> None:
    note = Image.Exif()
    note[0x0112] = 6  # lies on its side, to be shown upright
    side = Image.fromarray(astronaut()).resize((2900, 2900))
    large = as_file(np.asarray(side), "BMP")
    assert len(large) > 25_000_000
    files = {"large.bmp": large, "film.avi": bytes(9_000_000)}  # too large to be sent in vain
    for kind in ("JPEG", "WEBP", "PNG"):
        files |= {f"{n}.{kind}": lying(kind, n, exif=note) for n in (700, 2900)}
    tool = box(lesson)
    lesson.page.evaluate("window.largest = 0")
    choose_files(lesson, tool, files)
    answers = results(tool)
    expect(answers).to_have_count(len(files))
    for answer, name in zip(answers.all(), files, strict=True):
        upright = "cannot open this" if name == "film.avi" else re.compile("Face 1 looks happy")
        expect(answer).to_contain_text(upright)
    assert 100_000 < lesson.page.evaluate("window.largest") < 2_000_000


DROP = """([selector, kind, about]) => {
    const data = new DataTransfer();
    if (about.link) data.setData("text/uri-list", about.link);
    for (const [name, bytes] of Object.entries(about.files ?? {})) {
        data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
    }
    const target = document.querySelector(selector);
    const event = kind === "paste"
        ? new ClipboardEvent(kind, {clipboardData: data, bubbles: true, cancelable: true})
        : new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
    target.dispatchEvent(event);
    return event.defaultPrevented;
}"""


@of(WIDGETS)
def test_the_whole_panel_takes_what_is_dropped_or_pasted(lesson: Lesson) -> None:
    tool, page = box(lesson), lesson.page
    portrait = {"files": {"me.png": list(as_file(astronaut()[:250, 100:350]))}}
    beside, inside = ".emotion-panel .widget-tab", ".emotion-panel .emotion-upload"
    for place, kind in ((beside, "drop"), (inside, "paste")):
        tool.get_by_label("Sample").select_option(label="a cat")
        expect(results(tool)).to_contain_text("No face was found")
        assert page.evaluate(DROP, [place, kind, portrait]), "the browser would open the picture"
        expect(results(tool)).to_contain_text(re.compile("me.png.*Face 1 looks", re.DOTALL))
    assert page.evaluate(DROP, [beside, "drop", {"link": "https://example.org/a.png"}])
    expect(tool.get_by_text("That is a link or a text")).to_be_visible()
    page.evaluate(
        """() => {
            window.kept = DataTransferItem.prototype.webkitGetAsEntry;
            DataTransferItem.prototype.webkitGetAsEntry = () => ({isDirectory: true});
        }"""
    )
    page.evaluate(DROP, [beside, "drop", portrait])
    expect(results(tool)).to_contain_text("This is a folder: open it")
    page.evaluate(
        """() => {
            DataTransferItem.prototype.webkitGetAsEntry = window.kept;
            window.kept = File.prototype.arrayBuffer;
            const gone = new DOMException("", "NotFoundError");
            File.prototype.arrayBuffer = () => Promise.reject(gone);
        }"""
    )
    page.evaluate(DROP, [beside, "drop", portrait])
    expect(results(tool)).to_contain_text("cannot be read any more")
    page.evaluate("() => { File.prototype.arrayBuffer = window.kept; }")


@of(WIDGETS)
def test_the_upload_built_in_the_lesson_answers_too(lesson: Lesson) -> None:
    cell = lesson.cell("upload = ipywidgets.FileUpload(").locator(".jp-OutputArea")
    choose_files(lesson, cell, {"notes.jpg": b"this is only text"})
    expect(cell).to_contain_text("not a picture")
    choose_files(lesson, cell, {"portrait.png": as_file(astronaut())})
    expect(cell).to_contain_text(ANSWER)


@of(WIDGETS)
def test_nothing_of_a_picture_of_ones_own_is_saved(lesson: Lesson, lab: str) -> None:
    """Whatever runs after an upload: JupyterLab saves what stands below the cells."""
    rng = np.random.default_rng(0)
    mine = astronaut().copy()
    mine[:60] = 255 * rng.integers(0, 2, (60, 512, 3))  # like no other picture
    cell = lesson.cell("upload = ipywidgets.FileUpload(").locator(".jp-OutputArea")
    choose_files(lesson, cell, {"mine.png": as_file(mine)})
    expect(cell).to_contain_text(ANSWER)
    choose_files(lesson, box(lesson), {"mine.png": as_file(mine)})
    expect(results(box(lesson))).to_contain_text(re.compile("mine.png.*Face 1", re.DOTALL))
    for code in ("picker.value = next(", "VBox([chooser, controls", "sample = samples["):
        lesson.cell(code).locator(".jp-InputArea").click()
        execute(lesson, "notebook:run-cell")
        lesson.wait_until_idle()
    lesson.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    saved = call(f"{lab}/api/contents/notebooks/{lesson.stem}.ipynb")["content"]
    assert "widgets" not in saved["metadata"]
    found = [
        text
        for saved_cell in saved["cells"]
        for output in saved_cell.get("outputs", [])
        for kind, value in output.get("data", {}).items()
        for text in ([value] if kind.startswith("image/") else IN_HTML.findall("".join(value)))
        if kind.startswith("image/") or kind == "text/html"
    ]
    pictures = list(map(base64.b64decode, found))
    assert len(pictures) > 5
    small = Image.new("RGB", (600, 300), "white")
    small.paste(Image.fromarray(mine).resize((240, 240)), (10, 10))
    assert is_noisy(small), "it would be noticed"
    for picture in pictures:
        assert not is_noisy(Image.open(io.BytesIO(picture)).convert("RGB"))


def is_noisy(drawing: Image.Image) -> bool:
    """Return whether there are eight rows where every tenth pixel is of another hue than the next.

    The edges of letters and of a portrait are of another lightness.
    """
    red, green, _ = np.moveaxis(np.asarray(drawing).astype(int), 2, 0)
    steps = np.abs(np.diff(red - green, axis=1)) > 25
    return bool(np.sort(steps.mean(axis=1))[-8] > 0.1)


@of(LIVE_LESSON)
def test_guesses_are_counted_and_the_labels_come_last(lesson: Lesson) -> None:
    quiz = lesson.cell("def on_guess(").locator(".jp-OutputArea")
    for number in (1, 2, 3):
        expect(quiz).to_contain_text(f"Face {number} of 3")
        assert "label" not in quiz.inner_text()
        quiz.get_by_role("button", name="happy", exact=True).click()
    expect(quiz).to_contain_text(re.compile(r"You \d, the network \d of 3"))
    expect(quiz.locator("li")).to_have_text([re.compile("label .+: you said happy")] * 3)
    lesson.picture("guessed")


@of(LIVE_LESSON)
def test_a_patch_moved_with_a_key_changes_the_bars(lesson: Lesson) -> None:
    cell = lesson.cell("interactive_output(look").locator(".jp-OutputArea").first
    preview = cell.locator(DRAWN)
    before = source(preview)
    slider = cell.locator(".widget-slider", has_text="row")
    slider.locator(".noUi-handle").press("Home")
    expect(slider.locator(".widget-readout")).to_have_text("0")
    expect(preview).not_to_have_attribute("src", before)
    lesson.picture("covered")


@of(LIVE_LESSON)
def test_the_webcam_of_the_lesson_is_seen_in_both_of_its_cells(lesson: Lesson, lab: str) -> None:
    lesson.page.context.grant_permissions(["camera"], origin=lab)
    places = [lesson.cell(name).locator(".emotion-webcam") for name in TAUGHT]
    press(places[0], "Start")
    for place in places:
        expect(place.locator(".result")).to_contain_text("Apparent expression: ")
        place.scroll_into_view_if_needed()
        lesson.picture(f"webcam_{places.index(place) + 1}")
    press(places[1], "Stop")
    check_off(lesson)


@of(AUGMENTATION, WIDGETS)
def test_it_can_be_read_in_the_dark_theme(lesson: Lesson) -> None:
    change_theme(lesson, "JupyterLab Dark", "false")
    place = sliders(lesson) if lesson.stem == AUGMENTATION else lesson.cells.last
    outputs = place.locator(".jp-OutputArea").first
    outputs.scroll_into_view_if_needed()
    lesson.picture("dark")
    text, ground = outputs.evaluate(
        """output => {
            const lightness = colour => colour.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b);
            const label = output.querySelector(".widget-label");
            const page = document.querySelector(".jp-Notebook");
            const ground = getComputedStyle(page).getPropertyValue("--jp-layout-color0");
            const probe = Object.assign(document.createElement("i"), {style: "color:" + ground});
            page.append(probe);
            const found = [label, probe].map(e => lightness(getComputedStyle(e).color));
            probe.remove();
            return found;
        }"""
    )
    assert text - ground > 3 * 128  # light letters on a dark ground
    change_theme(lesson, "JupyterLab Light", "true")  # the server remembers it for other notebooks


# The webcam, and teaching it


@pytest.fixture(scope="module")
def live(browser: Browser, lab: str) -> Iterator[Lesson]:
    """Return the demo after Run All, where outputs that are out of sight leave the page."""
    settings = f"{lab}/lab/api/settings/@jupyterlab/notebook-extension:tracker"
    call(settings, "PUT", {"raw": '{"windowingMode": "full"}'})
    try:
        with opened(browser, lab, LIVE) as lesson:
            lesson.page.context.grant_permissions(["camera"], origin=lab)
            lesson.run_all()
            yield lesson
    finally:
        call(settings, "PUT", {"raw": "{}"})


def tab(live: Lesson, name: str) -> Locator:
    """Bring a tab of the demo to the front, and return what is below it."""
    live.cell(DEMO).get_by_role("tab", name=name).click()
    tabs = live.cell(DEMO).locator(".jp-OutputArea")
    tabs.evaluate("tabs => tabs.scrollIntoView()")  # for the screenshots
    return tabs.locator(".widget-tab-contents > :visible")


def press(place: Locator, name: str) -> None:
    place.get_by_role("button", name=name, exact=True).click()


def check_sentence(place: Locator, words: str | re.Pattern) -> None:
    expect(place.locator(".controls [role=status]")).to_contain_text(words)


def tracks(live: Lesson) -> list[str]:
    return live.page.evaluate("window.tracks.map(track => track.readyState)")


def check_off(live: Lesson) -> None:
    over = "tracks.length && tracks.every(track => track.readyState === 'ended')"
    live.page.wait_for_function(over)
    live.page.evaluate("window.tracks = []")


def execute(live: Lesson, command: str) -> None:
    live.page.evaluate("command => void window.jupyterapp.commands.execute(command)", command)


def start(live: Lesson, name: str = "Webcam") -> Locator:
    place = tab(live, name)
    press(place, "Start")
    expect(place.locator(".result")).to_contain_text("Apparent expression: ")
    check_sentence(place, "The camera is on.")
    return place


SHOWN = """() => [...document.querySelectorAll(".emotion-webcam canvas")]
    .find(canvas => canvas.offsetParent)?.toDataURL()"""


def check_that_it_moves(live: Lesson) -> None:
    before = live.page.wait_for_function(SHOWN).json_value()
    moved = f"before => {{ const now = ({SHOWN})(); return now && now !== before; }}"
    live.page.wait_for_function(moved, arg=before)


def test_frames_are_answered_and_the_portrait_looks_happy(live: Lesson) -> None:
    live.picture("photographs")
    place = tab(live, "Webcam")
    check_sentence(place, "The camera is off.")
    expect(place).to_contain_text("no further than Python on this computer")
    live.picture("webcam_off")
    start(live)
    expect(place.locator(".result")).to_contain_text(re.compile(r"expression: happy \d+%"))
    expect(place.locator("li")).to_have_text([re.compile(rf"{name}\d+%") for name in FER_CLASSES])
    expect(place.locator(".rate")).to_contain_text("frames/s")
    expect(place.locator("canvas.history")).to_have_attribute(
        "aria-label", re.compile("On average: happy")
    )
    check_that_it_moves(live)
    live.picture("webcam_on")
    live.still("demo", live.cell(DEMO).locator(".jp-OutputArea .widget-tab"))
    for name in ("Teach it", "Webcam"):  # two views
        expect(tab(live, name).locator(".result")).to_contain_text("happy")
    assert tracks(live) == ["live"]


def test_every_control_says_what_it_is_for(live: Lesson) -> None:
    names = []
    for name in ("Photographs", "Webcam", "Teach it"):
        place = tab(live, name)
        for role in ("button", "combobox", "checkbox", "textbox"):
            names += [control.aria_snapshot() for control in place.get_by_role(role).all()]
    assert len(names) > 20
    named = re.compile(r"- '?(button|combobox|checkbox|textbox) \"[^\"]{4,}\"")
    assert [name for name in names if not named.match(name)] == []


def test_every_control_can_be_reached_with_the_keyboard(live: Lesson) -> None:
    place = tab(live, "Webcam")
    place.get_by_role("button", name="Start").focus()
    for name in ("Stop", "Freeze"):
        live.page.keyboard.press("Tab")
        expect(place.get_by_role("button", name=name)).to_be_focused()
    live.page.keyboard.press("Space")
    check_sentence(place, "Frozen")
    live.page.keyboard.press("Space")
    check_sentence(place, "The camera is on.")


def test_a_frozen_picture_stays_and_then_goes_on(live: Lesson) -> None:
    place = tab(live, "Webcam")
    press(place, "Freeze")
    expect(place.get_by_role("button", name="Freeze", pressed=True)).to_be_visible()
    live.page.wait_for_function(  # the portrait moves all the time
        f"""() => {{
            const [now, shown] = [performance.now(), ({SHOWN})()];
            if (shown !== window.shown) Object.assign(window, {{shown, since: now}});
            return now - window.since > 1000;
        }}"""
    )
    expect(place.locator(".result")).to_contain_text("happy")
    live.picture("webcam_frozen")
    assert tracks(live) == ["live"]
    press(place, "Freeze")
    check_that_it_moves(live)


def test_out_of_sight_or_out_of_the_page_it_keeps_the_camera(live: Lesson) -> None:
    place, scroll = tab(live, "Webcam"), "document.querySelector('.jp-WindowedPanel-outer')"

    def back(code: str) -> None:
        assert tracks(live) == ["live"]
        live.page.evaluate(code)
        check_that_it_moves(live)
        check_sentence(place, "The camera is on.")

    live.page.evaluate(f"{scroll}.scrollTop = 0")
    expect(place).not_to_be_in_viewport()
    back(f"{scroll}.scrollTop = {scroll}.scrollHeight")
    live.page.evaluate(  # as older JupyterLabs do it
        """() => {
            window.output = document.querySelector(".jp-Cell-outputWrapper");
            window.parent_of_output = window.output.parentNode;
            window.output.remove();
        }"""
    )
    expect(place).to_have_count(0)
    back("window.parent_of_output.append(window.output)")
    live.page.wait_for_timeout(1500)  # a view that is gone takes a second to be noticed
    assert tracks(live) == ["live"]


@pytest.mark.parametrize(("theme", "is_light"), [("Dark", "false"), ("Light", "true")])
def test_the_webcam_can_be_read_in_either_theme(live: Lesson, theme: str, is_light: str) -> None:
    place = tab(live, "Webcam")
    change_theme(live, f"JupyterLab {theme}", is_light)
    text = place.locator("li").first
    colour = text.evaluate("e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).map(Number)")
    assert (np.mean(colour) < 128) == (theme == "Light")
    live.picture(f"webcam_{theme.lower()}")
    tab(live, "Teach it")
    live.picture(f"teach_{theme.lower()}")


def test_own_classes_are_taught_shown_live_and_left_again(live: Lesson) -> None:
    place = tab(live, "Teach it")
    said = place.locator(".widget-html:visible").get_by_role("status")
    press(place, "Train")
    expect(said).to_contain_text("At least two need pictures")
    press(place, "Record 1")
    expect(said).to_contain_text(re.compile(r"Recorded \d+ pictures of “wink”"))
    place.get_by_label("Name 2").fill("at sea")
    place.get_by_label("Uploads are for").select_option("number 2")
    with live.page.expect_file_chooser() as chooser:
        press(place, "Upload pictures")
    hopper = as_file(np.asarray(faces.portraits()["Grace Hopper"]))
    files = [("a.png", hopper), ("b.txt", b"text"), ("c.png", hopper)]
    chooser.value.set_files(
        [{"name": name, "mimeType": "image/*", "buffer": content} for name, content in files]
    )
    added = [re.compile(r"a\.png: Added to number 2"), re.compile(r"b\.txt: .* not a picture")]
    expect(results(place)).to_have_text([*added, re.compile(r"c\.png: Added to number 2")])
    expect(place.get_by_text("2 pictures")).to_be_visible()
    press(place, "Train")
    expect(said).to_contain_text("the webcam now looks for: wink, at sea")
    expect(place.locator("li")).to_have_text([re.compile(r"wink\d+%"), re.compile(r"at sea\d+%")])
    expect(place.locator(".result")).to_contain_text("expression: wink")
    live.picture("taught")
    live.still("teach", place)
    press(place, "Back to the network's classes")
    expect(place.locator(".result")).to_contain_text("expression: happy")


def test_stop_ends_the_cameras_track_and_so_does_a_page_that_is_left(live: Lesson) -> None:
    place = tab(live, "Webcam")
    press(place, "Stop")
    check_off(live)
    check_sentence(place, "The camera is off.")
    expect(place.locator("li:visible")).to_have_count(0)
    start(live)
    live.page.evaluate("window.dispatchEvent(new Event('pagehide'))")
    check_off(live)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("NotReadableError", "in use by another program"),
        ("NotAllowedError", "The camera was refused"),
        ("WeirdError", "could not be started: WeirdError"),
        ("", "http://localhost or over https"),
    ],
)
def test_a_camera_that_cannot_be_had_gets_a_sentence(
    live: Lesson, trouble: str, words: str
) -> None:
    place = tab(live, "Webcam")
    live.page.evaluate(
        """trouble => {
            const refuse = () => Promise.reject(new DOMException("it is so", trouble));
            const value = trouble ? {getUserMedia: refuse} : undefined;
            Object.defineProperty(navigator, "mediaDevices", {value, configurable: true});
        }""",
        trouble,
    )
    press(place, "Start")
    check_sentence(place, words)
    live.picture(f"webcam_{trouble or 'insecure'}")
    live.page.evaluate("delete navigator.mediaDevices")


def test_a_camera_that_gives_no_pictures_is_switched_off(live: Lesson) -> None:
    place = tab(live, "Webcam")
    for frames in (0, 40):  # none at all; some, and then no more
        live.page.evaluate(
            """frames => {
                const canvas = Object.assign(document.createElement("canvas"), {width: 64});
                const pen = canvas.getContext("2d");
                const stream = canvas.captureStream(frames ? 30 : 0);
                window.tracks.push(...stream.getTracks());
                const draw = () => {
                    pen.fillRect(0, 0, frames, 9);
                    if ((frames -= 1) > 0) requestAnimationFrame(draw);
                };
                if (frames) draw();
                const value = {
                    getUserMedia: async () => stream, enumerateDevices: async () => [],
                };
                Object.defineProperty(navigator, "mediaDevices", {value, configurable: true});
            }""",
            frames,
        )
        press(place, "Start")
        check_sentence(place, "The camera gives no pictures")
        check_off(live)
    live.page.evaluate("delete navigator.mediaDevices")


def test_where_there_are_several_cameras_one_can_be_chosen(live: Lesson) -> None:
    live.page.evaluate(  # Chromium makes one camera only of a file
        """() => {
            const devices = navigator.mediaDevices;
            const [list, get] = [devices.enumerateDevices, devices.getUserMedia];
            const second = {kind: "videoinput", deviceId: "second", label: "Another one"};
            window.wanted = [];
            devices.enumerateDevices = async () => [...await list.call(devices), second];
            devices.getUserMedia = async (asked) => {
                window.wanted.push(asked.video.deviceId?.ideal ?? "any");
                return get.call(devices, asked);
            };
            window.before = () => Object.assign(devices, {
                enumerateDevices: list, getUserMedia: get,
            });
        }"""
    )
    place = start(live)
    which = place.get_by_label("Which camera")
    assert which.locator("option").all_inner_texts()[1:] == ["Another one"]
    which.select_option("Another one")
    expect(place.locator(".result")).to_contain_text("Apparent expression: ")
    assert live.page.evaluate("window.wanted.at(-1)") == "second"
    assert [state for state in tracks(live) if state == "live"] == ["live"], "the first is off"
    press(place, "Stop")
    check_off(live)
    live.page.evaluate("void window.before()")


def test_a_face_before_the_camera_is_warned_about(live: Lesson) -> None:
    """In a picture that is nearly black, whatever is named, the doubt stands below."""
    place = tab(live, "Webcam")
    live.page.evaluate(
        """() => {
            window.drawn = CanvasRenderingContext2D.prototype.drawImage;
            CanvasRenderingContext2D.prototype.drawImage = function (...all) {
                window.drawn.apply(this, all);
                if (this.canvas.isConnected) return;  // only what is sent
                this.fillStyle = "rgba(0, 0, 0, 0.94)";
                this.fillRect(0, 0, this.canvas.width, this.canvas.height);
            };
        }"""
    )
    press(place, "Start")
    expect(place.locator(".doubts")).to_contain_text("The face is too dark")
    live.picture("webcam_dark_face")
    press(place, "Stop")
    live.page.evaluate("() => { CanvasRenderingContext2D.prototype.drawImage = window.drawn; }")
    check_off(live)


def test_a_refused_camera_gets_a_sentence(live: Lesson, lab: str) -> None:
    place = tab(live, "Webcam")
    live.page.context.clear_permissions()
    press(place, "Start")
    check_sentence(place, "The camera was refused")
    live.page.context.grant_permissions(["camera"], origin=lab)


def test_a_restarted_kernel_switches_the_camera_off(live: Lesson) -> None:
    place = start(live)
    execute(live, "notebook:restart-kernel")
    live.page.locator(".jp-Dialog .jp-mod-accept").click()
    check_off(live)
    check_sentence(place, "Python was stopped or restarted")
    live.picture("webcam_restarted")
    expect(place.get_by_role("button", name="Start")).to_be_disabled()
    live.wait_until_idle()


def test_a_deleted_output_switches_the_camera_off(live: Lesson) -> None:
    live.run_all()
    start(live)
    execute(live, "notebook:clear-all-cell-outputs")
    expect(live.page.locator(".emotion-webcam")).to_have_count(0)
    check_off(live)


def test_no_camera_gets_a_sentence(
    playwright: Playwright, chromium: str, lab: str, live: Lesson
) -> None:
    browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    try:
        with opened(browser, lab, LIVE) as without:
            without.page.context.grant_permissions(["camera"], origin=lab)
            without.run_all()
            place = tab(without, "Webcam")
            press(place, "Start")
            check_sentence(place, "No camera was found")
            without.picture("webcam_none")
            assert without.complaints == []
    finally:
        browser.close()
