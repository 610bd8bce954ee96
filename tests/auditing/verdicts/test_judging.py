"""What decides: one metric, whose bound is the verdict; the others can only make it worse. Exact tests, or Holm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fairpress import audit
from fairpress.auditing.statistics.harm import harm_p_value
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.errors import UserError

PAIR = {"baseline": "old", "compressed": ["new"]}


def flipped(n, positives=(0, 0), negatives=(0, 0), **attributes):
    """Return n rows, half of them positive; of each label so many (lost, gained)."""
    label = np.arange(n) % 2
    rank = np.arange(n) // 2  # within its label
    lost = np.where(label == 1, positives[0], negatives[0])
    gained = np.where(label == 1, positives[1], negatives[1])
    # Of ten rows one is wrong under the baseline, in the order of the ranks; the first of each kind flip.
    wrong = rank % 10 == 9
    within = np.where(wrong, rank // 10, rank - rank // 10)
    old = np.where(wrong, 1 - label, label)
    new = np.where(within < np.where(wrong, gained, lost), 1 - old, old)
    return pd.DataFrame({"label": label, "old": old, "new": new, **attributes})


def compared(*tables, by=("g",), **options):
    return audit(pd.concat(tables), by=list(by), **PAIR, **options).comparisons[0]


def all_groups(comparison):
    return [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]


def all_losses(comparison):
    """Return every loss of a comparison, those of pools included."""
    pools = [p.loss for a in comparison.attributes for p in a.pools]
    return [x for g in all_groups(comparison) for x in g.losses] + pools


def random_tables(count, seed=0):
    """Yield tables of a few groups of any size, which lose different amounts."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        sizes = np.exp(rng.uniform(np.log(60), np.log(6000), rng.integers(2, 6))).astype(int)
        g = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
        label = (rng.random(len(g)) < 0.4).astype(int)
        old = np.where(rng.random(len(g)) < 0.15, 1 - label, label)
        lost = np.repeat(rng.choice([0.0, 0.005, 0.02, 0.06], len(sizes), p=[0.6, 0.2, 0.1, 0.1]), sizes)
        flip = rng.random(len(g)) < rng.choice([0.002, 0.01, 0.03])
        flip |= (old == label) & (rng.random(len(g)) < lost)
        yield pd.DataFrame({"label": label, "old": old, "new": np.where(flip, 1 - old, old), "g": g})


def test_a_trade_of_one_error_for_the_other_at_equal_accuracy_is_not_harmless():
    """A hundred positives are missed and a hundred negatives are no longer called: the error rate is as before."""
    trade = flipped(4000, positives=(100, 0), negatives=(0, 100), g="a")
    comparison = compared(trade, flipped(4000, g="b"))
    traded = comparison.attributes[0].groups[0]
    assert [(x.metric, x.verdict) for x in traded.losses] == [
        ("accuracy", "no_harm"),
        ("tpr", "harm"),
        ("fpr", "no_harm"),
    ]
    assert traded.losses[0].estimate.value == 0
    assert comparison.bounds[0].upper < 0.02
    assert traded.verdict == comparison.attributes[0].verdict == comparison.verdict == "harm"
    assert compared(trade, flipped(4000, g="b"), metrics=["accuracy"]).verdict == "no_harm"


def test_a_loss_of_another_metric_counts_if_it_is_shown_and_its_estimate_is_above_the_margin():
    def verdicts(lost):
        trade = flipped(4000, positives=(lost, 0), negatives=(0, lost), g="a")
        group = compared(trade, flipped(4000, g="b")).attributes[0].groups[0]
        return group.losses[1].verdict, group.losses[1].estimate.value, group.verdict

    assert verdicts(45) == ("loss", 0.0225, "loss")  # above 2 points, but not shown to be
    assert verdicts(36) == ("loss", 0.018, "no_harm")  # a shown loss that is below the margin
    assert verdicts(10) == ("no_harm", 0.005, "no_harm")


def test_a_metric_that_does_not_decide_may_stay_open():
    """400 rows rule out 2 points of accuracy; their 200 positives cannot do so for the TPR."""
    comparison = compared(flipped(400, g="a"), flipped(400, g="b"))
    assert [b.metric for b in comparison.bounds] == ["accuracy", "tpr", "fpr"]
    assert {x.verdict for g in comparison.attributes[0].groups for x in g.losses[1:]} == {"not_estimable"}
    assert comparison.verdict == "no_harm"
    assert "Other errors: false negative rate" in comparison.headline


def test_the_declared_error_decides():
    """600 positives that flip both ways leave the TPR open where the accuracy of 1,200 rows is clear."""
    tables = [flipped(1200, positives=(30, 30), g=g) for g in "ab"]
    by_error, by_fnr = compared(*tables), compared(*tables, harm="fnr")
    assert (by_error.verdict, by_fnr.verdict) == ("no_harm", "inconclusive")
    assert [b.metric for b in by_fnr.bounds] == ["tpr", "accuracy", "fpr"]
    assert [x.metric for x in by_fnr.overall.losses] == ["tpr", "accuracy", "fpr"]
    assert "the false negative rate of no assessed group rises by more than" in by_fnr.headline


def test_no_harm_is_said_exactly_when_x_is_below_the_margin_and_nothing_is_shown():
    seen = set()
    for table in random_tables(24):
        comparison = compared(table)
        deciding = comparison.bounds[0]
        groups = all_groups(comparison)
        assessed = [g.losses[0] for g in groups if g.losses[0].assessed]
        pools = [p.loss for a in comparison.attributes for p in a.pools if p.loss.metric == "accuracy"]
        small = [g.losses[0] for g in groups if not g.losses[0].assessed]
        shown_alone = [x for x in small if x.verdict in ("harm", "loss")]
        assert deciding.upper == max((x.upper for x in assessed + pools + shown_alone), default=None)
        cleared = deciding.upper is not None and deciding.upper < 0.02
        for x in assessed + pools:
            assert (x.verdict == "no_harm") == (x.upper < 0.02)
        shown = {g.verdict for g in groups} | {p.loss.verdict for a in comparison.attributes for p in a.pools}
        assert (comparison.verdict == "no_harm") == (cleared and not shown & {"harm", "loss"})
        seen.add(comparison.verdict)
    assert seen >= {"no_harm", "inconclusive", "loss", "harm"}


def test_y_is_at_most_x_and_what_is_shown_is_a_finding():
    shown = 0
    for table in random_tables(24, seed=1):
        for bound in compared(table).bounds:
            if bound.lower is not None:
                shown += 1
                assert bound.lower > 0
                assert bound.upper is None or bound.lower < bound.upper
                assert bound.lower_group is not None
    assert shown > 10


def test_identical_models_do_no_harm_and_the_bound_falls_with_the_rows():
    uppers = []
    for n in (366, 1000, 4000, 16_000):
        comparison = compared(flipped(n, g="a"), flipped(n, g="b"))
        bound = comparison.bounds[0]
        assert comparison.verdict == "no_harm"
        assert {x.verdict for x in all_losses(comparison)} <= {"no_harm", "not_estimable"}
        assert (bound.lower, bound.largest.value, bound.cleared) == (None, 0.0, 1.0)
        uppers.append(bound.upper)
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[0] < 0.02
    assert uppers[-1] < uppers[0] / 20  # in proportion to 1/n


def test_the_share_of_the_people_who_are_cleared_counts_every_group_they_belong_to():
    """Of 3,200 people, 1,000 are in a group that loses, 200 of the others in one that is too small to be assessed."""
    table = pd.concat(
        [
            flipped(1000, g="fine", h="x"),
            flipped(1000, positives=(60, 0), negatives=(60, 0), g="loses", h="y"),
            flipped(1000, g="fine", h="y"),
            flipped(200, g="fine", h="few"),
        ]
    )
    comparison = compared(table, by=("g", "h"))
    verdict = {v: g.losses[0].verdict for g in all_groups(comparison) for v in g.values.values()}
    # Of h = y every other person is in the group that loses: 6 points.
    assert verdict == {
        "fine": "no_harm",
        "loses": "harm",
        "x": "no_harm",
        "y": "harm",
        "few": "not_estimable",
    }
    assert comparison.bounds[0].cleared == 1000 / 3200
    assert compared(table, by=("g",)).bounds[0].cleared == 2200 / 3200


def test_people_of_a_pool_are_cleared_with_it():
    tables = [flipped(1000, positives=(60, 0), negatives=(60, 0), g="loses")]
    tables += [flipped(n, g=f"small{n}") for n in (200, 202)]
    comparison = compared(*tables)
    assert [p.loss.verdict for p in comparison.attributes[0].pools] == ["no_harm"]
    assert comparison.bounds[0].cleared == 402 / 1402


def test_a_pool_that_loses_is_harm_of_the_artifact():
    small = [flipped(300, positives=(25, 0), negatives=(25, 0), g=f"small{i}") for i in range(2)]
    comparison = compared(flipped(20_000, g="large"), *small)
    (pool,) = (p for p in comparison.attributes[0].pools if p.loss.metric == "accuracy")
    assert pool.loss.verdict == comparison.attributes[0].verdict == comparison.verdict == "harm"
    # Its members are shown to lose, too, and their bounds are higher.
    assert comparison.bounds[0].upper > pool.loss.upper
    assert dict(comparison.bounds[0].upper_group) in [dict(m) for m in pool.members]


def test_losses_are_tested_exactly_where_each_row_counts_once():
    """The p-value is McNemar's, and the adjusted one lies between it and Holm's."""
    comparison = compared(
        flipped(1000, positives=(9, 1), negatives=(4, 3), g="a"), flipped(1000, positives=(3, 4), g="b")
    )
    flips = {"accuracy": (13, 4), "tpr": (9, 1), "fpr": (4, 3)}
    for x in comparison.attributes[0].groups[0].losses:
        lost, gained = flips[x.metric]
        exact = stats.binomtest(lost, lost + gained, alternative="greater").pvalue
        assert x.estimate.p == pytest.approx(exact)
    losses = [x.estimate for x in all_losses(comparison)]
    p, adjusted = (np.array([getattr(e, name) for e in losses]) for name in ("p", "p_adjusted"))
    assert (p <= adjusted + 0.01).all()  # Monte-Carlo error
    assert (adjusted <= holm(p) + 0.01).all()
    assert adjusted[p < 1].min() < 0.8 * holm(p).min()


@pytest.mark.parametrize("kind", ["holm", "weights", "people", "seeds"])
def test_elsewhere_holm_corrects_all_losses_pools_included(kind):
    tables = [
        flipped(1000, positives=(9, 1), negatives=(4, 3), g="a"),
        flipped(1000, positives=(3, 4), g="b"),
        flipped(300, positives=(4, 0), g="c"),
        flipped(300, negatives=(2, 1), g="d"),
    ]
    table = pd.concat(tables, ignore_index=True)
    rows = np.arange(len(table))
    if kind == "holm":
        comparison = compared(table, correction="holm")
    elif kind == "weights":
        comparison = compared(table.assign(w=1 + 0.2 * (rows % 3)), weight="w")
    elif kind == "people":
        comparison = compared(table.assign(person=rows - (rows % 10 == 1)), subject="person")
    else:
        runs = [table.assign(seed=s, row_id=rows) for s in range(6)]
        for i, run in enumerate(runs):
            run.loc[run.index[i * 7 : i * 7 + 2], "new"] = 1 - run.old
        comparison = compared(*runs, seed_column="seed")
    losses = [x.estimate for x in all_losses(comparison) if x.estimate.p is not None]
    p, adjusted = (np.array([getattr(e, name) for e in losses], float) for name in ("p", "p_adjusted"))
    assert any(a.pools for a in comparison.attributes)
    np.testing.assert_allclose(adjusted, holm(p))
    assert adjusted.min() > p.min()


def test_harm_is_corrected_by_holm_over_all_losses():
    table = pd.concat(
        [
            flipped(1000, positives=(60, 1), negatives=(14, 3), g="a"),
            flipped(1000, positives=(3, 4), g="b"),
            flipped(300, positives=(4, 0), g="c"),
            flipped(300, negatives=(2, 1), g="d"),
        ]
    )
    comparison = compared(table)

    def p_value(rows, metric):
        rows = rows if metric == "accuracy" else rows[rows.label == (1 if metric == "tpr" else 0)]
        lost = ((rows.old == rows.label) & (rows.new != rows.label)).sum()
        gained = ((rows.old != rows.label) & (rows.new == rows.label)).sum()
        n = len(rows)
        loss = bonett_price(np.array([lost]), np.array([gained]), np.array([float(n)]))
        return float(harm_p_value(loss, np.array([(lost + gained) / n]), 0.02)[0])

    expected = [
        p_value(table if not g.values else table[table.g == g.values["g"]], x.metric)
        for g in all_groups(comparison)
        for x in g.losses
    ]
    expected += [
        p_value(table[table.g.isin(["c", "d"])], p.loss.metric) for p in comparison.attributes[0].pools
    ]
    shown = [x.p_harm_adjusted for x in all_losses(comparison)]
    np.testing.assert_allclose(shown, holm(np.array(expected)), rtol=1e-6)
    assert comparison.overall.losses[1].p_harm_adjusted < 1


def test_classes_without_a_positive_one_are_judged_by_accuracy():
    rng = np.random.default_rng(0)
    label = rng.choice(["a", "b", "c"], 5000)
    g = np.repeat(["x", "y", "few", "less"], [2300, 2200, 300, 200])
    new = np.where((g == "y") & (rng.random(5000) < 0.06), "a", label)
    table = pd.DataFrame({"label": label, "old": label, "new": new, "g": g})
    comparison = compared(table)
    assert [b.metric for b in comparison.bounds] == ["accuracy"]
    assert {x.values["g"]: x.verdict for x in comparison.attributes[0].groups}["y"] == "harm"
    assert comparison.bounds[0].upper_group == comparison.bounds[0].lower_group == {"g": "y"}
    assert [len(p.members) for p in comparison.attributes[0].pools] == [2]
    with pytest.raises(UserError, match="name the positive class"):
        compared(table, harm="fnr")


def test_nothing_is_cleared_by_models_that_have_nothing_to_lose():
    tables = [flipped(n, g=f"g{n}").assign(old=0, new=0) for n in (2000, 300, 200)]
    comparison = compared(*tables)
    assert comparison.verdict == comparison.attributes[0].verdict == "void"
    assert {p.loss.verdict for p in comparison.attributes[0].pools} == {"void"}
    assert {b.cleared for b in comparison.bounds} == {0.0}
    assert "no_harm" not in {x.verdict for x in all_losses(comparison)}
