"""The widgets, driven from Python as a browser would drive them."""

import html
import io
import json
import re
import threading

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from app import widgets
from helpers import FER_CLASSES, TutorialError, class_colours, faces
from helpers.choose import ModelFile
from helpers.models import save_model


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
    return Box(widgets.demo(SAMPLES, model_files))


def message(widget, content, *buffers):
    """Deliver what a browser sent, and return what the widget answers, but for "wait"."""
    answers = []

    def send(content, buffers=None):
        answers.extend([content] if "wait" not in content else [])

    widget.send = send
    data = {"method": "custom", "content": content}
    views = [memoryview(buffer) for buffer in buffers]
    widget._handle_msg({"content": {"data": data}, "buffers": views})
    return answers


class Box:
    def __init__(self, box):
        self.box = box
        self.chooser, tabs, self.purpose = box.children
        photographs = tabs.children[0]
        row, self.whole, self.result = photographs.children
        self.picker, self.upload = row.children

    def send(self, *files):
        """Do what the browser does when files were chosen."""
        for place, (name, content) in enumerate(files):
            about = {"tag": 0.5, "name": name, "place": place, "of": len(files)}
            message(self.upload, about, content)

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


def test_every_control_has_a_label(box):
    assert all(control.description for control in (box.chooser, box.picker, box.whole))


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
    made, real = [], widgets.evaluation.load_litert

    def load_litert(path, classes):
        made.append(real(path, classes)[0])
        return made[-1], {"classes": classes}

    monkeypatch.setattr(widgets.evaluation, "load_litert", load_litert)
    for name in ("bright", "dark", "bright"):
        box.picker.value = name
    assert len(made) == 1
    box.chooser.value = model_files[1]
    assert len(made) == 2 and all("run" in fast.keywords for fast in made)


def test_networks_are_described_and_keep_their_order(box):
    labels = [label for label, _ in box.chooser.options]
    assert labels[0] == "good.keras (yours, trained on FER-2013, 61% right on validation images)"
    assert "toy faces" in labels[1]


def test_an_upload_is_classified_and_the_list_is_ready_again(box):
    for _ in range(2):  # the same file twice
        box.send(("me.png", encoded(SAMPLES["bright"])))
        assert "me.png: Face 1 looks happy" in box.text
        assert box.picker.value == ""
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


def test_what_the_browser_could_neither_open_nor_send_gets_a_sentence(box, monkeypatch):
    assert message(box.upload, {"tag": 0.5, "name": "film.avi", "place": 0, "of": 1}) == [
        {"tag": 0.5}
    ]
    assert "film.avi: The browser cannot open this" in box.text
    monkeypatch.setattr(widgets, "MOST_BYTES", 10)
    box.send(("huge.png", encoded(SAMPLES["dark"])))  # from another browser than ours
    assert "huge.png: The browser cannot open this" in box.text and "film" not in box.text


def test_what_makes_an_answer_doubtful_is_said_behind_it(box):
    portrait = faces.portraits()["astronaut"]
    cut, tiny = portrait.crop((0, 0, 235, 300)), portrait.resize((90, 90))
    files = {"sharp.png": portrait, "cut.png": cut, "tiny.png": tiny}
    box.send(*((name, encoded(picture)) for name, picture in files.items()))
    sharp, cut, tiny = re.findall(r"\w+\.png: .*?(?=\w+\.png|$)", html.unescape(box.text))
    assert "cut by the picture's edge" in cut and "come closer" in tiny
    assert not any(words in sharp for words in ("blurred", "cut by", "come closer"))


def test_no_face_is_said_and_the_whole_picture_offered(box):
    box.picker.value = "empty wall"
    assert "No face was found" in box.text and box.whole.description in box.text
    box.whole.value = True
    assert "No face" not in box.text and "Face 1 looks" in box.text


whole = encoded(Image.effect_noise((400, 300), 60).convert("RGB"), "JPEG")
HOSTILE = {
    "notes.jpg": (b"this is text", "not a picture"),
    "nothing.png": (b"", "empty"),
    "noise.png": (bytes(range(256)) * 100, "not a picture"),
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
    box = Box(widgets.demo(SAMPLES, [ModelFile(bad, {}, "yours")]))
    box.picker.value = "bright"
    assert "bad.keras is not a" in box.text
    box = Box(widgets.demo(SAMPLES, []))
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


# Messages that no browser of ours would send


NOT_TAGS = ["x" * 100_000, None, [], {"tag": {}}, float("nan"), 10**400, -1, True]
NO_ABOUT = [None, [], "x", 7, {}, *({"tag": tag, "name": 5, "place": "x"} for tag in NOT_TAGS)]


@pytest.mark.parametrize("content", NO_ABOUT, ids=lambda content: str(content)[:30])
def test_an_upload_with_a_wrong_message_gets_one_short_answer(box, content):
    assert message(box.upload, content, encoded(SAMPLES["dark"])) == [{"tag": None}]
    assert "Face 1 looks sad" in box.text and "Something went wrong" not in box.text


@pytest.fixture(scope="module")
def webcam(model_files):
    return widgets.Webcam(widgets.Networks(model_files))


BRIGHT, DARK = (encoded(SAMPLES[name], "JPEG") for name in ("bright", "dark"))
FRAME = {"tag": 0.25, "frame": True}


def test_a_frame_is_answered_with_its_faces(webcam):
    (answer,) = message(webcam, FRAME, BRIGHT)
    assert answer["tag"] == 0.25 and answer["size"] == (48, 48) and answer["note"] == ""
    (face,) = answer["faces"]
    assert face["box"] == (0, 0, 48, 48) and sum(face["p"]) == pytest.approx(1, abs=1e-3)
    assert answer["classes"][np.argmax(face["p"])] == "happy"
    assert answer["classes"] == list(FER_CLASSES)
    assert answer["colours"] == class_colours(FER_CLASSES)
    json.dumps(answer)  # no array, no NaN


def test_a_face_is_found_where_it_is_in_the_frame(webcam):
    frame = faces.portraits()["astronaut"].crop((0, 0, 512, 384))
    (answer,) = message(webcam, FRAME, encoded(frame, "JPEG"))
    (face,) = answer["faces"]
    left, top, right, bottom = face["box"]
    assert left < 224 < right and top < 120 < bottom and right - left < 200


def test_a_frame_without_a_face_has_an_answer_too(webcam):
    (answer,) = message(webcam, FRAME, encoded(SAMPLES["empty wall"]))
    assert answer["faces"] == [] and "say" not in answer


def test_the_whole_frame_can_be_taken_for_the_face(webcam, monkeypatch):
    monkeypatch.setattr(webcam, "whole", True)
    (answer,) = message(webcam, FRAME, encoded(SAMPLES["empty wall"]))
    assert [face["box"] for face in answer["faces"]] == [(0, 0, 300, 200)]


def test_the_chosen_network_answers_and_one_of_toy_faces_is_announced(webcam, model_files):
    webcam.networks.chooser.value = model_files[1]
    (answer,) = message(webcam, FRAME, BRIGHT)
    webcam.networks.chooser.value = model_files[0]
    assert answer["classes"][np.argmax(answer["faces"][0]["p"])] == "angry"
    assert "toy faces" in answer["note"]


@pytest.mark.parametrize(
    ("buffers", "words"),
    [
        ((), "empty or too large"),
        ((b"",), "is empty"),
        ((b"this is text",), "not a picture"),
        ((whole[: len(whole) // 2],), "damaged or cut off"),
        ((HOSTILE["bomb.png"][0],), "picture"),
        ((bytes(widgets.MOST_BYTES + 1),), "empty or too large"),
    ],
)
def test_a_frame_that_is_none_gets_a_sentence_and_the_next_is_answered(webcam, buffers, words):
    (answer,) = message(webcam, FRAME, *buffers)
    assert words in answer.pop("say") and answer == {"tag": 0.25}
    assert message(webcam, FRAME, BRIGHT, *buffers)[0]["faces"]


@pytest.mark.parametrize("content", NO_ABOUT, ids=lambda content: str(content)[:30])
def test_a_frame_with_a_wrong_message_is_answered_to_nobody(webcam, content):
    (answer,) = message(webcam, content, BRIGHT)
    assert answer["tag"] is None and len(json.dumps(answer)) < 1000


def test_what_goes_wrong_on_the_way_becomes_a_sentence(webcam, monkeypatch):
    monkeypatch.setattr(faces, "find_faces", lambda frame, live: 1 / 0)
    (answer,) = message(webcam, FRAME, BRIGHT)
    assert answer == {
        "tag": 0.25,
        "say": "Something went wrong: ZeroDivisionError: division by zero",
    }


def test_a_webcam_without_a_network_says_so():
    (answer,) = message(widgets.Webcam(widgets.Networks([])), FRAME, BRIGHT)
    assert "no trained network yet" in answer["say"]


def test_frames_on_several_threads_get_each_its_own_answer(webcam):
    answers = []
    webcam.send = lambda content, buffers=None: answers.append(content)

    def send(tags, frame):
        for tag in tags:
            webcam._receive(webcam, {"tag": tag}, [memoryview(frame)])

    tags = np.linspace(0, 0.99, 24).tolist()
    threads = [
        threading.Thread(target=send, args=(tags[k::4], (BRIGHT, DARK)[k % 2])) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    best = {a["tag"]: a["classes"][np.argmax(a["faces"][0]["p"])] for a in answers}
    assert len(answers) == 24
    assert best == {tag: ("happy", "sad")[k % 2] for k, tag in enumerate(tags)}


# Teach it


@pytest.fixture
def teacher(webcam, monkeypatch):
    monkeypatch.setattr(widgets, "RECORDED", 4)
    yield widgets.Teacher(webcam)
    webcam.own, webcam.whole, webcam.watch = None, False, lambda found: None


def said(teacher):
    return html.unescape(re.sub(r"<[^>]*>", "", teacher.status.value))


def record(teacher, number, frame, frames=None):
    """Press Record while the camera runs."""
    message(teacher.webcam, FRAME, frame)
    teacher.own[number - 1].button.click()
    for _ in range(widgets.RECORDED * widgets.EVERY if frames is None else frames):
        message(teacher.webcam, FRAME, frame)


def best(webcam, frame):
    (answer,) = message(webcam, FRAME, frame)
    return answer["classes"][np.argmax(answer["faces"][0]["p"])]


def test_two_classes_are_recorded_learnt_and_told_apart_and_there_is_a_way_back(teacher):
    for own, name in zip(teacher.own, ("light", "dim", "", ""), strict=True):
        own.text.value = name
    record(teacher, 1, BRIGHT)
    assert said(teacher) == "Recorded 4 pictures of “light”."
    record(teacher, 2, DARK)
    assert [own.count.value for own in teacher.own[:3]] == ["4 pictures"] * 2 + ["0 pictures"]
    teacher.train.click()
    assert "Learnt from 8 pictures" in said(teacher) and "light, dim" in said(teacher)
    assert [best(teacher.webcam, frame) for frame in (BRIGHT, DARK)] == ["light", "dim"]
    (nobody,) = message(teacher.webcam, FRAME, encoded(SAMPLES["empty wall"]))
    assert nobody["faces"] == [] and nobody["classes"] == ["light", "dim"]
    teacher.back.click()
    assert best(teacher.webcam, BRIGHT) == "happy" and "own classes" in said(teacher)
    teacher.train.click()  # the pictures are still there
    assert best(teacher.webcam, BRIGHT) == "light"
    teacher.forget.click()
    assert best(teacher.webcam, BRIGHT) == "happy"
    assert {own.count.value for own in teacher.own} == {"0 pictures"}


def test_another_network_takes_what_was_learnt_away(teacher, model_files):
    teacher.webcam.own = ["a", "b"], lambda crops: np.full((len(crops), 2), 0.5)
    teacher.webcam.networks.chooser.value = model_files[1]
    assert best(teacher.webcam, BRIGHT) == "angry"
    teacher.webcam.networks.chooser.value = model_files[0]


def test_pictures_can_be_uploaded_instead_and_those_without_a_face_are_named(teacher):
    teacher.target.value = teacher.own[1]
    files = {"a.png": encoded(SAMPLES["bright"]), "wall.png": encoded(SAMPLES["empty wall"])}
    files |= {"notes.txt": b"text", "b.png": BRIGHT}
    for place, (name, content) in enumerate(files.items()):
        about = {"tag": 0.5, "name": name, "place": place, "of": len(files)}
        assert message(teacher.upload, about, content) == [{"tag": 0.5}]
    assert [own.count.value[0] for own in teacher.own] == ["0", "2", "0", "0"]
    assert said(teacher).startswith("Added 2 of 4 pictures. wall.png: no face was found.")
    assert "notes.txt: This file is not a picture" in said(teacher)
    for content in NO_ABOUT:
        assert message(teacher.upload, content, BRIGHT) == [{"tag": None}]


def test_uploads_can_ask_what_was_learnt(teacher):
    def ask(*names):
        for place, name in enumerate(names):
            about = {"tag": 0.5, "name": name, "place": place, "of": len(names)}
            message(teacher.upload, about, encoded(SAMPLES[name]))
        return said(teacher)

    teacher.target.value = None
    assert ask("bright") == "bright: press Train before you ask."
    record(teacher, 1, BRIGHT)
    record(teacher, 2, DARK)
    teacher.train.click()
    answers = ask("bright", "dark", "empty wall")
    assert re.match(r"bright looks wink .* dark looks tongue out .*wall: no face was", answers)
    assert [own.count.value for own in teacher.own[:2]] == ["4 pictures"] * 2


def test_uploads_chosen_together_go_where_the_first_one_went(teacher):
    teacher.target.value = teacher.own[1]
    for place in (0, 1):
        message(teacher.upload, {"name": "a", "place": place, "of": 30}, BRIGHT)
        teacher.target.value = teacher.own[0]
    assert [own.count.value for own in teacher.own[:2]] == ["0 pictures", "2 pictures"]
    assert said(teacher) == "Added 2 of 30 pictures. At most 20 can be uploaded at once."


def test_the_whole_picture_is_for_what_was_learnt_from_it_alone(teacher):
    wall, webcam = encoded(SAMPLES["empty wall"]), teacher.webcam
    teacher.whole.value = True
    (answer,) = message(webcam, FRAME, wall)
    assert answer["faces"] == []
    record(teacher, 1, wall)
    record(teacher, 2, DARK)
    teacher.train.click()
    (answer,) = message(webcam, FRAME, wall)
    assert len(answer["faces"]) == 1 and answer["classes"] == ["wink", "tongue out"]
    teacher.back.click()
    (answer,) = message(webcam, FRAME, wall)
    assert answer["faces"] == []
    teacher.train.click()
    assert webcam.own and webcam.whole
    widgets.Teacher(webcam)  # as when its cell is run again
    assert not webcam.own and not webcam.whole


def test_every_change_of_what_answers_is_counted(teacher, model_files):
    def by():
        (answer,) = message(teacher.webcam, FRAME, BRIGHT)
        return answer["by"]

    seen = [by(), by()]
    teacher.webcam.networks.chooser.value = model_files[1]
    seen.append(by())
    teacher.webcam.own = ["a", "b"], lambda crops: np.full((len(crops), 2), 0.5)
    seen.append(by())
    teacher.webcam.networks.chooser.value = model_files[0]
    seen.append(by())
    assert np.diff(seen).tolist() == [0, 1, 1, 1]


def test_recording_needs_a_name_a_camera_and_a_face(teacher):
    teacher.webcam.networks.load()
    message(teacher.webcam, {"off": True})
    teacher.own[3].button.click()
    assert said(teacher) == "Give number 4 a name first."
    teacher.own[0].button.click()
    assert "press Start, or Freeze once more" in said(teacher)
    record(teacher, 1, encoded(SAMPLES["empty wall"]), frames=3)
    assert said(teacher).startswith("Recording “wink”")
    message(teacher.webcam, {"off": True})
    assert said(teacher) == "No face was seen, so “wink” has nothing new: try again."


def test_a_recording_ends_when_the_camera_does_or_time_is_up(teacher, monkeypatch):
    record(teacher, 1, BRIGHT, frames=2 * widgets.EVERY)
    assert message(teacher.webcam, {"off": True}) == []
    assert said(teacher) == "Recorded 2 pictures of “wink”."
    message(teacher.webcam, FRAME, BRIGHT)
    assert teacher.own[0].count.value == "2 pictures"
    monkeypatch.setattr(widgets, "SECONDS", -1)
    record(teacher, 1, BRIGHT, frames=1)
    assert "nothing new" in said(teacher)


def test_training_says_what_is_missing(teacher):
    tongue = teacher.own[1]

    def problem():
        teacher.train.click()
        assert teacher.webcam.own is None
        return said(teacher)

    assert "At least two need pictures" in problem()
    record(teacher, 1, BRIGHT)
    assert "At least two need pictures" in problem()
    record(teacher, 2, BRIGHT)
    tongue.text.value = "wink "
    assert "Two are named “wink”" in problem()
    tongue.text.value = ""
    assert "Number 2 has pictures but no name" in problem()


def test_a_name_cannot_bring_its_own_page(teacher):
    teacher.own[0].text.value = "<img src=x onerror=alert(1)>"
    record(teacher, 1, BRIGHT, frames=0)
    assert "<img" not in teacher.status.value and "&lt;img" in teacher.status.value


def test_the_whole_picture_can_be_taught_and_starts_anew(teacher):
    record(teacher, 1, BRIGHT)
    teacher.whole.value = True
    assert "forgotten" in said(teacher) and teacher.own[0].count.value == "0 pictures"
    record(teacher, 1, encoded(SAMPLES["empty wall"]))
    assert "Recorded" in said(teacher)


def test_the_demo_has_three_tabs_one_camera_and_its_purpose_beside_it(model_files):
    chooser, tabs, purpose = widgets.demo(SAMPLES, model_files).children
    assert tabs.titles == ("Photographs", "Webcam", "Teach it")
    assert tabs.children[1] is tabs.children[2].children[0]
    assert "prohibited in the EU" in purpose.value and chooser.value == model_files[0]


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
