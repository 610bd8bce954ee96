"""Folds of a study's datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fairpress.core.canonical_json import canonical_json
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.subset import restrict
from fairpress.studies.planning.plan import StudyTask


def load_folds(task: StudyTask) -> list[Dataset]:
    """Return the dataset of each network of the task, in order; a fold is read once per process."""
    return [load_fold(task.params["dataset"], fold) for _, fold in task.networks]


def load_fold(data: Mapping[str, Any], fold: int) -> Dataset:
    """Return a dataset with one of its folds as the test part (the dataset's own split if there is one fold).

    `data` has ``name``, ``options``, ``folds`` and optionally ``group``, to which the rows are restricted.
    """
    dataset = _fold(data["name"], canonical_json(data["options"]), data["folds"], fold)
    return restrict(dataset, data["group"]) if data.get("group") else dataset


@lru_cache(maxsize=16)
def _fold(name: str, options: str, folds: int, fold: int) -> Dataset:
    from fairpress import datasets

    split: dict[str, Any] = {"folds": folds, "fold": fold} if folds > 1 else {}
    return datasets.load(name, **json.loads(options), **split)
