"""The bounds of the headline and the gates agree with the verdicts, whatever is assessed alone, together or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fairpress as fp


def table(groups):
    """Return predictions of groups of `rows`, of which `lost` lose a right answer and `gained` gain one."""
    parts = []
    for name, (rows, lost, gained) in groups.items():
        label = np.arange(rows) % 2
        old, new = label.copy(), label.copy()
        old[-rows // 8 :] = new[-rows // 8 :] = 1 - label[-rows // 8 :]
        new[:lost] = 1 - label[:lost]
        new[rows - gained :] = label[rows - gained :]
        parts.append(pd.DataFrame({"g": name, "label": label, "old": old, "new": new}))
    return pd.concat(parts, ignore_index=True)


def audited(rows, **options):
    return fp.audit(rows, baseline="old", compressed=["new"], by=["g"], **options)


def test_a_small_group_whose_harm_is_shown_counts_in_what_is_ruled_out():
    report = audited(table({"large": (4000, 10, 10), "small": (90, 14, 0)}))
    (comparison,) = report.comparisons
    bound = comparison.bounds[0]
    assert comparison.verdict == "harm"
    assert bound.upper_group == bound.lower_group == bound.largest_group == {"g": "small"}
    assert 0 < bound.lower < bound.largest.value < bound.upper
    assert bound.upper > bound.margin.value
    assert "the largest estimate is" in comparison.headline


@pytest.mark.parametrize("seed", range(6))
def test_what_is_shown_is_shown_by_the_verdicts_too(seed):
    """Two seeds of training: bounds of each metric alone would show what is not shown among all metrics."""
    rng = np.random.default_rng(seed)
    start = table({"large": (700, 7, 7), "middle": (600, 6, 6)}).assign(row_id=range(1300))
    runs = [
        start.assign(seed=s, new=np.where(rng.random(1300) < 0.06, 1 - start.old, start.old))
        for s in range(2)
    ]
    (comparison,) = audited(pd.concat(runs), seed_column="seed").comparisons
    groups = [comparison.overall, *comparison.attributes[0].groups]
    for i, bound in enumerate(comparison.bounds):
        shown = [dict(g.values) for g in groups if (g.losses[i].estimate.p_adjusted or 1.0) < 0.05]
        assert bound.lower is None or dict(bound.lower_group) in shown


def test_the_bound_that_is_shown_is_that_of_the_group_named():
    """A small group with a large loss and a large one with a small loss: whichever bound is larger."""
    report = audited(table({"large": (40_000, 1000, 200), "small": (600, 40, 20)}))
    (comparison,) = report.comparisons
    bound = comparison.bounds[0]
    groups = [comparison.overall, *comparison.attributes[0].groups]
    group = next(g for g in groups if dict(g.values) == dict(bound.lower_group))
    assert bound.lower <= group.losses[0].estimate.value


def test_a_gate_fails_on_a_pool_that_no_member_fails():
    report = audited(table({"large": (1500, 9, 9), "b": (150, 4, 2), "c": (140, 4, 2), "d": (130, 4, 2)}))
    (comparison,) = report.comparisons
    pool = next(p for p in comparison.attributes[0].pools if p.loss.metric == "accuracy")
    assert comparison.verdict == pool.loss.verdict == "inconclusive"
    assert {g.verdict for g in comparison.attributes[0].groups} == {"no_harm", "not_estimable"}
    (reason,) = report.failures("inconclusive")
    assert "the 3 small groups of g together" in reason
    assert report.failures("harm,loss") == []


def test_a_gate_fails_on_harm_of_a_pool():
    report = audited(table({"large": (4000, 10, 10), **{f"g{i}": (25, 2, 0) for i in range(20)}}))
    assert "the 20 small groups of g together" in report.failures("harm")[0]


@pytest.mark.parametrize("lost", [32, 60])
def test_no_loss_above_the_margin_is_stated_where_the_verdict_leaves_it_open(lost):
    """32 of 1,000: the bound of one error alone is 2.2 points, but corrected for three errors no harm is shown."""
    label = np.tile(np.repeat([0, 1], 500), 2)
    compressed = label.copy()
    flipped = [*range(lost // 2), *range(500, 500 + lost // 2)]
    compressed[flipped] = 1 - compressed[flipped]
    frame = {"g": np.repeat(["a", "b"], 1000), "label": label, "fp32": label, "int8": compressed}
    comparison = fp.audit(frame, baseline="fp32", compressed=["int8"], by="g", positive=1).comparisons[0]
    bound = comparison.bounds[0]
    assert dict(bound.lower_group) == {"g": "a"}
    if lost == 32:
        assert comparison.verdict == "loss"
        assert bound.lower == 0.02
    else:
        assert comparison.verdict == "harm"
        assert bound.lower > 0.04
