"""One rule decides, whoever counts: a threshold on the positive class of two, else the most probable class."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.runtime.decision_rule import decide, decides_by_threshold


@pytest.mark.parametrize(
    ("probabilities", "classes", "positive", "threshold", "decided"),
    [
        ([[0.5, 0.5], [0.51, 0.49]], ("no", "yes"), "yes", 0.5, [1, 0]),
        ([[0.5, 0.5], [0.51, 0.49]], ("yes", "no"), "yes", 0.5, [0, 0]),
        ([[0.75, 0.25], [0.9, 0.1]], ("no", "yes"), "yes", 0.2, [1, 0]),
        ([[0.2, 0.8]], ("no", "yes"), "yes", 1.0, [0]),
        ([[0.5, 0.5]], ("no", "yes"), None, 0.9, [0]),
        ([[0.3, 0.3, 0.4], [0.5, 0.5, 0.0]], ("a", "b", "c"), "b", 0.2, [2, 0]),
    ],
)
def test_the_threshold_decides_between_two_classes_and_the_largest_among_more(
    probabilities, classes, positive, threshold, decided
):
    assert decide(np.array(probabilities), classes, positive, threshold).tolist() == decided


def test_a_threshold_needs_two_classes_one_of_which_is_positive():
    assert decides_by_threshold(("a", "b"), "a")
    assert not decides_by_threshold(("a", "b"), None)
    assert not decides_by_threshold(("a", "b", "c"), "a")
