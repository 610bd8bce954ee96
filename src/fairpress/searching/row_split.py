"""Three disjoint sets of rows: to make candidates, to choose among them, and to judge them.

Making and choosing use at most `MAX_CHOOSING_ROWS` of the calibration rows. The other calibration rows and the validation
rows judge: no recipe is calibrated and no candidate is selected on them. Test rows are not touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Part

MAX_CHOOSING_ROWS = 512  # rows that a recipe calibrates on


@dataclass(frozen=True)
class RowSplit:
    """A dataset divided for a search.

    Attributes
    ----------
    recipe_data
        The dataset that recipes receive: training rows, and the choosing rows as calibration and validation parts.
    choosing, judging
        Row indices, disjoint by subject.
    """

    recipe_data: Dataset
    choosing: np.ndarray
    judging: np.ndarray


def split_rows(dataset: Dataset, max_rows: int = MAX_CHOOSING_ROWS) -> RowSplit:
    """Divide the development rows by subject; the choosing rows are selected by a hash of the subject.

    Raises UserError if there are no validation rows or no calibration rows.
    """
    parts = dataset.development().parts
    for name in ("calibration", "validation"):
        if name not in parts or not len(parts[name]):
            raise UserError(
                f"{dataset.name!r} has no {name} rows, and a search needs them: calibration rows choose between candidates, "
                "validation rows judge the constraints. Load the data with all its parts."
            )
    calibration = parts["calibration"]
    subjects = dataset.subjects[calibration]
    rank = np.array([_subject_hash(str(s)) for s in subjects], dtype=np.uint64)
    order = np.argsort(rank, kind="stable")
    # Whole subjects, until the number of rows is reached.
    chosen = rank <= rank[order[min(max_rows, len(order)) - 1]]
    choosing = np.sort(calibration[chosen])
    judging = np.sort(np.concatenate([parts["validation"], calibration[~chosen]]))
    parts_for_recipes: Mapping[Part, np.ndarray] = {
        "train": parts["train"],
        "calibration": choosing,
        "validation": choosing,
    }
    return RowSplit(replace(dataset, parts=parts_for_recipes), choosing, judging)


def _subject_hash(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(f"search/{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )
