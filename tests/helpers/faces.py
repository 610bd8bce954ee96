"""Made-up pictures with names as UTKFace has them; the colour tells the sex, so that a network can learn it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    """Return pixels [height, width, 3] as a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def make_faces(folder: Path, count: int = 120, side: int = 32) -> list[str]:
    """Write pictures of all ages, sexes and races in turn and return their names: men bluish, women reddish."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = []
    for i in range(count):
        age, sex, race = (7 * i) % 90 + 1, i % 2, (i // 2) % 5
        pixels = rng.integers(0, 120, (side, side, 3))
        pixels[:, :, 0 if sex else 2] += 100
        names.append(f"{age}_{sex}_{race}_{20170100000000000 + i}.jpg.chip.jpg")
        (folder / names[-1]).write_bytes(jpeg(pixels.astype(np.uint8)))
    return sorted(names)
