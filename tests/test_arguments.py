"""What is typed on the command line: read, or refused in one sentence."""

import argparse
import unicodedata
from pathlib import Path

import pytest

from app import arguments


def refused(read, text: str) -> str:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize("typed", ['"{}"', "'{}'", "“{}”", " {} ", '{}"'])
def test_quotes_and_blanks_around_a_path_are_left_out(tmp_path, typed):
    assert arguments.path(typed.format(tmp_path / "me.jpg")) == tmp_path / "me.jpg"


def test_a_file_that_has_quotes_in_its_name_is_found(tmp_path):
    (tmp_path / "'me'.jpg'").touch()
    assert arguments.path(f"{tmp_path}/'me'.jpg'") == tmp_path / "'me'.jpg'"


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert arguments.path("~/pictures/*.jpg") == tmp_path / "pictures" / "*.jpg"
    assert arguments.path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


@pytest.mark.parametrize(
    "address", ["https://a.org/m.h5", "HTTP://a.org", "www.a.org/x", "hf://a/b"]
)
def test_an_address_of_the_web_is_refused(address):
    assert "download it first" in refused(arguments.path, address)


@pytest.mark.parametrize("nothing", ["", "  ", '""'])
def test_no_path_is_refused(nothing):
    assert "must be named" in refused(arguments.path, nothing)


def test_a_name_too_long_for_any_file_is_refused():
    assert "no path" in refused(arguments.path, "x" * 300)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "", "1e3", "9" * 30])
def test_a_count_is_a_whole_number_from_1_up(text):
    assert refused(arguments.whole_number(1), text).endswith("is not a whole number from 1 up")
    assert arguments.whole_number(1)("12") == 12


def test_a_seed_is_what_numpy_and_keras_take():
    assert (arguments.seed("0"), arguments.seed("4294967295")) == (0, 2**32 - 1)
    for text in ("-1", "4294967296", "12345678901234567890", "x"):
        said = refused(arguments.seed, text)
        assert said == f"{text} is not a whole number from 0 to 4294967295"


def test_names_of_classes():
    assert arguments.class_names("sad, happy,été") == ["sad", "happy", "été"]
    split = unicodedata.normalize("NFD", "été")
    assert arguments.class_names(f"sad,{split}") == ["sad", "été"]
    for text in ("sad", "sad,", "sad,sad", f"été,{split}", ""):
        assert "different names with commas" in refused(arguments.class_names, text)
