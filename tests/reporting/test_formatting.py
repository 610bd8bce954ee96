"""What a report says to somebody who reads nothing else."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from fairpress import audit
from fairpress.reporting.formatting import format_points
from fairpress.reporting.sentences import positive, reason_sentence, split_groups, who_pays


def table(lost: dict[str, int], gained: dict[str, int], rows: int = 4000) -> pd.DataFrame:
    """Return `rows` rows a group, half of either label; the baseline is right in all but those that are gained."""
    parts = []
    for group in lost:
        label = [i % 2 for i in range(rows)]
        before = [y if i >= gained[group] else 1 - y for i, y in enumerate(label)]
        after = [
            1 - y if gained[group] <= i < gained[group] + lost[group] else y for i, y in enumerate(label)
        ]
        parts.append(pd.DataFrame({"label": label, "fp32": before, "int8": after, "g": group}))
    return pd.concat(parts, ignore_index=True)


def test_where_groups_part_without_a_loss_of_their_own_the_one_that_falls_behind_is_named():
    # Each moves by 0.4 points against its own noise of about 0.17, the two part by twice as much.
    data = table({"a": 32, "b": 16}, {"a": 16, "b": 32})
    found = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.003)
    comparison = found.comparisons[0]
    assert (comparison.verdict, comparison.disparate) == ("inconclusive", True)
    said = who_pays(comparison, found)
    assert "The gap in accuracy between g = a and g = b turned round by 0.8 [" in said
    assert "points: g = a −0.4, g = b +0.4." in said
    assert "Largest loss: g = a, accuracy by 0.4 [" in said


def test_where_groups_move_alike_none_is_named():
    data = table({"a": 20, "b": 20}, {"a": 18, "b": 18})
    found = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.003)
    assert not found.comparisons[0].disparate
    assert "No group has a demonstrated loss, but a loss cannot be ruled out." in who_pays(
        found.comparisons[0], found
    )


def test_an_interval_that_says_more_than_the_verdict_is_explained():
    """Of 40 groups one loses 8 points of 150 rows: alone that excludes 2 points, among 123 tests it does not."""
    lost = {f"g{i}": 0 for i in range(40)} | {"g7": 12}
    data = table(lost, dict.fromkeys(lost, 0), rows=150)
    found = audit(data, baseline="fp32", compressed=["int8"], by=["g"])
    comparison = found.comparisons[0]
    group = next(g for g in comparison.attributes[0].groups if g.values["g"] == "g7")
    loss = group.losses[0]
    assert loss.estimate.low > found.margin
    assert loss.p_harm_adjusted > 0.05
    p = f"{loss.p_harm_adjusted:.3f}"
    reason = reason_sentence(loss, comparison, found)
    assert (
        reason
        == f"alone, this interval excludes 2 points; after correction for 123 comparisons it does not (p = {p})"
    )
    assert (
        f"Largest loss: g = g7, accuracy by {format_points(loss.estimate)[1:]} points; {reason}."
        in who_pays(comparison, found)
    )


def test_an_interval_that_agrees_with_its_verdict_needs_no_words():
    found = audit(table({"a": 400, "b": 0}, {"a": 0, "b": 0}), baseline="fp32", compressed=["int8"], by=["g"])
    comparison = found.comparisons[0]
    for group in comparison.attributes[0].groups:
        assert [reason_sentence(x, comparison, found) for x in group.losses] == ["", "", ""]


def test_a_gap_that_widens_says_who_moved_and_by_how_much():
    # Both groups are right in all rows before; afterwards a loses 16 of 2,000 positives and negatives each, b gains nothing.
    data = table({"a": 40, "b": 4}, {"a": 0, "b": 0})
    found = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.0105)
    comparison = found.comparisons[0]
    assert comparison.disparate
    said = split_groups(comparison, found)
    assert "between g = a and g = b widened by 0.9 [" in said
    assert said.endswith("points: g = a −1.0, g = b −0.1.")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("option", ""),
        ("table", ""),
        ("name", " It was chosen by its name; choose differently with --positive moon."),
        ("order", " as the last of two in alphabetical order; choose differently with --positive moon."),
    ],
)
def test_the_positive_class_is_printed_with_how_it_was_chosen(how, said):
    data = table({"a": 4, "b": 4}, {"a": 0, "b": 0}).replace({0: "moon", 1: "star"})
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"], positive="star")
    text = positive(replace(report, positive_from=how))
    assert "TPR = share of 'star' found" in text
    assert text.endswith(said)
