"""What a report says to somebody who reads nothing else."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from fairpress import audit
from fairpress.auditing.result import RowsToDecide
from fairpress.reporting.formatting import (
    at_most,
    format_points,
    group_verdict,
    rows_to_decide,
    tone,
    verdict,
)
from fairpress.reporting.group_rows import group_rows, worst_row
from fairpress.reporting.sentences import (
    count_tested,
    headline,
    moves,
    next_step,
    positive,
    reason_sentence,
    split_groups,
    who_pays,
    worst_reason,
)


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


def test_where_groups_move_apart_without_a_loss_above_the_margin_both_movements_are_named():
    # Each moves by 0.4 points against its own noise of about 0.17, the two part by twice as much.
    data = table({"a": 32, "b": 16}, {"a": 16, "b": 32})
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.005)
    comparison = report.comparisons[0]
    assert comparison.disparate
    sentence = split_groups(comparison, report)
    assert "The gap in error rate between g = a and g = b was reversed, a change of 0.8 [" in sentence
    assert sentence.endswith("points: g = a +0.4, g = b −0.4.")
    assert sentence in who_pays(comparison, report)


def test_where_groups_move_alike_none_is_named():
    data = table({"a": 26, "b": 26}, {"a": 14, "b": 14})
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.005)
    assert not report.comparisons[0].disparate
    assert moves(report.comparisons[0], report) == ()
    assert "No group has a demonstrated loss, but a loss above the margin cannot be ruled out." in who_pays(
        report.comparisons[0], report
    )


def test_an_interval_that_excludes_the_margin_without_a_verdict_of_harm_is_explained():
    """Of 40 groups one loses 6 points of 400 rows: alone that excludes 2 points, among 123 tests it does not."""
    lost = {f"g{i}": 0 for i in range(40)} | {"g7": 17}
    data = table(lost, dict.fromkeys(lost, 0), rows=400)
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"])
    comparison = report.comparisons[0]
    group = next(g for g in comparison.attributes[0].groups if g.values["g"] == "g7")
    loss = group.losses[0]
    assert loss.estimate.low > report.margin
    assert loss.p_harm_adjusted > 0.05
    tested = count_tested(comparison, report)
    pools = comparison.attributes[0].pools
    assert tested == 41 * 3 + len(pools)
    assert {p.loss.metric for p in pools} == {"tpr", "fpr"}
    reason = reason_sentence(loss, comparison, report)
    assert reason == (
        f"alone, the interval excludes 2 points; corrected for {tested} tests it does not (p = {loss.p_harm_adjusted:.3f})"
    )
    assert worst_reason(comparison, report) == f"g = g7, error rate {format_points(loss.estimate)}: {reason}."


def test_an_interval_that_agrees_with_its_verdict_needs_no_words():
    report = audit(
        table({"a": 400, "b": 0}, {"a": 0, "b": 0}), baseline="fp32", compressed=["int8"], by=["g"]
    )
    comparison = report.comparisons[0]
    for group in comparison.attributes[0].groups:
        assert [reason_sentence(x, comparison, report) for x in group.losses] == ["", "", ""]
    assert worst_reason(comparison, report) == ""


def test_a_gap_that_widens_says_who_moved_and_by_how_much():
    # Both groups are right in all rows before; afterwards a loses 16 of 2,000 positives and negatives each, b gains nothing.
    data = table({"a": 40, "b": 4}, {"a": 0, "b": 0})
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.0105)
    comparison = report.comparisons[0]
    assert comparison.disparate
    sentence = split_groups(comparison, report)
    assert "between g = a and g = b widened by 0.9 [" in sentence
    assert sentence.endswith("points: g = a +1.0, g = b +0.1.")


def test_recorded_moves_are_repeated_word_by_word():
    data = table({"a": 40, "b": 4}, {"a": 0, "b": 0})
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"])
    comparison = report.comparisons[0]
    moved = replace(comparison, attributes=(replace(comparison.attributes[0], moves=("The gap widened.",)),))
    assert moves(moved, report) == ("The gap widened.",)


def small_groups(rows: int = 60, n: int = 4) -> pd.DataFrame:
    """Return a table with two groups of 4,000 and `n` groups of `rows` rows, in which no prediction changes."""
    large = table({"a": 0, "b": 0}, {"a": 0, "b": 0})
    names = [f"s{i}" for i in range(n)]
    small = table(dict.fromkeys(names, 0), dict.fromkeys(names, 0), rows=rows) if n else large.iloc[:0]
    return pd.concat([large, small], ignore_index=True)


def test_unassessed_groups_are_in_the_sentence_of_the_bound_and_nobody_is_said_to_be_spared():
    report = audit(small_groups(n=1), baseline="fp32", compressed=["int8"], by=["g"])
    comparison = report.comparisons[0]
    assert comparison.verdict == "no_harm"
    first, *_ = headline(comparison, report)
    assert first.startswith(
        "With 95 % confidence, the error rate of no assessed group rises by more than 0.1 "
    )
    assert first.endswith("not assessed, too few people: g = s0 (60).")
    assert verdict(comparison) == "? no harm in error rate in 2 of 3 groups; 1 not assessed"
    assert tone(comparison) == "inconclusive"
    assert who_pays(comparison, report) == "None of the assessed groups; not known for the others."
    assert "do not report this model as harmless for them" in next_step(comparison, report)


def test_groups_judged_only_together_are_named_with_a_green_verdict():
    report = audit(small_groups(rows=100), baseline="fp32", compressed=["int8"], by=["g"])
    comparison = report.comparisons[0]
    assert tone(comparison) == "no_harm"
    assert verdict(comparison) == "✔ no harm in error rate (4 small groups judged together)"
    assert "Judged only together, too few people alone: g: s0, s1, s2, s3 (400 people)." in headline(
        comparison, report
    )
    rows = {r.title: r for r in group_rows(comparison)}
    assert list(rows)[-4:] == ["g = s0", "g = s1", "g = s2", "g = s3"]
    pool = rows["g: 4 small groups together"]
    assert (pool.n, pool.verdict, pool.lose) == (400, "no_harm", 0.0)
    assert group_verdict(rows["g = s0"]) == "– pooled"
    assert "are not cleared one by one" in next_step(comparison, report)


def test_a_pool_of_everybody_is_no_verdict_by_group():
    names = [f"s{i}" for i in range(10)]
    data = table(dict.fromkeys(names, 0), dict.fromkeys(names, 0), rows=200)
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"])
    comparison = report.comparisons[0]
    assert comparison.verdict == "no_harm"
    assert verdict(comparison).startswith("? no harm")
    assert tone(comparison) == "inconclusive"
    assert "No group" not in who_pays(comparison, report)
    assert "no group of g was assessed alone" in next_step(comparison, report)


def test_the_row_of_a_group_has_the_metric_that_decides_its_bound_and_its_interval():
    # a loses 8 points of its positives and gains as many correct negatives: the error rate stays as it was.
    data = table({"a": 0, "b": 0}, {"a": 0, "b": 0})
    a = data.g == "a"
    rank = data.groupby(["g", "label"]).cumcount()
    data.loc[a & (data.label == 1) & (rank < 160), "int8"] = 0
    data.loc[a & (data.label == 0) & (rank < 160), "fp32"] = 1
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"])
    comparison = report.comparisons[0]
    group = comparison.attributes[0].groups[0]
    assert [x.verdict for x in group.losses] == ["no_harm", "harm", "no_harm"]
    worst = worst_row(comparison)
    assert (worst.error, worst.loss) == ("false negative rate", group.losses[1])
    assert verdict(comparison) == "✖ harm in false negative rate: g = a"
    text = who_pays(comparison, report)
    assert text.startswith("g = a: false negative rate up by 8.0 [")
    assert f"at most {at_most(group.losses[1])}" in text
    assert next_step(comparison, report).startswith("Do not ship")


def test_what_more_rows_would_do_is_said_with_its_chance():
    data = table({"a": 30, "b": 0}, {"a": 0, "b": 0}, rows=1000)
    report = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.035)
    comparison = report.comparisons[0]
    assert next_step(comparison, report).startswith(
        "Do not report this model as harmless. 1 of 2 groups is open (g = a"
    )
    attribute = comparison.attributes[0]
    group = attribute.groups[0]
    decide = RowsToDecide(1500, 0.8, 0.56, 0.24, 100_000)
    losses = (replace(group.losses[0], rows_to_decide=decide), *group.losses[1:])
    groups = (replace(group, losses=losses), *attribute.groups[1:])
    changed = replace(comparison, attributes=(replace(attribute, groups=groups),))
    assert next_step(changed, report).endswith(
        "1,500 more of its rows would settle it with a chance of 80 % (56 % no harm, 24 % some loss or harm)."
    )
    assert rows_to_decide(decide) == "1,500 (80 %)"
    assert rows_to_decide(replace(decide, more=None, decided=0.3)) == "> 100,000 (30 %)"


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
    assert "False negative rate (FNR): the share of 'star' that is missed" in text
    assert text.endswith(said)
