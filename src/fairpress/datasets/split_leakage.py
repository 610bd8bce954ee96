"""People on both sides of a split: the test rows about people whom a network has seen in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fairpress.datasets.dataset import Part


def repeated_subject_rows(subjects: np.ndarray, parts: Mapping[Part, np.ndarray]) -> np.ndarray:
    """Return for each test row whether its subject has rows in another part too, bool [test rows]."""
    test = parts["test"]
    others = [subjects[rows] for part, rows in parts.items() if part != "test"]
    repeated: np.ndarray = np.isin(subjects[test], np.concatenate(others))
    return repeated


def shared_subjects(subjects: np.ndarray, parts: Mapping[Part, np.ndarray]) -> tuple[str, ...]:
    """Return the warning to show above results on such a split; nothing if no subject is on both sides."""
    repeated = repeated_subject_rows(subjects, parts)
    if not repeated.any():
        return ()
    people = len(np.unique(subjects[parts["test"]][repeated]))
    return (
        f"LEAK: the split is by row, not by person. {repeated.mean():.1%} of the test rows are about {people:,} people who "
        "have rows in training, calibration or validation too: a network is rewarded for recognizing them. Accuracy here "
        "does not carry over to people it has not seen.",
    )
