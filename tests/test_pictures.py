"""Opening any picture, and what the network sees of it, against known answers."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from drawn import encode, noise
from PIL import EpsImagePlugin, Image

from helpers import TutorialError, pictures


def gray(seed: int) -> bytes:
    return encode(noise(seed))


def test_a_gray_jpeg_of_the_right_size_is_decoded_untouched():
    raw = encode(Image.fromarray(noise(1)), "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(raw)))
    picture = pictures.open_picture(raw)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(pictures.to_input(picture), expected)


def test_pictures_come_from_bytes_paths_and_open_files(tmp_path):
    raw = gray(2)
    (tmp_path / "a.png").write_bytes(raw)
    sources = [raw, memoryview(raw), tmp_path / "a.png", str(tmp_path / "a.png"), io.BytesIO(raw)]
    for source in sources:
        np.testing.assert_array_equal(pictures.to_input(pictures.open_picture(source)), noise(2))


def test_transparency_becomes_white():
    clear = np.zeros((8, 8, 4), np.uint8)  # black, and wholly transparent
    clear[:4] = (10, 20, 30, 255)
    pixels = np.asarray(pictures.open_picture(encode(Image.fromarray(clear))))
    assert (pixels[:4] == (10, 20, 30)).all() and (pixels[4:] == 255).all()

    palette = Image.fromarray(np.repeat([0, 1], 32).reshape(8, 8).astype(np.uint8), "P")
    palette.putpalette([200, 0, 0, 0, 0, 200])
    pixels = np.asarray(pictures.open_picture(encode(palette, transparency=1)))
    assert (pixels[:4] == (200, 0, 0)).all() and (pixels[4:] == 255).all()

    half = Image.new("LA", (4, 4), (0, 128))
    assert np.asarray(pictures.open_picture(encode(half)))[0, 0, 0] == pytest.approx(127, abs=1)


def test_sixteen_bits_are_scaled_not_clipped():
    levels = np.array([[0, 257, 32896, 65535]], np.uint16).repeat(4, 0)
    for kind in ("PNG", "TIFF"):
        pixels = np.asarray(pictures.open_picture(encode(Image.fromarray(levels), kind)))
        assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("white", [1, 255, 65535, 1e6])
def test_thirty_two_bits_are_scaled_by_what_must_be_white(white):
    levels = np.array([[0, 0.2, 1, -1, np.nan, np.inf]], np.float32) * np.float32(white)
    pixels = np.asarray(pictures.open_picture(encode(Image.fromarray(levels), "TIFF")))
    assert pixels[0, :, 0].tolist() == [0, 51, 255, 0, 0, 0]
    if white > 1:
        whole = Image.fromarray(np.nan_to_num(levels[:, :4]).astype(np.int32))
        pixels = np.asarray(pictures.open_picture(encode(whole, "TIFF")))
        assert pixels[0, :, 0].tolist() == [0, 51, 255, 0]


def test_other_modes():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red, as printers mix it
    red, green, blue = np.asarray(pictures.open_picture(encode(cmyk, "JPEG", quality=100)))[4, 4]
    assert red > 200 and green < 60 and blue < 60

    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr", "F", "I", "I;16"):
        white = Image.new("RGB", (8, 8), "white").convert("L" if mode[0] in "FI" else mode)
        if mode[0] in "FI":
            kinds = {"F": (np.float32, 1), "I": (np.int32, 257), "I;16": (np.uint16, 257)}
            white = Image.fromarray(np.asarray(white).astype(kinds[mode][0]) * kinds[mode][1])
        picture = pictures.open_picture(encode(white, "TIFF"))
        assert picture.mode == "RGB" and (np.asarray(picture) == 255).all()


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    raw = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert np.asarray(pictures.open_picture(raw))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_are_turned_upright(orientation, kind):
    upright = Image.new("RGB", (64, 32), "black")
    upright.paste((255, 255, 255), (0, 0, 16, 16))  # a mark at the top left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse transpositions
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = pictures.open_picture(encode(stored, kind, exif=exif))
    assert picture.size == (64, 32)
    pixels = np.asarray(picture.convert("L"))
    assert pixels[4, 4] > 200
    assert pixels[4, 60] < 50 and pixels[28, 4] < 50 and pixels[28, 60] < 50


def test_a_stale_word_in_xmp_turns_nothing():
    """Browsers do not heed it either; programs that turn a picture often leave it behind."""
    stale = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6"/></x:xmpmeta>'
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32)).save(buffer, "JPEG", xmp=stale)
    with Image.open(buffer) as picture:
        assert picture.getexif().get(0x0112) == 6, "Pillow would turn it"
    assert pictures.open_picture(buffer.getvalue()).size == (64, 32)


def test_a_transparent_picture_is_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = encode(Image.new("RGBA", (20, 10), (1, 2, 3, 255)), "PNG", exif=exif)
    assert pictures.open_picture(raw).size == (10, 20)


def test_damaged_exif_does_not_cost_the_picture():
    raw = encode(Image.new("RGB", (32, 16), "gray"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert pictures.open_picture(raw).size == (32, 16)


def test_one_pixel():
    image = pictures.to_input(pictures.open_picture(encode(Image.new("RGB", (1, 1), (50, 50, 50)))))
    assert image.shape == (48, 48) and (image == 50).all()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "L")])
def test_a_huge_picture_is_made_smaller(kind, mode):
    image = Image.new(mode, (12_000, 9_000), "white")
    image.paste("black", (0, 0, 6_000, 9_000))
    picture = pictures.open_picture(encode(image, kind))
    assert picture.size == (1600, 1200)
    pixels = np.asarray(picture.convert("L"))
    assert pixels[:, :790].max() < 30 and pixels[:, 810:].min() > 225


def test_a_huge_jpeg_is_never_decoded_in_full(monkeypatch):
    raw = encode(Image.new("RGB", (8_000, 6_000), "gray"), "JPEG")
    sizes = []
    real = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, *a, **k: sizes.append(self.size) or real(self, *a, **k)
    )
    assert pictures.open_picture(raw).size == (1600, 1200)
    assert max(max(size) for size in sizes) <= 4_000


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 49)  # Pillow refuses twice as many
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(TutorialError, match="too large"):
        pictures.open_picture(png_header())


def png_header() -> bytes:
    """Return a PNG of 10×10 pixels by its header, with nothing behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    end = b"IDAT"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", 0)
        + end
        + struct.pack(">I", zlib.crc32(end))
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"just some text", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "save it as JPEG"),
        (encode(Image.fromarray(noise(3)), "JPEG")[:-400], "damaged or cut off"),
        (gray(4)[:200], "damaged or cut off"),
    ],
)
def test_what_is_no_picture_gets_one_sentence(tmp_path, content, words):
    (tmp_path / "me.jpg").write_bytes(content)
    with pytest.raises(TutorialError, match=words) as error:
        pictures.open_picture(tmp_path / "me.jpg")
    assert str(error.value).startswith("me.jpg")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TutorialError, match=r"me\.jpg cannot be read"):
        pictures.open_picture(tmp_path / "me.jpg")


def test_to_input_takes_the_central_square():
    wide = np.zeros((96, 192), np.uint8)
    wide[:, 48:144] = 255
    assert pictures.to_input(Image.fromarray(wide)).min() == 255
    assert pictures.to_input(Image.fromarray(wide.T.copy())).min() == 255


def test_to_input_averages_when_it_makes_smaller():
    checks = (np.indices((480, 480)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(pictures.to_input(Image.fromarray(checks)).astype(int) - 127).max() <= 2


def test_of_many_bits_the_smallest_white_that_no_pixel_exceeds_is_white():
    for white in (255, 1023, 4095, 16383, 65535):
        levels = np.array([[0, white // 2, white]], np.uint16).repeat(3, 0)
        pixels = np.asarray(pictures.open_picture(encode(levels)))
        assert pixels[0, :, 0].tolist() == pytest.approx([0, 127.5, 255], abs=1)


def test_only_the_named_formats_are_opened_whatever_a_file_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("Ghostscript"))
    (tmp_path / "me.jpg").write_bytes(encode(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(TutorialError, match=r"me\.jpg is not a picture that can be read"):
        pictures.open_picture(tmp_path / "me.jpg")


def test_phones_that_save_two_pictures_in_a_jpeg():
    raw = encode(Image.new("L", (9, 9), 99), "MPO", save_all=True)
    assert pictures.to_input(pictures.open_picture(raw)).mean() == pytest.approx(99, abs=1)


def test_one_list_says_which_files_are_listed_as_pictures():
    for name in ("a.JPG", "b.jfif", "c.webp", "d.tif", "e.avif", "f.pgm"):
        assert pictures.is_picture(name), name
    for name in ("._a.jpg", ".b.png", "Thumbs.db", "c.heic", "d.pdf", "e.h5", "f.eps", "g"):
        assert not pictures.is_picture(name), name
    for name in (".DS_Store", "__MACOSX", "Thumbs.db", ".ipynb_checkpoints"):
        assert pictures.is_junk(name)


def test_padding_keeps_the_sides_between_bars_of_the_mean():
    wide = np.zeros((24, 48), np.uint8)
    wide[:, :24] = 200
    padded = pictures.to_input(Image.fromarray(wide), pad=True)
    np.testing.assert_array_equal(padded[12:36], wide)
    assert set(padded[:12].ravel()) == set(padded[36:].ravel()) == {100}
    square = noise(5)
    np.testing.assert_array_equal(pictures.to_input(Image.fromarray(square), pad=True), square)


@pytest.mark.skipif(os.name == "nt", reason="Windows has none in folders")
def test_a_pipe_is_no_picture_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(TutorialError, match=r"pipe\.jpg cannot be read: it is no file"):
        pictures.open_picture(tmp_path / "pipe.jpg")
