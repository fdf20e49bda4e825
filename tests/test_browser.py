"""The notebooks in JupyterLab, in Chromium, under a learner's hands."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import FLAGS, MINUTE, Lesson, jupyterlab, opened
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, Locator, expect, sync_playwright
from skimage.data import astronaut

from helpers import FER_CLASSES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

WITHOUT_WIDGETS = ("01_explore_the_data", "03_build_the_cnn", "05_evaluate")
AUGMENTATION = "02_preview_augmentation"
TRAINING = "04_train_with_class_weights"
WIDGETS = "06_classify_with_widgets"

ANSWER = re.compile(rf"Face 1 looks ({'|'.join(FER_CLASSES)}) \(\d+%\)")
expect.set_options(timeout=MINUTE)  # a busy machine answers late, and that is no failure
DRAWN = "img[src]:not([src='']):visible"


# The scope is the module, so that Playwright's event loop is gone before other tests run.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(chromium: str, toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lab")
    variables = {"TUTORIAL_DATASET": str(toy_folder), "TUTORIAL_RUNS": str(folder / "runs")}
    with jupyterlab(folder, TUTORIAL_PROFILE="quick", **variables) as address:
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
    if "lesson" in request.fixturenames:
        lesson = request.getfixturevalue("lesson")
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


def source(picture: Locator) -> str:
    return picture.get_attribute("src") or ""


def test_every_notebook_is_opened_here() -> None:
    stems = {path.stem for path in (ROOT / "notebooks").glob("0[1-6]*.ipynb")}
    assert stems == {*WITHOUT_WIDGETS, AUGMENTATION, TRAINING, WIDGETS}


@of(*WITHOUT_WIDGETS)
def test_it_runs(lesson: Lesson) -> None:
    check_that_it_ran(lesson)


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
    (number,) = (n for n, code in enumerate(cells) if "history = train_network(" in code)
    shown = lesson.page.evaluate("n => [...window.drawings[n]]", number)
    assert len(shown) > 1, "the curves did not change while the network trained"
    curves = lesson.cells.nth(number).locator(DRAWN)
    expect(curves).to_have_count(1)
    assert curves.evaluate("image => image.src") == shown[-1]
    curves.scroll_into_view_if_needed()
    lesson.picture("curves")


# 06: pictures of one's own


@of(WIDGETS)
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
        place.get_by_role("button", name="Upload").click()
    chooser.value.set_files(payload)


def as_file(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@of(WIDGETS)
def test_a_sample_gets_probabilities(lesson: Lesson) -> None:
    tool = box(lesson)
    tool.get_by_label("Sample").select_option(label="Grace Hopper")
    result = tool.get_by_role("status")
    expect(result).to_contain_text("Grace Hopper")
    expect(result).to_contain_text(ANSWER)
    drawing = result.locator(DRAWN)
    expect(drawing).to_have_attribute("alt", ANSWER)
    assert drawing.evaluate("image => image.naturalWidth") > 500
    tool.scroll_into_view_if_needed()
    lesson.picture("sample")


@of(WIDGETS)
def test_an_uploaded_portrait_gets_probabilities(lesson: Lesson) -> None:
    tool = box(lesson)
    choose_files(lesson, tool, {"portrait.png": as_file(astronaut())})
    result = tool.get_by_role("status")
    expect(result).to_contain_text("portrait.png")
    expect(result).to_contain_text(ANSWER)
    lesson.picture("upload")


@of(WIDGETS)
def test_a_text_file_gets_a_sentence_and_breaks_nothing(lesson: Lesson) -> None:
    tool = box(lesson)
    result = tool.get_by_role("status")
    choose_files(lesson, tool, {"notes.jpg": b"this is only text"})
    expect(result).to_contain_text("notes.jpg")
    expect(result).to_contain_text("not a picture")
    expect(result.locator("img")).to_have_count(0)
    lesson.picture("text_file")
    tool.get_by_label("Sample").select_option(label="astronaut")
    expect(result).to_contain_text(ANSWER)


@of(WIDGETS)
def test_several_files_at_once_each_get_an_answer(lesson: Lesson) -> None:
    tool = box(lesson)
    wall = np.full((300, 400, 3), 128, np.uint8)
    files = {"first.png": as_file(astronaut()), "notes.jpg": b"text", "wall.png": as_file(wall)}
    choose_files(lesson, tool, files)
    answers = tool.get_by_role("status").locator("p", has=lesson.page.locator("b"))
    expect(answers).to_have_count(3)
    first, notes, empty = answers.all()
    expect(first).to_contain_text(ANSWER)
    expect(notes).to_contain_text("notes.jpg")
    expect(empty).to_contain_text("No face was found")
    lesson.picture("several_files")
    tool.get_by_label("the whole picture is the face").check()
    expect(empty).to_contain_text(ANSWER)
    tool.get_by_label("the whole picture is the face").uncheck()
    expect(empty).to_contain_text("No face was found")


@of(WIDGETS)
def test_a_large_photograph_arrives(lesson: Lesson) -> None:
    """JupyterLab drops messages above 10 MiB without a word, unless start.py's options hold."""
    large = np.asarray(Image.fromarray(astronaut()).resize((2100, 2100)))
    content = as_file(large, "BMP")
    assert len(content) > 12 * 2**20
    tool = box(lesson)
    choose_files(lesson, tool, {"large.bmp": content})
    result = tool.get_by_role("status")
    expect(result).to_contain_text("large.bmp")
    expect(result).to_contain_text(ANSWER)


@of(WIDGETS)
def test_the_upload_built_in_the_lesson_answers_too(lesson: Lesson) -> None:
    cell = lesson.cell("upload = ipywidgets.FileUpload(").locator(".jp-OutputArea")
    choose_files(lesson, cell, {"notes.jpg": b"this is only text"})
    expect(cell).to_contain_text("not a picture")
    choose_files(lesson, cell, {"portrait.png": as_file(astronaut())})
    expect(cell).to_contain_text(ANSWER)


def change_theme(lesson: Lesson, theme: str, light: str) -> None:
    command = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    lesson.page.evaluate(command, theme)
    expect(lesson.page.locator("body")).to_have_attribute("data-jp-theme-light", light)


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
