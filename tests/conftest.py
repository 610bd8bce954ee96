"""Fixtures for the whole tree."""

from __future__ import annotations

import gc
import os
from pathlib import Path

# Tests run in one process per core: threads of several would wait for each other. Set before anything reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from fairpress.auditing.cells.relation import Relation
from fairpress.datasets.dataset import Dataset
from made_dataset import make_dataset

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


@pytest.fixture
def data_folder() -> Path:
    """The folder with real data; tests that need it are skipped where it is not set."""
    folder = os.environ.get("FAIRPRESS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FAIRPRESS_DATA is not set to a folder with the real data")
    return Path(folder)


@pytest.fixture(scope="session")
def small() -> Dataset:
    return make_dataset()


@pytest.fixture
def file_queries(monkeypatch):
    """The queries that read a CSV file, in order, as DuckDB gets them."""
    found: list[str] = []
    execute = Relation._execute

    def remembered(self, query, fetch):
        if "read_csv" in (narrowed := self._narrowed(query)):
            found.append(narrowed)
        return execute(self, query, fetch)

    monkeypatch.setattr(Relation, "_execute", remembered)
    return found
