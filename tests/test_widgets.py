"""The widgets, driven from Python as a browser would drive them."""

import datetime
import io
import re
import threading

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from helpers import FER_CLASSES, TutorialError, faces, widgets
from helpers.evaluation import ModelFile
from helpers.training import save_model


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    """Two networks with known answers: bright pictures look happy to one, angry to the other."""
    import keras

    files = []
    for name, bright, kind in (("good", "happy", "fer2013"), ("toys", "angry", "toy")):
        inputs = keras.Input((48, 48, 1))
        pooled = keras.layers.GlobalAveragePooling2D()(inputs)
        outputs = keras.layers.Dense(7, activation="softmax")(pooled)
        model = keras.Model(inputs, outputs)
        kernel, bias = np.zeros((1, 7)), np.zeros(7)
        kernel[0, FER_CLASSES.index(bright)] = 10  # bright: 7 against 0; dark: 0 against 3
        bias[FER_CLASSES.index(bright)], bias[FER_CLASSES.index("sad")] = -3, 3
        model.layers[-1].set_weights([kernel, bias])
        path = tmp_path_factory.mktemp("models") / f"{name}.keras"
        info = {
            "classes": list(FER_CLASSES),
            "data": {"name": "FER-2013" if kind == "fer2013" else "toy faces", "kind": kind},
            "validation": {"accuracy": 0.61},
        }
        save_model(model, path, info)
        files.append(ModelFile(path, info, "yours"))
    return files


SAMPLES = {
    "bright": Image.new("RGB", (48, 48), "white"),
    "dark": Image.new("RGB", (48, 48), "black"),
    "empty wall": Image.new("RGB", (300, 200), "grey"),
}


@pytest.fixture
def box(model_files):
    return Box(widgets.classifier_box(SAMPLES, model_files))


class Box:
    def __init__(self, box):
        self.box = box
        self.chooser, row, self.whole, self.result, self.purpose = box.children
        self.picker, self.upload, self.limit = row.children

    def send(self, *files):
        """Do what the browser does when files were chosen."""
        self.upload.value = tuple(
            {
                "name": name,
                "type": "image/png",
                "size": len(content),
                "content": memoryview(content),
                "last_modified": datetime.datetime(2024, 1, 1),
            }
            for name, content in files
        )

    @property
    def text(self):
        """What can be read, without the pictures."""
        return re.sub(r"<[^>]*>", "", self.result.value)

    @property
    def drawings(self):
        return self.result.value.count("data:image/png;base64,")


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_before_anything_is_chosen(box):
    assert "Pick a sample or upload" in box.text
    assert "prohibited in the EU" in box.purpose.value and "volunteers" in box.purpose.value
    assert "8 MB" in box.limit.value


def test_every_control_has_a_label(box):
    for control in (box.chooser, box.picker, box.upload, box.whole):
        assert control.description


def test_a_sample_is_classified(box):
    box.picker.value = "bright"
    assert "bright: Face 1 looks happy (98%), sure." in box.text
    assert box.drawings == 1
    box.picker.value = "dark"
    assert "dark: Face 1 looks sad" in box.text and "happy" not in box.text


def test_the_other_network_answers_the_same_picture_and_is_announced(box, model_files):
    box.picker.value = "bright"
    assert "toy faces" not in box.text
    box.chooser.value = model_files[1]
    assert "Face 1 looks angry" in box.text and "trained on toy faces only" in box.text


def test_each_network_is_made_faster_once(box, model_files, monkeypatch):
    made, real = [], widgets.evaluation.load_faster

    def load_faster(path, classes):
        made.append(real(path, classes)[0])
        return made[-1], {"classes": classes}

    monkeypatch.setattr(widgets.evaluation, "load_faster", load_faster)
    for name in ("bright", "dark", "bright"):
        box.picker.value = name
    assert len(made) == 1
    box.chooser.value = model_files[1]
    assert len(made) == 2 and all("run" in fast.keywords for fast in made)


def test_networks_are_described_and_keep_their_order(box):
    labels = [label for label, _ in box.chooser.options]
    assert labels[0] == "good.keras (yours, trained on FER-2013, 61% right on validation images)"
    assert "toy faces" in labels[1]


def test_an_upload_is_classified_and_the_button_is_ready_again(box):
    for _ in range(2):  # the same file twice
        box.send(("me.png", encoded(SAMPLES["bright"])))
        assert "me.png: Face 1 looks happy" in box.text
        assert box.upload.value == () and box.picker.value == ""
        box.picker.value = "dark"
        assert "dark" in box.text


def test_several_files_are_shown_one_below_the_other(box):
    box.send(
        ("a.png", encoded(SAMPLES["bright"])),
        ("b.txt", b"no picture"),
        ("c.jpg", encoded(SAMPLES["dark"], "JPEG")),
    )
    assert box.drawings == 2
    assert re.search(r"a\.png: .*happy.*b\.txt: .*not a picture.*c\.jpg: .*sad", box.text, re.S)


def test_too_many_files_are_cut_and_that_is_said(box, monkeypatch):
    monkeypatch.setattr(widgets, "MOST_PICTURES", 2)
    box.send(*[(f"{i}.png", encoded(SAMPLES["dark"])) for i in range(5)])
    assert box.drawings == 2 and "3 more were left out" in box.text


def test_no_face_is_said_and_the_whole_picture_offered(box):
    box.picker.value = "empty wall"
    assert "No face was found" in box.text and box.whole.description in box.text
    box.whole.value = True
    assert "No face" not in box.text and "Face 1 looks" in box.text


whole = encoded(Image.effect_noise((400, 300), 60).convert("RGB"), "JPEG")
HOSTILE = {
    "notes.jpg": (b"this is text", "not a picture"),
    "nothing.png": (b"", "empty"),
    "cut.jpg": (whole[: len(whole) // 2], "damaged or cut off"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "not a picture"),
    "bomb.png": (
        # a true header that claims 60,000 x 60,000 pixels
        encoded(Image.new("L", (1, 1)))[:16] + b"\x00\x00\xea\x60\x00\x00\xea\x60" + b"\x08" * 40,
        "picture",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_gets_a_sentence(box, name):
    content, words = HOSTILE[name]
    box.send((name, content))
    assert f"{name}: " in box.text and words in box.text
    assert "Something went wrong" not in box.text and box.drawings == 0
    box.picker.value = "bright"  # and the box still works
    assert "happy" in box.text


def test_the_name_of_a_file_cannot_bring_its_own_page(box):
    box.send(("<script>alert(1)</script>.png", encoded(SAMPLES["dark"])))
    assert "<script>" not in box.result.value and "&lt;script&gt;" in box.result.value


def test_an_unexpected_error_becomes_a_sentence(box, monkeypatch):
    def fail(*_):
        raise ValueError("the sky fell")

    monkeypatch.setattr(faces, "find_faces", fail)
    box.picker.value = "bright"
    assert "Something went wrong: ValueError: the sky fell" in box.text


def test_a_model_file_that_is_not_one_and_no_model_at_all(tmp_path):
    bad = tmp_path / "bad.keras"
    bad.write_bytes(b"not a model")
    box = Box(widgets.classifier_box(SAMPLES, [ModelFile(bad, {}, "yours")]))
    box.picker.value = "bright"
    assert "bad.keras is not a" in box.text
    box = Box(widgets.classifier_box(SAMPLES, []))
    box.picker.value = "bright"
    assert "no trained network yet" in box.text


def test_messages_on_several_threads_end_in_one_whole_result(box):
    names = ["bright", "dark"] * 2
    threads = [
        threading.Thread(target=box.send, args=((f"{n}.png", encoded(SAMPLES[n])),)) for n in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert box.text.count("Face 1") == 1
    assert ("bright.png: Face 1 looks happy" in box.text) != (
        "dark.png: Face 1 looks sad" in box.text
    )


def test_the_figure_has_a_row_for_each_face_and_is_not_kept_open():
    found = [faces.whole_image(SAMPLES["bright"])] * 3
    before = plt.get_fignums()
    figure = widgets.result_figure(SAMPLES["bright"], found, np.eye(7)[:3], FER_CLASSES)
    assert len(figure.axes) == 1 + 2 * 3
    assert plt.get_fignums() == before
    widgets.result_figure(SAMPLES["empty wall"], [], np.zeros((0, 7)), FER_CLASSES)
    many = widgets.result_figure(SAMPLES["dark"], found * 5, np.eye(7)[[0] * 15], FER_CLASSES)
    assert len(many.axes) == 1 + 2 * widgets.MOST_FACES


def test_explain():
    assert widgets.explain(TutorialError("Do this.")) == "Do this."
    assert "KeyError" in widgets.explain(KeyError("x"))
