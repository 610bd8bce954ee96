"""People on both sides of a split: how many test rows are about somebody a network has seen already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fairpress.datasets.dataset import Part


def rows_seen_before(subjects: np.ndarray, parts: Mapping[Part, np.ndarray]) -> np.ndarray:
    """Return for each test row whether its subject has rows in another part too, bool [test rows]."""
    test = parts["test"]
    others = [subjects[rows] for part, rows in parts.items() if part != "test"]
    known: np.ndarray = np.isin(subjects[test], np.concatenate(others))
    return known


def shared_subjects(subjects: np.ndarray, parts: Mapping[Part, np.ndarray]) -> tuple[str, ...]:
    """Return the sentence that must stand above results on such a split; nothing where nobody is on both sides."""
    seen = rows_seen_before(subjects, parts)
    if not seen.any():
        return ()
    people = len(np.unique(subjects[parts["test"]][seen]))
    return (
        f"LEAK: the split is by row, not by person. {seen.mean():.1%} of the test rows are about {people:,} people who "
        "have rows in training, calibration or validation too: a network is rewarded for recognising them. Accuracy here "
        "says nothing of people it has not seen.",
    )
