"""The widgets, driven from Python as a browser would drive them."""

import gc
import html
import io
import itertools
import json
import random
import re
import threading
import weakref
import zlib

import numpy as np
import pytest
from PIL import Image

from app import answers, networks, photographs, teach
from app.demo import demo
from app.networks import Networks
from app.teach import Teacher
from app.webcam import Webcam
from helpers import FER_CLASSES, TutorialError, class_colours, faces
from helpers.models import save_model
from training.choose_model import ModelFile


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
def tool(model_files):
    chooser, tabs, purpose = demo(SAMPLES, model_files).children
    return Tool(chooser, tabs.children[0], purpose)


def message(widget, content, *buffers):
    """Deliver what a browser sent, and return what the widget answers, but for "wait"."""
    return [answer for answer, _ in exchange(widget, content, *buffers) if "wait" not in answer]


def exchange(widget, content, *buffers):
    """Deliver what a browser sent, and return all that the widget sends, with its buffers."""
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    data = {"method": "custom", "content": content}
    views = [memoryview(buffer) for buffer in buffers]
    widget._handle_msg({"content": {"data": data}, "buffers": views})
    return sent


class Tool:
    """The tab with photographs, and the list of networks above it."""

    def __init__(self, chooser, pictures, purpose):
        self.chooser, self.pictures, self.purpose = chooser, pictures, purpose

    def ask(self, sample="", content=b"", **fields):
        """Return the answer to a sample, or to a file."""
        about = {"tag": 0.5, "batch": 0.75} | fields
        about |= {"sample": sample} if sample else {}
        (answer,) = message(self.pictures, about, *[content] * bool(content))
        assert answer["tag"] == 0.5
        json.dumps(answer)  # no array, no NaN
        return answer

    def words(self, *args, **fields):
        """Return what is said of the one face."""
        (face,) = self.ask(*args, **fields)["faces"]
        return face["words"]


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_the_demo_has_three_tabs_one_camera_and_its_purpose_below_it(model_files):
    chooser, tabs, purpose = demo(SAMPLES, model_files).children
    assert tabs.titles == ("Photographs", "Webcam", "Teach it")
    assert tabs.children[0].samples == list(SAMPLES)
    assert tabs.children[1] is tabs.children[2].children[0]
    assert "prohibited in the EU" in purpose.value and "volunteers" in purpose.value
    assert chooser.value == model_files[0] and chooser.description


def test_a_sample_is_classified(tool):
    answer = tool.ask("bright")
    (face,) = answer["faces"]
    assert face["words"] == "looks happy (98%), sure" and face["box"] == (0, 0, 48, 48)
    assert sum(face["p"]) == pytest.approx(1, abs=1e-3)
    assert answer["classes"] == list(FER_CLASSES) and answer["note"] == ""
    assert answer["colours"] == class_colours(FER_CLASSES) and answer["size"] == (48, 48)
    assert tool.words("dark").startswith("looks sad")


def test_the_browser_gets_the_picture_once_and_each_crop(tool):
    ((_, (crops, picture)),) = exchange(tool.pictures, {"sample": "bright"})
    assert len(crops) == 48 * 48 and set(crops) == {255}
    assert Image.open(io.BytesIO(picture)).size == (48, 48)
    large = encoded(faces.portraits()["astronaut"].resize((1500, 1500)), "JPEG")
    about = {"whole": True}  # no search: this is not about faces
    ((answer, (_, picture)),) = exchange(tool.pictures, about, large)
    assert answer["size"] == (1500, 1500)
    assert Image.open(io.BytesIO(picture)).size == (photographs.SHOWN,) * 2
    ((_, files),) = exchange(tool.pictures, about | {"drawn": True}, large)
    assert [len(file) for file in files] == [48 * 48]  # drawn already: not sent again


def test_nothing_of_a_picture_is_kept_in_what_a_notebook_could_save(tool):
    marked = Image.effect_noise((60, 60), 90)
    tool.ask(content=encoded(marked))
    state = repr(tool.pictures.get_state(drop_defaults=False))
    assert len(state) == len(repr(photographs.photographs(Networks([]), SAMPLES).get_state()))
    kept = [v for v in vars(tool.pictures).values() if isinstance(v, bytes | np.ndarray)]
    assert kept == []


def test_the_other_network_is_asked_again_and_announced(tool, model_files):
    assert tool.ask("bright")["note"] == ""
    told = []
    tool.pictures.send = lambda content, buffers=None: told.append(content)
    tool.chooser.value = model_files[1]
    assert told == [{"again": True}]
    answer = tool.ask("bright")
    assert answer["faces"][0]["words"].startswith("looks angry")
    assert "trained on toy faces only" in answer["note"]


def test_each_network_is_made_faster_once(tool, model_files, monkeypatch):
    made, real = [], networks.load_litert
    monkeypatch.setattr(networks, "load_litert", lambda *about: made.append(about) or real(*about))
    for name in ("bright", "dark", "bright"):
        tool.ask(name)
    assert len(made) == 1
    tool.chooser.value = model_files[1]
    tool.ask("dark")
    assert len(made) == 2


def test_networks_are_described_and_keep_their_order(tool):
    labels = [label for label, _ in tool.chooser.options]
    assert labels[0] == "good.keras (yours, trained on FER-2013, 61% right on validation images)"
    assert "toy faces" in labels[1]


def test_an_upload_is_classified(tool):
    assert tool.words(content=encoded(SAMPLES["bright"])).startswith("looks happy")
    assert tool.words(content=encoded(SAMPLES["dark"], "JPEG")).startswith("looks sad")


def test_what_came_empty_or_is_too_large_says_so(tool):
    assert tool.ask()["say"] == photographs.NOT_SENT
    assert message(tool.pictures, {}, b"")[0]["say"] == photographs.NOT_SENT
    assert tool.ask(content=bytes(answers.MOST_BYTES + 1))["say"] == photographs.NOT_SENT


def test_what_makes_an_answer_doubtful_is_said_beside_it(tool):
    portrait = faces.portraits()["astronaut"]
    pictures = {
        "": portrait,
        "cut by the picture's edge": portrait.crop((0, 0, 235, 300)),
        "come closer": portrait.resize((90, 90)),
        "too dark": Image.eval(portrait, lambda level: level // 16),
    }
    for words, picture in pictures.items():
        (face,) = tool.ask(content=encoded(picture))["faces"]
        assert words in " ".join(face["warnings"])
        assert bool(words) == bool(face["warnings"])


def test_a_small_picture_of_something_else_is_said_to_be_taken_whole(tool):
    icon = Image.new("RGB", (48, 48), "white")
    icon.paste("green", (8, 8, 40, 40))
    (face,) = tool.ask(content=encoded(icon))["faces"]
    assert "No face was found in it, so the whole picture was taken" in face["warnings"][0]


def test_where_there_is_no_face_the_whole_picture_can_be_taken(tool):
    assert tool.ask("empty wall")["faces"] == []
    assert tool.words("empty wall", whole=True).startswith(("looks", "is too dark or unclear"))


def test_nothing_is_named_below_the_least_certainty(tool):
    noise = Image.effect_noise((48, 48), 3)  # grey: as bright as dark, to this network
    answer = tool.ask(content=encoded(noise))
    (face,) = answer["faces"]
    assert (max(face["p"]) < answer["least"]) == (face["words"] == "is too dark or unclear to say")


whole = encoded(Image.effect_noise((400, 300), 60).convert("RGB"), "JPEG")
# A true header and true checksums, for 60,000 x 60,000 pixels of which there is none.
header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x01\x00\x00\x00\x00"
HOSTILE = {
    "notes.jpg": (b"this is text", "not a picture"),
    "noise.png": (bytes(range(256)) * 100, "not a picture"),
    "cut.jpg": (whole[: len(whole) // 2], "damaged or cut off"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "not a picture"),
    "bomb.png": (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"
        + header
        + zlib.crc32(header).to_bytes(4, "big")
        + b"\x00\x00\x00\x00IEND\xaeB`\x82",
        "3600000000 pixels",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_gets_a_sentence(tool, name):
    content, words = HOSTILE[name]
    sentence = tool.ask(content=content)["say"]
    assert words in sentence and "Something went wrong" not in sentence
    assert tool.words("bright").startswith("looks happy")  # and the tool still works


def test_an_unexpected_error_becomes_a_sentence(tool, monkeypatch):
    monkeypatch.setattr(faces, "find_faces", lambda *_, **__: 1 / 0)
    said = "Something went wrong: ZeroDivisionError: division by zero"
    assert tool.ask("bright")["say"] == said


def test_a_model_file_that_is_not_one_and_no_model_at_all(tmp_path):
    bad = tmp_path / "bad.keras"
    bad.write_bytes(b"not a model")
    for models, words in ([ModelFile(bad, {}, "yours")], "bad.keras is not a"), ([], "no trained"):
        chooser, tabs, purpose = demo(SAMPLES, models).children
        assert words in Tool(chooser, tabs.children[0], purpose).ask("bright")["say"]


def test_messages_on_several_threads_get_each_its_own_answer(tool):
    check_threads(tool.pictures, lambda name: ({"sample": name}, []))


# Messages that no browser of ours would send


NOT_TAGS = ["x" * 100_000, None, [], {"tag": {}}, float("nan"), 10**400, -1, True]
NO_ABOUT = [None, [], "x", 7, {}, *({"tag": tag, "sample": 5, "batch": []} for tag in NOT_TAGS)]


@pytest.mark.parametrize("content", NO_ABOUT, ids=lambda content: str(content)[:30])
def test_an_upload_with_a_wrong_message_gets_one_short_answer(tool, content):
    (answer,) = message(tool.pictures, content, encoded(SAMPLES["dark"]))
    assert answer["tag"] is None and len(json.dumps(answer)) < 1000
    assert answer["faces"][0]["words"].startswith("looks sad")


@pytest.fixture(scope="module")
def webcam(model_files):
    return Webcam(Networks(model_files))


BRIGHT, DARK = (encoded(SAMPLES[name], "JPEG") for name in ("bright", "dark"))
FRAME = {"tag": 0.25}


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
        ((b"",), "empty or too large"),
        ((b"this is text",), "not a picture"),
        ((whole[: len(whole) // 2],), "damaged or cut off"),
        ((HOSTILE["bomb.png"][0],), "3600000000 pixels"),
        ((bytes(answers.MOST_BYTES + 1),), "empty or too large"),
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
    (answer,) = message(Webcam(Networks([])), FRAME, BRIGHT)
    assert "no trained network yet" in answer["say"]


def check_threads(widget, ask):
    """Four threads ask for bright and dark pictures in turn; each gets its own answers."""
    received = []
    widget.send = lambda content, buffers=None: received.append(content)

    def send(tags, name):
        for tag in tags:
            content, buffers = ask(name)
            widget._receive(widget, {"tag": tag, **content}, buffers)

    tags = np.linspace(0, 0.99, 24).tolist()
    names = ("bright", "dark")
    threads = [threading.Thread(target=send, args=(tags[k::4], names[k % 2])) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    received = [answer for answer in received if "wait" not in answer]
    best = {a["tag"]: a["classes"][np.argmax(a["faces"][0]["p"])] for a in received}
    assert len(received) == 24
    assert best == {tag: ("happy", "sad")[k % 2] for k, tag in enumerate(tags)}


def test_frames_on_several_threads_get_each_its_own_answer(webcam):
    frames = {"bright": BRIGHT, "dark": DARK}
    check_threads(webcam, lambda name: ({}, [memoryview(frames[name])]))


def test_a_frame_is_warned_about_as_a_photograph_is(webcam):
    dim = Image.eval(faces.portraits()["astronaut"], lambda level: level // 16)
    (answer,) = message(webcam, FRAME, encoded(dim))
    assert "too dark" in answer["faces"][0]["warnings"][0] and answer["least"] == faces.LEAST_SURE


# Teach it


@pytest.fixture
def teacher(webcam, monkeypatch):
    monkeypatch.setattr(teach, "RECORDED", 4)
    yield Teacher(webcam)
    webcam.let_go()
    webcam.let_go = lambda: None


def said(teacher):
    return html.unescape(re.sub(r"<[^>]*>", "", teacher.status.value))


def record(teacher, number, frame, frames=None):
    """Press Record while the camera runs."""
    message(teacher.webcam, FRAME, frame)
    teacher.own[number - 1].button.click()
    for _ in range(teach.RECORDED * teach.EVERY if frames is None else frames):
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
    teacher.webcam.own = (lambda crops: np.full((len(crops), 2), 0.5)), {"classes": ["a", "b"]}
    teacher.webcam.networks.chooser.value = model_files[1]
    assert best(teacher.webcam, BRIGHT) == "angry"
    teacher.webcam.networks.chooser.value = model_files[0]


def upload(teacher, *files):
    """Upload files together, and return what is said of each."""
    said = []
    batch = random.random()
    for content in files:
        said += message(teacher.upload, {"tag": 0.5, "batch": batch}, content)
    return [answer["say"] for answer in said]


def test_pictures_can_be_uploaded_instead_and_those_without_a_face_say_so(teacher):
    teacher.target.value = teacher.own[1]
    said = upload(teacher, BRIGHT, encoded(SAMPLES["empty wall"]), b"text", DARK)
    assert said[0] == said[3] == "Added to number 2."
    assert said[1] == "No face was found, so nothing was added."
    assert "This file is not a picture" in said[2]
    assert [own.count.value[0] for own in teacher.own] == ["0", "2", "0", "0"]
    for content in NO_ABOUT:
        (answer,) = message(teacher.upload, content, BRIGHT)
        assert answer["tag"] is None and "Added" in answer["say"]


def test_uploads_can_ask_what_was_learnt(teacher):
    teacher.target.value = None
    assert upload(teacher, BRIGHT) == ["Press Train before you ask."]
    record(teacher, 1, BRIGHT)
    record(teacher, 2, DARK)
    teacher.train.click()
    wink, tongue, nothing = upload(teacher, BRIGHT, DARK, encoded(SAMPLES["empty wall"]))
    assert wink.startswith("It looks wink") and tongue.startswith("It looks tongue out")
    assert nothing.startswith("No face was found")
    assert [own.count.value for own in teacher.own[:2]] == ["4 pictures"] * 2


def test_uploads_chosen_together_go_where_the_first_one_went(teacher):
    teacher.target.value = teacher.own[1]
    for _ in range(2):
        message(teacher.upload, {"batch": 0.5}, BRIGHT)
        teacher.target.value = teacher.own[0]
    assert [own.count.value for own in teacher.own[:2]] == ["0 pictures", "2 pictures"]


def test_uploads_go_where_they_should_if_the_first_of_them_is_no_picture(teacher):
    teacher.target.value = teacher.own[1]
    assert upload(teacher, b"text", BRIGHT)[1] == "Added to number 2."
    teacher.target.value = teacher.own[0]
    assert upload(teacher, b"text", BRIGHT)[1] == "Added to number 1."


def test_a_cell_that_is_run_again_leaves_no_earlier_teacher_alive(teacher):
    webcam = teacher.webcam
    old = Teacher(webcam)
    record(old, 1, BRIGHT)
    gone = weakref.ref(old), weakref.ref(old.own[0].crops[0])
    del old
    new = Teacher(webcam)
    gc.collect()
    assert [there() for there in gone] == [None, None]
    record(new, 1, BRIGHT)  # and the new one works
    assert new.own[0].count.value == "4 pictures"


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
    Teacher(webcam)  # as when its cell is run again
    assert not webcam.own and not webcam.whole


def test_every_change_of_what_answers_is_told(teacher, model_files):
    def by():
        (answer,) = message(teacher.webcam, FRAME, BRIGHT)
        return answer["by"]

    seen = [by(), by()]
    teacher.webcam.networks.chooser.value = model_files[1]
    seen.append(by())
    teacher.webcam.own = (lambda crops: np.full((len(crops), 2), 0.5)), {"classes": ["a", "b"]}
    seen.append(by())
    teacher.webcam.networks.chooser.value = model_files[0]
    seen.append(by())
    assert [a != b for a, b in itertools.pairwise(seen)] == [False, True, True, True]


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
    record(teacher, 1, BRIGHT, frames=2 * teach.EVERY)
    assert message(teacher.webcam, {"off": True}) == [{"tag": None}]
    assert said(teacher) == "Recorded 2 pictures of “wink”."
    message(teacher.webcam, FRAME, BRIGHT)
    assert teacher.own[0].count.value == "2 pictures"
    monkeypatch.setattr(teach, "SECONDS", -1)
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


def test_explain():
    assert answers.explain(TutorialError("Do this.")) == "Do this."
    assert "KeyError" in answers.explain(KeyError("x"))
