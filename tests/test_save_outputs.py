"""What is committed of an executed notebook: nothing that shows faces of the data set."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image
from skimage.data import astronaut

from fetch import loading
from helpers import TutorialError
from tools import save_outputs
from tools.run_notebooks import execute
from tools.save_outputs import LEFT_OUT, VIEW, WIDGET, clean, keep_reference_runs, set_aside
from training import runs


def png(side: int = 64, colours: int = 256) -> str:
    """Return a picture of noise, with many grey levels like a photograph or few like a chart."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, colours, (side, side), dtype=np.uint8)
    Image.fromarray(noise * (256 // colours)).convert("RGB").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


ALT = "Bars of noise, one a class"


def shown(**data):
    kinds = {name.replace("_", "/"): value for name, value in data.items()}
    about = {"image/png": {"width": 5, "alt": ALT}}
    return new_output("display_data", data=kinds, metadata=about)


def cleaned(outputs: list, *tags: str):
    """Return what is left of these outputs in a cell with these tags."""
    cell = new_code_cell("1", outputs=outputs, execution_count=1, metadata={"tags": list(tags)})
    cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    notebook = new_notebook(cells=[cell])
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    clean(notebook, "01_lesson.ipynb")
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert "execution" not in notebook.cells[0].metadata
    return notebook.cells[0].outputs


@pytest.mark.parametrize(
    "picture",
    [
        shown(image_png=png(), text_plain="<Figure>"),
        shown(image_jpeg=png()),
        shown(text_html="<b>a face</b><img src='x.png'>"),
        shown(text_html=f"<p style='background:url(data:image/png;base64,{png()})'>"),
        shown(text_html="<svg></svg>"),
        shown(text_html="<IMG SRC=x.png>"),
        shown(text_html="<video src='x.mp4'></video>"),
        shown(text_html="<td style='background-color:#808080'>128</td>"),
        shown(text_html="<script>draw([1, 2])</script>"),
        shown(**{"image_svg+xml": "<svg></svg>"}),
    ],
)
def test_a_picture_is_left_out_where_nobody_has_said_that_it_may_stay(picture) -> None:
    (left,) = cleaned([picture])
    assert left == stream(LEFT_OUT)


def test_a_shareable_picture_stays_in_all_its_colours_and_gets_smaller() -> None:
    rng, file = np.random.default_rng(0), io.BytesIO()
    colours = rng.integers(0, 256, (100, 3), dtype=np.uint8)  # more than a palette of 64 has
    chart = colours[np.arange(100)].repeat(8, axis=0)[:, None].repeat(200, axis=1)
    Image.fromarray(chart).save(file, "PNG", compress_level=0)
    before = base64.b64encode(file.getvalue()).decode()
    (left,) = cleaned([shown(image_png=before, text_plain="<Figure>")], "shareable")
    after = left.data["image/png"]
    assert len(after) < len(before)
    with Image.open(io.BytesIO(base64.b64decode(after))) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), chart)
    assert left.metadata == {"image/png": {"alt": ALT}}


def test_a_photograph_becomes_a_jpeg_where_that_is_smaller() -> None:
    portrait, file = astronaut()[:256, :256], io.BytesIO()
    Image.fromarray(portrait).save(file, "PNG")
    before = base64.b64encode(file.getvalue()).decode()
    (left,) = cleaned([shown(image_png=before)], "shareable")
    assert set(left.data) == {"image/jpeg"}
    assert left.metadata == {"image/jpeg": {"alt": ALT}}
    with Image.open(io.BytesIO(base64.b64decode(left.data["image/jpeg"]))) as picture:
        assert np.abs(np.asarray(picture, float) - portrait).mean() < 4


@pytest.mark.notebook
def test_a_figure_is_shown_and_saved_with_its_words_as_alternative_text(tmp_path: Path) -> None:
    path = tmp_path / "01_lesson.ipynb"
    draw = "fig, ax = plt.subplots()\nax.barh(['happy', '<sad>'], [3, 1])\n"
    style = "import matplotlib.pyplot as plt\nfrom helpers import plots\nplots.style()"
    cells = [new_code_cell(style), new_code_cell(f"{draw}ax.set_title('Who is \"in\"?');")]
    cells[1].metadata["tags"] = ["shareable"]
    nbformat.write(new_notebook(cells=cells), path)
    notebook = execute(path)
    (live,) = notebook.cells[1].outputs
    assert 'alt="Who is &quot;in&quot;?. happy, &lt;sad&gt;"' in live.data["text/html"]
    assert "image/png" not in live.data, "the same picture twice"
    (left,) = clean(notebook, path.name).cells[1].outputs
    assert set(left.data) == {"image/png", "text/plain"}
    assert left.metadata == {"image/png": {"alt": 'Who is "in"?. happy, <sad>'}}


@pytest.mark.parametrize("kind", ["image_png", "text_html"])
def test_a_picture_without_alternative_text_is_refused(kind: str) -> None:
    picture = shown(image_png=png())
    if kind == "text_html":
        picture = shown(text_html=f'<img alt="Figure" src="data:image/png;base64,{png()}">')
    picture.metadata = {}
    with pytest.raises(TutorialError, match=r"01_lesson\.ipynb, cell .* no alternative text"):
        cleaned([picture], "shareable")


def test_only_kinds_that_every_reader_can_show_stay() -> None:
    (left,) = cleaned(
        [shown(image_png=png(colours=2), application_pdf="x", text_plain="p")], "shareable"
    )
    assert set(left.data) == {"image/png", "text/plain"}


def test_places_in_memory_which_change_in_every_run_are_left_out() -> None:
    (left,) = cleaned([shown(text_plain="<PIL.Image size=9x9 at 0x7F3A1C>")])
    assert left.data["text/plain"] == "<PIL.Image size=9x9>"


def test_of_a_private_cell_nothing_stays_not_even_numbers() -> None:
    outputs = [stream("[[12 13]]\n"), shown(image_png=png())]
    assert cleaned(outputs, "private") == [stream(LEFT_OUT)]
    assert cleaned(outputs, "private", "shareable") == [stream(LEFT_OUT)]
    assert cleaned([], "private") == []


def test_widgets_become_a_line_and_finished_progress_bars_nothing() -> None:
    widget, bar = shown(text_plain="VBox(children=(...))"), shown(text_plain="  0%|      | 0/9")
    for number, output in enumerate((widget, bar)):
        output.data[VIEW] = {"model_id": str(number)}
    assert cleaned([bar, widget], "shareable") == [stream(WIDGET)]


def test_printed_text_is_joined_and_shows_its_last_state() -> None:
    printed = [stream("one\n10%\r20%\r"), stream("30%\r\ntwo\n"), stream("late\n", "stderr")]
    left = cleaned(printed)
    assert [(output.name, output.text) for output in left] == [
        ("stdout", "one\n30%\ntwo\n"),
        ("stderr", "late\n"),
    ]


@pytest.mark.parametrize(
    "output",
    [
        stream("[[ 12  13 200   7   8   9  10  11  12]\n [1 2 3 4 5 6 7 8 9]]\n"),
        shown(text_plain="array([[12, 13, 200, 7, 8, 9, 10, 11]], dtype=uint8)"),
    ],
)
def test_a_row_of_pixels_is_refused_where_nobody_has_said_whose(output) -> None:
    with pytest.raises(TutorialError, match="a row of pixels, it seems"):
        cleaned([output])
    assert cleaned([output], "shareable") == [output]


def test_an_address_and_a_list_of_counts_are_no_reason_to_refuse() -> None:
    output = stream("https://x.org/home/y, https://x.org/tmp/z, [3995, 436, 4097], [1 2 3]\n")
    assert cleaned([output]) == [output]


@pytest.mark.parametrize(
    "place", ["/home/ada/x.py", "/tmp/a", r"C:\Users\ada", "/Users/ada/b", "/usr/lib/x", r"D:\a"]
)
def test_a_place_on_this_machine_is_refused(place: str) -> None:
    with pytest.raises(TutorialError, match=r"01_lesson\.ipynb, cell .* a place on this machine"):
        cleaned([stream(f"saved in {place}\n")])


def test_a_notebook_that_is_too_large_is_refused() -> None:
    with pytest.raises(TutorialError, match="more than 600,000"):
        cleaned([shown(image_png=png(1000))], "shareable")


def test_outputs_of_toy_faces_are_not_saved(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(loading, "load_dataset", lambda **_: SimpleNamespace(kind="toy"))
    monkeypatch.setenv("TUTORIAL_PROFILE", "quick")  # to be put back
    path = tmp_path / "01_lesson.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("print(1)")]), path)
    before = path.read_bytes()
    assert save_outputs.main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "The outputs are to be of the true FER-2013, and this is toy" in said
    assert path.read_bytes() == before


def test_the_last_run_of_each_experiment_becomes_the_reference(tmp_path: Path) -> None:
    def line(experiment: str, epochs: int) -> str:
        run = {"experiment": experiment, "settings": {"epochs": epochs}, "scores": {"loss": 1}}
        return json.dumps(run) + "\n"

    log, reference = tmp_path / "log.jsonl", tmp_path / "reference.jsonl"
    reference.write_text(line("a", 1) + line("b", 2))
    log.write_text(line("b", 3) + line("b", 4) + line("c", 5))
    keep_reference_runs(log, reference)
    assert reference.read_text() == line("a", 1) + line("b", 4) + line("c", 5)


@pytest.mark.notebook
def test_outputs_are_saved_in_place(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loading, "load_dataset", lambda **_: SimpleNamespace(kind="fer2013"))
    monkeypatch.setattr(save_outputs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runs, "REFERENCE_RUNS", tmp_path / "reference.jsonl")
    (tmp_path / "runs").mkdir()
    log = tmp_path / "runs" / "log.jsonl"
    log.write_text("mine")
    path = tmp_path / "01_lesson.ipynb"
    cell = "import helpers\nprint(helpers.profile())"
    nbformat.write(new_notebook(cells=[new_code_cell(cell)]), path)
    monkeypatch.setenv("TUTORIAL_PROFILE", "quick")
    assert save_outputs.main([str(tmp_path / "02.ipynb")]) == 1
    assert save_outputs.main([str(path)]) == 0
    (cell,) = nbformat.read(path, as_version=4).cells
    assert (cell.execution_count, cell.outputs[0].text) == (1, "full\n")
    assert log.read_text() == "mine"
    assert not (tmp_path / "reference.jsonl").exists()


def test_networks_of_later_lessons_are_set_aside_and_put_back(tmp_path: Path) -> None:
    names = {"lesson_cnn-fer2013-full.keras", "recipe-fer2013.keras", "transfer-fer2013.keras.json"}
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / ".later").mkdir()
    (tmp_path / ".later" / "recipe-of-a-killed-save.keras").write_text("kept")
    with pytest.raises(KeyboardInterrupt), set_aside(tmp_path):
        assert [path.name for path in tmp_path.glob("*.keras*")] == [min(names)]
        raise KeyboardInterrupt
    found = {path.name for path in tmp_path.iterdir()}
    assert found == names | {"recipe-of-a-killed-save.keras"}
