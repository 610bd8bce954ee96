"""One image file's bytes to the square of pixels that a network reads."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np

# Part of every cache key: change it together with the behaviour of `decode`.
PREPARATION = "centre square, resized bilinearly with antialiasing"
VERSION = 1
# What is read; Pillow knows others, and of them PostScript would start another program.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
MAX_PIXELS = 50_000_000
"""Reading one may take twenty bytes for each."""
_LARGE_PIXELS = 1 << 22
_one_at_a_time = threading.Lock()


class UnreadableImageError(Exception):
    """The bytes are not a complete image; the message is the reason, as part of a sentence."""


def identity() -> list[str]:
    """Return what pixels depend on besides the file: this code, Pillow and its JPEG library."""
    from PIL import __version__, features

    return [f"decode {VERSION}", f"pillow {__version__}", f"jpeg {features.version('jpg')}"]


def decode(data: bytes, size: int) -> np.ndarray:
    """Return the image's centre square at `size` × `size` pixels, uint8 [3, size, size].

    The image is turned upright by its EXIF data, transparent parts are white, and the first picture of several is
    read. Raises UnreadableImageError if the bytes are not an image, a truncated one, one of more than 8 bits a color,
    or of more than 50
    million pixels: of a JPEG those that are left when it is coarsened, but for one that builds up progressively.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            # A JPEG can be decoded at ½, ¼ or ⅛ of its side for a part of the time. Twice the wanted side is kept,
            # so that the last resizing averages what decoding coarsened.
            if "progressive" not in image.info or image.width * image.height <= MAX_PIXELS:
                image.draft(None, (2 * size, 2 * size))
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise UnreadableImageError(
                    f"{image.width:,} × {image.height:,} pixels, of which {MAX_PIXELS:,} are read"
                )
            with _one_at_a_time if pixels > _LARGE_PIXELS else nullcontext():
                return _square(image, size)
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image of a known format" if data else "empty") from None
    except (UnreadableImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more pixels than the {MAX_PIXELS:,} that are read") from None
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError("truncated" if "truncated" in reason.lower() else reason[:100]) from None


def _square(image: Any, size: int) -> np.ndarray:
    from PIL import Image, ImageOps

    if image.mode[0] in "IF":
        raise UnreadableImageError("more than 8 bits a color")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        layered = image if image.mode == "RGBA" else image.convert("RGBA")
        upright = Image.new("RGBA", layered.size, "white")
        upright.alpha_composite(layered)
        image = upright
    picture = image if image.mode == "RGB" else image.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    square = picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
