"""One image file's bytes to the square of pixels that a network reads."""

from __future__ import annotations

import io

import numpy as np

# Part of every cache key: a change of what `decode` does must change it.
PREPARATION = "centre square, resized bilinearly with antialiasing"
VERSION = 1


class Unreadable(Exception):
    """These bytes are no whole image; the message is the reason, half a sentence."""


def identity() -> list[str]:
    """Name what pixels depend on beside the file: this code, Pillow and its JPEG library."""
    from PIL import __version__, features

    return [f"decode {VERSION}", f"pillow {__version__}", f"jpeg {features.version('jpg')}"]


def decode(data: bytes, size: int) -> np.ndarray:
    """Return the image's centre square at `size` × `size` pixels, uint8 [3, size, size].

    Turned upright as its EXIF data say, transparent parts on white, the first picture of several. Raises
    Unreadable where the bytes are no image, a truncated one, or one of more than 8 bits a colour.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            # A JPEG can be decoded at ½, ¼ or ⅛ of its side for a part of the time. Twice the wanted side is kept,
            # so that the last resizing averages what decoding coarsened.
            image.draft(None, (2 * size, 2 * size))
            if image.mode[0] in "IF":
                raise Unreadable("more than 8 bits a colour")
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                layered = upright.convert("RGBA")
                upright = Image.new("RGBA", layered.size, "white")
                upright.alpha_composite(layered)
            picture = upright.convert("RGB")
    except UnidentifiedImageError:
        raise Unreadable("no image of a known format" if data else "empty") from None
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        said = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable("truncated" if "truncated" in said.lower() else said[:100]) from None
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    square = picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
