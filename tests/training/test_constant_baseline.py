"""When a compressed file is no better than a constant prediction."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.training.constant_baseline import collapse_warnings, constant_symptom

CLASSES = ("no", "yes")
TRAIN = np.array([0] * 6 + [1] * 4)
LABELS = np.array([0] * 12 + [1] * 8)


def warned(predicted, *, labels=LABELS, weights=None, baseline=None, trained=False, baseline_warned=False):
    symptom = constant_symptom(np.asarray(predicted), labels, CLASSES, TRAIN, weights, baseline)
    return collapse_warnings(symptom, trained=trained, baseline_warned=baseline_warned)


def right_in(no: int, yes: int) -> np.ndarray:
    """Return predictions that are right for so many rows of either class."""
    return np.array([0] * no + [1] * (12 - no) + [1] * yes + [0] * (8 - yes))


def test_a_file_that_beats_the_base_rate_by_one_row_is_not_warned_of():
    assert warned(right_in(11, 2)) == []  # 13 of 20 against 12


def test_as_many_right_as_the_constant_answer_is_warned_of():
    (sentence,) = warned(right_in(11, 1))
    assert "accuracy on validation rows of 0.600" in sentence
    assert "always answering 'no' has 0.600" in sentence
    assert "more bits" in sentence
    assert "seed" not in sentence
    assert "another seed" in warned(right_in(11, 1), trained=True)[0]


def test_less_than_a_tenth_of_the_gain_of_the_baseline_is_warned_of():
    labels = np.repeat(LABELS, 50)  # 600 'no' of 1,000
    predicted = np.repeat(right_in(12, 0), 50)
    predicted[-40:] = 1 - predicted[-40:]  # 640 right; of a baseline that gains 0.4 a tenth
    assert warned(predicted, labels=labels, baseline=0.999) == []
    predicted[-40] = 1 - predicted[-40]
    (sentence,) = warned(predicted, labels=labels, baseline=0.999)
    assert "of 0.639, and always answering 'no' has 0.600, its baseline 0.999" in sentence
    assert warned(predicted, labels=labels) == []


@pytest.mark.parametrize("answer", [0, 1])
def test_one_class_for_all_rows_is_warned_of(answer):
    (sentence,) = warned([answer] * 20)
    assert f"answers {CLASSES[answer]!r} for all 20 validation rows" in sentence


def test_one_class_is_warned_of_where_training_rows_have_another_commonest_class():
    assert warned([1] * 20, labels=1 - LABELS)  # right on 12 of 20, and always 'no' on 8


def test_class_weights_count():
    predicted = right_in(4, 7)  # 11 of 20 right, less than 12; weighted 4 + 14 of 28 against 16
    assert warned(predicted)
    assert warned(predicted, weights=np.array([1.0, 2.0])) == []
    (sentence,) = warned([1] * 20, weights=np.array([1.0, 2.0]))
    assert "'yes' for all" in sentence


def test_a_baseline_that_had_learned_nothing_is_what_is_at_fault():
    (sentence,) = warned([0] * 20, baseline_warned=True)
    assert "nor did its baseline" in sentence
    assert "better baseline" in sentence


def test_labels_of_one_class_tell_nothing():
    assert warned([0] * 20, labels=np.zeros(20, int)) == []
