"""Small datasets whose classes can be told apart, made by a seed."""

from dataclasses import replace

import numpy as np

from fairpress.datasets.dataset import Dataset, Task


def make_dataset(rows: int = 600, seed: int = 0, fold: int = 0) -> Dataset:
    """A separable two-class table with four parts; `fold` moves the parts, not the rows."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 4)).astype(np.float32)
    labels = (inputs[:, 0] + inputs[:, 1] + 0.3 * rng.normal(size=rows) > 0).astype(np.int64)
    order = np.roll(np.random.default_rng(1).permutation(rows), fold * rows // 5)
    cuts = np.split(order, [rows // 2, rows // 2 + rows // 10, rows // 2 + rows // 5])
    parts = dict(zip(("train", "calibration", "validation", "test"), cuts, strict=True))
    ids = np.array([f"p{i}" for i in range(rows)])
    sex = np.where(rng.random(rows) < 0.5, "Female", "Male")
    return Dataset(
        "made",
        Task("y", ("no", "yes"), "yes"),
        inputs,
        ("a", "b", "c", "d"),
        labels,
        {"sex": sex},
        ids,
        ids,
        parts,
        f"made-{seed}-{fold}",
    )


def make_pictures(side: int, rows: int = 600) -> Dataset:
    """The same parts of square pictures of noise; those of the second class are reddish."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, rows)
    pixels = rng.integers(0, 150, (rows, 3, side, side))
    pixels[:, 0] += 60 * labels[:, None, None]
    return replace(make_dataset(rows), inputs=pixels.astype(np.uint8), labels=labels, input_names=())
