"""Who is assessed: labels and groups decide, before any prediction is looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import audit
from fairpress.auditing.verdicts.eligibility import eligible, min_rows_for

PAIR = {"baseline": "old", "compressed": ["new"]}
SIZES = {"large": 1000, "s": 200, "m": 150, "l": 300}


def table(sizes, flips=0.02, seed=0, positive=0.5):
    rng = np.random.default_rng(seed)
    g = np.repeat(list(sizes), list(sizes.values()))
    n = len(g)
    label = (np.arange(n) % 100 < 100 * positive).astype(int)
    old = np.where(rng.random(n) < 0.1, 1 - label, label)
    new = np.where(rng.random(n) < flips, 1 - old, old)
    return pd.DataFrame({"label": label, "old": old, "new": new, "g": g})


def compared(frame, **options):
    return audit(frame, by=["g"], **PAIR, **options).comparisons[0]


def selection(comparison):
    """Return which groups are assessed in which metric, and the members of each pool."""
    (attribute,) = comparison.attributes
    return (
        {(g.values["g"], x.metric): x.assessed for g in attribute.groups for x in g.losses},
        {p.loss.metric: [m["g"] for m in p.members] for p in attribute.pools},
    )


def test_no_prediction_decides_who_is_assessed():
    frame = table(SIZES)
    rng = np.random.default_rng(1)
    permuted = frame.assign(old=rng.permutation(frame.old), new=rng.permutation(frame.new))
    first, second = compared(frame), compared(permuted)
    assert selection(first) == selection(second)
    assert first.verdict != second.verdict  # the predictions did change something


def test_366_rows_of_the_metrics_own_denominator_are_needed_at_two_points():
    assert min_rows_for(0.02, 0.95) == 366
    groups = {"a": 365, "b": 366, "c": 740}
    assessed, _ = selection(compared(table(groups)))
    assert {g: assessed[g, "accuracy"] for g in groups} == {"a": False, "b": True, "c": True}
    assert {g: assessed[g, "tpr"] for g in groups} == {"a": False, "b": False, "c": True}  # 370 positives


def test_a_smaller_margin_needs_more_rows():
    assessed, _ = selection(compared(table({"a": 500, "b": 1500}), margin=0.01))
    assert {g: assessed[g, "accuracy"] for g in "ab"} == {"a": False, "b": True}


def test_small_groups_are_judged_together_and_named():
    comparison = compared(table(SIZES))
    _, pools = selection(comparison)
    assert pools["accuracy"] == ["l", "m", "s"]
    assert "Judged only together, too few people alone: g: l, m, s (650 people)." in comparison.headline
    assert "not assessed" not in comparison.headline


@pytest.mark.parametrize(
    ("sizes", "pool"),
    [
        ([4000, 365], ()),  # one group is no pool
        ([4000, 183, 183], (1, 2)),
        ([4000, 182, 183], ()),  # together too few
        ([4000, 366, 0, 365, 1], (3, 4)),  # a group without positives has no TPR, and is in no pool of it
    ],
)
def test_two_small_groups_with_enough_rows_together_form_a_pool(sizes, pool):
    assert eligible(np.array(sizes, float), 366).pool == pool


def test_a_single_small_group_is_named_as_not_assessed():
    comparison = compared(table({"large": 1000, "other": 1000, "few": 300}, flips=0.0))
    assert not comparison.attributes[0].pools
    assert "not assessed, too few people: g = few (300)" in comparison.headline
    assert "Judged only together" not in comparison.headline


def test_a_pool_is_judged_by_its_rows_as_one_group_would_be():
    frame = table(SIZES)
    (pool,) = (p for p in compared(frame).attributes[0].pools if p.loss.metric == "accuracy")
    merged = compared(frame.assign(g=frame.g.where(frame.g == "large", "small")))
    small = next(g for g in merged.attributes[0].groups if g.values["g"] == "small").losses[0]
    assert pool.loss.estimate.n == small.estimate.n == 650
    assert (pool.loss.estimate.value, pool.loss.upper) == (small.estimate.value, small.upper)
    assert (pool.loss.estimate.low, pool.loss.estimate.high) == (small.estimate.low, small.estimate.high)


def test_a_member_of_a_pool_has_no_verdict_of_no_harm_alone():
    groups = compared(table(SIZES, flips=0.0)).attributes[0].groups
    assert {g.values["g"]: g.verdict for g in groups} == {
        "large": "no_harm",
        "l": "not_estimable",
        "m": "not_estimable",
        "s": "not_estimable",
    }


def test_weighted_rows_count_as_fewer():
    """Weights 1 and 9 in turn: (Σw)²/Σw² = 0.61 of the rows (Kish), so that 500 rows count as 305."""
    frame = table({"a": 500, "b": 2000})
    assert selection(compared(frame))[0]["a", "accuracy"]
    weighted = frame.assign(w=np.where(np.arange(2500) % 2, 9.0, 1.0))
    assert not selection(compared(weighted, weight="w"))[0]["a", "accuracy"]
    assert selection(compared(weighted, weight="w"))[0]["b", "accuracy"]


def test_people_count_not_their_rows():
    frame = table({"a": 500, "b": 2000})
    two_rows = frame.assign(person=np.arange(2500) // 2)
    assessed, _ = selection(compared(two_rows, subject="person"))
    assert {g: assessed[g, "accuracy"] for g in "ab"} == {"a": False, "b": True}


def test_seeds_do_not_multiply_rows():
    frames = [table({"a": 300, "b": 1000}, seed=s).assign(seed=s, row_id=np.arange(1300)) for s in range(3)]
    assessed, _ = selection(compared(pd.concat(frames), seed_column="seed"))
    assert {g: assessed[g, "accuracy"] for g in "ab"} == {"a": False, "b": True}
