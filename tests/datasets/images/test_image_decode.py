"""What pixels an image file has."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from faces import jpeg
from fairpress.datasets.images.decode import UnreadableImageError, decode


def png(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def halves(width: int, height: int) -> np.ndarray:
    """Left half red, right half blue [height, width, 3]."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    return pixels


def test_colours_come_first_and_sides_stay_where_they_are():
    x = decode(png(Image.fromarray(halves(16, 16))), 16)
    assert x.shape == (3, 16, 16)
    np.testing.assert_array_equal(x.transpose(1, 2, 0), halves(16, 16))


def test_of_a_wide_picture_the_middle_is_kept():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    assert decode(png(Image.fromarray(wide)), 20).min() == 255


def test_a_picture_from_a_phone_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90° clockwise to look at it
    x = decode(jpeg(halves(64, 64), exif=exif.tobytes()), 16)
    top, bottom = x[:, 2].mean(axis=1), x[:, 13].mean(axis=1)
    assert top[0] > 200 > 50 > top[2]
    assert bottom[2] > 200 > 50 > bottom[0]


def test_what_is_transparent_is_white():
    layered = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert decode(png(layered), 8).min() == 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert decode(png(palette, transparency=0), 8).min() == 255


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_colour_systems_become_rgb(mode):
    image = Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "TIFF")
    assert decode(stream.getvalue(), 8).min() >= 250


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a but not really", "."),
        (b"hello", "not an image of a known format"),
        (jpeg(halves(64, 64))[:700], "truncated"),
        (png(Image.fromarray(halves(64, 64)))[:60], "."),
        (png(Image.fromarray(np.full((8, 8), 40000, np.uint16))), "8 bits"),
    ],
)
def test_what_is_no_whole_image_has_a_reason(data, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode(data, 8)


def test_the_short_way_through_a_large_jpeg_sees_the_same():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    large = np.asarray(coarse.resize((1600, 1200), Image.Resampling.BICUBIC))
    short = decode(jpeg(large), 32).astype(int)
    whole = decode(png(Image.fromarray(large)), 32).astype(int)  # PNG has no short way
    assert np.abs(short - whole).mean() < 2
    assert np.abs(short - whole).max() < 16
