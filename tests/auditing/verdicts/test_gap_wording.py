"""Sentences about the change of a gap name whom it is between and how each of them moved."""

from __future__ import annotations

import pytest

from fairpress.auditing.verdicts.gap_wording import gap_change_sentence, showable_sentence
from fairpress.core.estimate import Estimate

NAN = float("nan")


def change(value, low, high):
    return Estimate(value, low, high, 2)


def test_a_gap_that_widens_between_the_same_groups():
    assert gap_change_sentence(
        "predictive_equality_difference",
        ["men", "women"],
        {"fpr": [0.2, 0.15]},
        {"fpr": [0.216, 0.107]},
        change(0.059, 0.012, 0.106),
    ) == ("The gap in FPR between men and women widened by 5.9 points [1.2, 10.6]: men +1.6, women −4.3.")


def test_a_gap_that_narrows_has_its_bounds_in_that_direction():
    sentence = gap_change_sentence(
        "demographic_parity_difference",
        ["men", "women"],
        {"selection_rate": [0.4, 0.2]},
        {"selection_rate": [0.3, 0.2]},
        change(-0.1, -0.15, -0.04),
    )
    assert sentence == (
        "The gap in the selection rate between men and women narrowed by 10.0 points [4.0, 15.0]: "
        "men −10.0, women 0.0."
    )


def test_a_change_that_is_not_shown_is_not_called_a_change():
    sentence = gap_change_sentence(
        "accuracy_gap",
        ["x-ray", "MRI"],
        {"accuracy": [0.9, 0.8]},
        {"accuracy": [0.9, 0.79]},
        change(0.01, -0.03, 0.04),
    )
    assert sentence == (
        "No change of the gap in accuracy between x-ray and MRI is shown (+1.0 points [−3.0, 4.0]): "
        "x-ray 0.0, MRI −1.0."
    )


def test_other_extreme_groups_than_before():
    sentence = gap_change_sentence(
        "equal_opportunity_difference",
        ["a", "b", "c", "d"],
        {"tpr": [0.7, 0.6, 0.65, NAN]},
        {"tpr": [0.7, 0.62, 0.5, 0.9]},
        change(0.1, 0.02, 0.2),
    )
    assert "d" not in sentence.partition(":")[2]
    assert gap_change_sentence(
        "equal_opportunity_difference",
        ["a", "b", "c"],
        {"tpr": [0.7, 0.6, 0.65]},
        {"tpr": [0.7, 0.62, 0.5]},
        change(0.1, 0.02, 0.2),
    ) == (
        "The gap in TPR widened by 10.0 points [2.0, 20.0], from 10.0 between a and b to 20.0 between a and c: "
        "a 0.0, c −15.0, b +2.0."
    )


def test_a_gap_that_changes_sides():
    sentence = gap_change_sentence(
        "accuracy_gap",
        ["men", "women"],
        {"accuracy": [0.8, 0.78]},
        {"accuracy": [0.7, 0.8]},
        change(0.08, 0.01, 0.12),
    )
    assert "the larger rate is now that of women instead of men" in sentence


def test_equalized_odds_name_the_rate_that_counts():
    sentence = gap_change_sentence(
        "equalized_odds_difference",
        ["men", "women"],
        {"tpr": [0.8, 0.7], "fpr": [0.2, 0.15]},
        {"tpr": [0.8, 0.75], "fpr": [0.35, 0.15]},
        change(0.1, 0.05, 0.15),
    )
    assert sentence == (
        "The gap in TPR or FPR, whichever is larger, widened by 10.0 points [5.0, 15.0], "
        "from 10.0 in TPR between men and women to 20.0 in FPR between men and women: men +15.0, women 0.0."
    )


def test_average_odds_and_ratios():
    assert gap_change_sentence(
        "average_odds_difference",
        ["men", "women"],
        {"tpr": [0.8, 0.7], "fpr": [0.2, 0.1]},
        {"tpr": [0.8, 0.6], "fpr": [0.2, 0.1]},
        change(0.05, 0.01, 0.09),
    ) == (
        "The mean of the gaps in TPR and FPR widened by 5.0 points [1.0, 9.0]; "
        "now in TPR between men and women: men 0.0, women −10.0; in FPR between men and women: men 0.0, women 0.0."
    )
    assert gap_change_sentence(
        "disparate_impact",
        ["men", "women"],
        {"selection_rate": [0.4, 0.3]},
        {"selection_rate": [0.4, 0.2]},
        change(-0.25, -0.4, -0.1),
    ) == (
        "The ratio of the smallest to the largest selection rate fell by 0.250 [0.100, 0.400]: "
        "men 0.0 points, women −10.0 points."
    )


def test_nothing_is_said_of_a_change_that_is_not_estimable_and_of_sums_over_pairs():
    unknown = Estimate.not_estimable("only 1 of 2 groups has the rows this needs")
    assert (
        gap_change_sentence(
            "accuracy_gap", ["a", "b"], {"accuracy": [1, NAN]}, {"accuracy": [1, NAN]}, unknown
        )
        == ""
    )
    rates = {"tpr": [0.5, 0.6], "fpr": [0.1, 0.2]}
    with pytest.raises(ValueError, match="not that of a few groups"):
        gap_change_sentence("pairwise_bias", ["a", "b"], rates, rates, change(0.0, -0.1, 0.1))


def test_groups_with_equal_rates_are_two_groups():
    equal = {"accuracy": [0.8, 0.8]}
    assert "between b and a" in gap_change_sentence(
        "accuracy_gap", ["a", "b"], equal, equal, change(0.0, -0.1, 0.1)
    )


def test_what_rows_cannot_show_is_said_of_four_nearly_equal_groups():
    assert showable_sentence(0.204, 4) == (
        "Of 4 nearly equal groups no change of the gap below 20 points can be shown by these rows; "
        "compare the loss of each group with that of the rest instead."
    )
    assert "no change of the gap can be shown" in showable_sentence(1.2, 12)
    assert showable_sentence(0.2, 3) == showable_sentence(NAN, 8) == ""
