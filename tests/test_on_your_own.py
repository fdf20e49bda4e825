"""The lesson to take home: alone, on folders of many kinds, and on folders that cannot work."""

from __future__ import annotations

import ast
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from browser import NOBODY
from conftest import ROOT
from drawn import encode, make, noise, pack, read, write
from IPython.core.error import UsageError
from lessons import cells
from PIL import Image
from test_notebooks import assert_that_it_ran, streams

from tools.run_notebooks import execute, kernel_environment

(LESSON,) = (ROOT / "notebooks").glob("*_on_your_own.ipynb")
STANDARD = {"IPython", "PIL", "ipywidgets", "keras", "matplotlib", "numpy", "seaborn", "sklearn"}
ASIDE = """
import sys
found = {"ours": sorted({"app", "fetch", "helpers", "training"} & set(sys.modules))}
found |= {"right": float(right.mean()), "baseline": float(test_baseline), "copies": copies}
found |= {"first": probabilities[0].tolist(), "file": str(test.file_paths[0])}
print(json.dumps(found))
"""


def run(until: str = "", **knobs) -> dict:
    """Run the cells of the lesson, to that which holds `until`, with other knobs -> all names."""
    names: dict = {}
    with plt.rc_context():
        for cell in cells("on_your_own"):
            exec(cell, names)
            if "\nEPOCHS = " in cell:
                assert set(knobs) < set(names), "a knob has another name"
                names |= knobs
            if until and until in cell:
                break
    plt.close("all")
    return names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_nothing_of_the_project_is_imported() -> None:
    found = {
        name.split(".")[0]
        for cell in cells("on_your_own")
        for node in ast.walk(ast.parse(cell))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found <= STANDARD | sys.stdlib_module_names


@pytest.mark.notebook
def test_runs_alone_in_an_empty_folder(tmp_path: Path) -> None:
    """Nothing is beside it, nothing of ours is looked for, and no network is reached."""
    copy = Path(shutil.copy(LESSON, tmp_path / "work"))
    notebook = nbformat.read(copy, as_version=4)
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(ASIDE))
    nbformat.write(notebook, copy)
    env = kernel_environment(HTTPS_PROXY=NOBODY) | {"PYTHONPATH": "", "HOME": str(tmp_path)}
    env = {name: value for name, value in env.items() if not name.startswith("TUTORIAL_")}
    done = execute(copy, env)
    assert_that_it_ran(done, LESSON.stem[:2], shown="")
    found = json.loads(streams(done, "stdout").splitlines()[-1])
    assert found["ours"] == []
    assert found["copies"] == 12
    assert found["right"] > found["baseline"] + 0.1
    assert {path.name for path in copy.parent.iterdir()} == {copy.name, "my_project"}
    (made,) = (copy.parent / "my_project").iterdir()
    names = {"model_card.md", "network.json", "network.keras", "pictures", "shapes"}
    assert {path.name for path in made.iterdir()} == names
    card = (made / "model_card.md").read_text("utf-8")
    assert f"right for {found['right']:.1%}" in card
    assert f"would be right for\n{found['baseline']:.1%}" in card
    assert "..." not in card
    network = keras.models.load_model(made / "network.keras")  # in another process, on its own
    facts = json.loads((made / "network.json").read_text("utf-8"))
    assert facts["classes"] == ["circle", "hexagon", "square", "triangle"]
    picture = np.asarray(Image.open(copy.parent / found["file"]), "float32")
    answer = network.predict(picture[None], verbose=0)[0]
    np.testing.assert_allclose(answer, found["first"], atol=1e-4)


def colours(seed: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def own_folder(place: Path) -> Path:
    """Write three classes of colour pictures of several sizes and kinds, and what goes wrong."""
    seeds = iter(range(1000))
    names = ("$5 note", "Äpfel", "zebra")
    files = {
        f"{name}/{k}.jpg": encode(colours(next(seeds), 40 + 7 * k, 90 - 3 * k), "JPEG")
        for name in names
        for k in range(20)
    }
    clear = colours(1001, 60, 60)
    clear.putalpha(128)
    files |= {
        "zebra/clear.PNG": encode(clear),
        "zebra/still.webp": encode(colours(1002, 70, 50), "WEBP"),
        "zebra/few.gif": encode(colours(1003, 50, 70), "GIF"),
        "zebra/deep.png": encode(Image.fromarray(noise(1004).astype("uint16") * 257)),
        "zebra/print.jpg": encode(colours(1005, 64, 64).convert("CMYK"), "JPEG"),
        "zebra/broken.jpg": files["zebra/3.jpg"][:300],
        "zebra/empty.png": b"",
        "zebra/._0.jpg": b"a note of another system",
        "zebra/notes.txt": b"of the learner's",
        "zebra/again.jpg": files["zebra/5.jpg"],
        "Äpfel/zebra.jpg": files["zebra/7.jpg"],
        ".hidden/x.jpg": files["zebra/1.jpg"],
        "empty/readme.txt": b"no class",
    }
    return write(place, files)


def test_a_folder_of_colour_pictures_of_any_size(tmp_path: Path, capsys) -> None:
    folder = own_folder(tmp_path / "mine")
    before = read(folder)
    names = run(FOLDER=str(folder), EPOCHS=1)
    assert read(folder) == before
    assert names["classes"] == ["$5 note", "zebra", "Äpfel"]  # in the order of Keras
    assert sorted(names["unreadable"]) == ["broken.jpg", "empty.png"]
    assert (names["copies"], len(names["doubtful"])) == (1, 1)
    pictures = names["run"] / "pictures"
    found = {part: list((pictures / part).rglob("*.png")) for part in ("train", "test")}
    contents = {part: {path.read_bytes() for path in paths} for part, paths in found.items()}
    assert [len(contents[part]) for part in found] == [len(paths) for paths in found.values()]
    assert not contents["train"] & contents["test"]
    assert sum(map(len, found.values())) == 64 == len(names["origin"])
    assert not {"Äpfel/zebra.jpg", "zebra/7.jpg"} & set(names["origin"].values())
    card = (names["run"] / "model_card.md").read_text("utf-8")
    assert "**Limits.** ..." in card, "what nobody wrote is not made up"
    assert "| $5 note |" in card
    for other in (colours(7, 300, 20), Image.fromarray(noise(8))):
        _, said = names["answer"](encode(other))
        assert any(f"It says {name}, with a probability" in said for name in names["classes"])
    names["ask_about"](b"no picture")
    assert "no picture" in names["words"].value
    assert "Warning" not in capsys.readouterr().err


def test_a_folder_like_fer2013_keeps_the_test_part_that_was_given(tmp_path: Path) -> None:
    folder = make(tmp_path / "fer", ["train", "test"], ["angry", "happy"], n=24)
    shutil.copy(folder / "test" / "happy" / "3.png", folder / "train" / "happy" / "copy.png")
    names = run(FOLDER=folder, EPOCHS=1, COLOUR="grayscale", MOST=20, SIZE=32)
    parts = {part: len(names["given"][part]) for part in ("train", "test")}
    assert parts["test"] == 40
    assert parts["train"] in (39, 40)  # the copy may be among those that MOST leaves out
    assert {path.parts[-3] for *_, path, _ in names["given"]["test"]} == {"test"}
    assert names["network"].input_shape == (None, 32, 32, 1)
    figure, _ = names["answer"](encode(colours(1, 30, 60)))
    assert figure.axes


def test_a_picture_of_the_given_test_part_is_not_trained_on(tmp_path: Path) -> None:
    folder = make(tmp_path / "fer", ["train", "test"], ["angry", "happy"], n=12)
    shutil.copy(folder / "test" / "happy" / "3.png", folder / "train" / "happy" / "copy.png")
    names = run("given = {", FOLDER=folder)
    assert (names["copies"], len(names["given"]["test"])) == (1, 24)
    assert "copy.png" not in [path.name for *_, path, _ in names["given"]["train"]]


def test_pictures_lie_as_they_are_shown(tmp_path: Path) -> None:
    """The camera's note turns them, clear parts become white, and the middle is cut out."""
    prepare = run("def prepare(", MOST=1)["prepare"]
    note = Image.Exif()
    note[0x0112] = 6  # "turn a quarter clockwise before showing"
    half = Image.fromarray(np.tile(np.repeat(np.uint8([0, 255]), 20), (40, 1)))
    lying = io.BytesIO(encode(half, "JPEG", exif=note, quality=95))
    upright = np.asarray(prepare(lying, 8, "grayscale"))
    assert upright[:3].max() < 50
    assert upright[-3:].min() > 200
    clear = io.BytesIO(encode(Image.new("RGBA", (9, 5), (0, 0, 0, 0))))
    assert np.asarray(prepare(clear, 4, "rgb")).tolist() == np.full((4, 4, 3), 255).tolist()
    wide = Image.new("L", (30, 10), 0)
    wide.paste(200, (10, 0, 20, 10))
    middle = np.asarray(prepare(io.BytesIO(encode(wide)), 10, "grayscale"))
    assert np.all(middle == 200)


def one_class(place: Path) -> None:
    make(place, ["."], ["cat"])


def a_file(place: Path) -> None:
    pack(place, {})


def loose(place: Path) -> None:
    write(place, {"1.png": encode(noise(1)), "2.png": encode(noise(2))})


def deeper(place: Path) -> None:
    make(place, ["train", "validation"], ["cat", "dog"])


def few(place: Path) -> None:
    make(place, ["."], ["cat"], n=12)
    write(place, {f"dog/{k}.png": encode(noise(900 + k // 2)) for k in range(12)})


def unreadable(place: Path) -> None:
    write(place, {f"{name}/{k}.jpg": b"text" for name in ("cat", "dog") for k in range(12)})


def unlike(place: Path) -> None:
    make(place, ["train"], ["cat", "dog"])
    make(place, ["test"], ["cat", "cow"])


def too_few_to_test(place: Path) -> None:
    make(place, ["train"], ["cat", "dog"], n=12)
    write(place, {"test/cat/1.png": encode(noise(1)), "test/dog/1.png": encode(noise(2))})


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (lambda place: None, "There is no folder {}: correct FOLDER, or set it to None."),
        (a_file, "There is no folder {}: correct FOLDER, or set it to None."),
        (Path.mkdir, "No folder in {} has pictures: give each class a folder of its own."),
        (loose, "No folder in {} has pictures: give each class a folder of its own."),
        (deeper, "No folder in {} has pictures: give each class a folder of its own."),
        (one_class, "{} has one class only, cat: it takes two to tell apart."),
        (unlike, "The folders train and test have different classes: make them the same."),
        (few, "Too few different pictures in train (6 of dog): at least 10 of each class "),
        (unreadable, "No file in {} can be read as a picture: save them as JPEG or PNG."),
        (too_few_to_test, "Too few different pictures in test (1 of cat, 1 of dog): at least 2 "),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    tmp_path: Path, written: Callable[[Path], None], sentence: str
) -> None:
    place = tmp_path / "mine"
    written(place)
    with pytest.raises(UsageError) as caught:  # which Jupyter shows in one line
        run(FOLDER=str(place))
    said = str(caught.value)
    assert said.startswith(sentence.format(place))
    assert "\n" not in said and said.endswith(".")
    assert list(Path("my_project").iterdir()), "what it made lies in a folder of its own"


def test_a_run_overwrites_no_other(monkeypatch) -> None:
    run("run.mkdir(")
    (made,) = Path("my_project").iterdir()
    (made / "model_card.md").write_text("mine")
    monkeypatch.setattr("time.strftime", lambda form: made.name)
    with pytest.raises(FileExistsError):
        run("run.mkdir(")
    assert (made / "model_card.md").read_text() == "mine"
