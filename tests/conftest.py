"""Fixtures for the whole tree."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path

# Tests run in one process per core: threads of several would wait for each other. Set before anything reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from fairpress.datasets.dataset import Dataset, Task
from operator_table import share_operator_table

# Files that take minutes, and are one process's from their beginning to their end.
LONG = (
    *("test_readme.py", "test_docs.py", "test_tutorials.py", "test_executor.py", "test_search.py"),
    "test_architectures.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes longest first, so that no process is left alone with it."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Take what all test files imported out of garbage collection: it stays, and each collection would look through it."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup() -> None:
    share_operator_table()


@pytest.fixture
def data_folder() -> Path:
    """The folder with real data; tests that need it are skipped where it is not set."""
    folder = os.environ.get("FAIRPRESS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FAIRPRESS_DATA is not set to a folder with the real data")
    return Path(folder)


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


@pytest.fixture(scope="session")
def small() -> Dataset:
    return make_dataset()
