"""Which rows make candidates, which choose among them, and which judge: three sets that never mix.

Making and choosing read the calibration part, at most `MAX_SHARE` of its rows. The rest of it and the
validation part judge: no recipe ranges on them, no candidate is preferred by them. Test rows stay where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Part

MAX_SHARE = 512  # what a recipe calibrates on


@dataclass(frozen=True)
class RowSplit:
    """A dataset as a search uses it.

    Attributes
    ----------
    making
        What recipes receive: training rows, and the choosing rows in place of calibration and validation.
    choosing, judging
        Row indices, disjoint by subject.
    """

    making: Dataset
    choosing: np.ndarray
    judging: np.ndarray


def split_rows(dataset: Dataset, most: int = MAX_SHARE) -> RowSplit:
    """Divide the development rows. Subjects stay together; the choosing rows are drawn by a hash of the subject.

    Raises UserError where there are no validation rows or no calibration rows.
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
    rank = np.array([_draw(str(s)) for s in subjects], dtype=np.uint64)
    order = np.argsort(rank, kind="stable")
    # Whole subjects, up to the first that would exceed the number.
    chosen = rank <= rank[order[min(most, len(order)) - 1]]
    choosing = np.sort(calibration[chosen])
    judging = np.sort(np.concatenate([parts["validation"], calibration[~chosen]]))
    own: Mapping[Part, np.ndarray] = {
        "train": parts["train"],
        "calibration": choosing,
        "validation": choosing,
    }
    return RowSplit(replace(dataset, parts=own), choosing, judging)


def _draw(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(f"search/{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )
