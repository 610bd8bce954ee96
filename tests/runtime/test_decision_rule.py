"""One rule decides, whoever counts: a threshold on the positive class of two, else the most probable class."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.runtime.decision_rule import (
    decide,
    decides_by_threshold,
    label_probabilities,
    labels_present,
    ties,
)


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


@pytest.mark.parametrize(
    ("probabilities", "positive", "threshold", "count"),
    [
        ([[0.5, 0.5], [0.49, 0.51]], "b", 0.5, 1),
        ([[0.5, 0.5], [0.8, 0.2]], "b", 0.2, 1),
        ([[0.5, 0.5], [0.8, 0.2]], None, 0.5, 1),
    ],
)
def test_rows_that_the_rule_for_ties_decides_are_counted(probabilities, positive, threshold, count):
    assert ties(np.array(probabilities), ("a", "b"), positive, threshold) == count


def test_ties_of_three_classes_are_those_of_the_largest():
    probabilities = np.array([[0.4, 0.4, 0.2], [0.2, 0.2, 0.6]])
    assert ties(probabilities, ("a", "b", "c"), "a") == 1


def test_a_label_is_present_from_its_threshold_on():
    logits = np.array([[0.0, 0.0], [-1000.0, 1000.0]])
    np.testing.assert_array_equal(label_probabilities(logits), [[0.5, 0.5], [0.0, 1.0]])
    assert labels_present(label_probabilities(logits), [0.5, 0.6]).tolist() == [[True, False], [False, True]]
