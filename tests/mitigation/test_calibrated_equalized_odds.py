"""Calibrated Equalized Odds against aif360, and what it says where aif360 divides by zero."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fairpress.core.errors import UserError
from fairpress.mitigation.calibrated_equalized_odds import (
    CalibratedEqualizedOdds,
    fit,
    generalized_cost,
    mix_scores,
    mixing_rate,
)
from fairpress.mitigation.calibrated_equalized_odds import GroupScores as Mixed
from fairpress.mitigation.hash_uniform import hash_uniform
from fairpress.mitigation.platt import Curve, fit_platt

WITNESS = json.loads((Path(__file__).parent / "aif360.json").read_text())
COSTS = ("fnr", "fpr", "weighted")


def _table(rows: int, seed: int, groups: int = 2):
    rng = np.random.default_rng(seed)
    keys = [(f"g{v}",) for v in rng.integers(0, groups, rows)]
    which = np.array([int(k[0][1:]) for k in keys])
    labels = (rng.random(rows) < 0.3 + 0.04 * which).astype(int)
    scores = 1 / (1 + np.exp(-((1.5 + which / 4) * (labels - 0.5) + rng.normal(size=rows))))
    return scores, labels, keys


@pytest.mark.parametrize("number", range(len(WITNESS)))
@pytest.mark.parametrize("cost", COSTS)
def test_mixing_rates_and_expected_costs_are_those_of_aif360(number, cost):
    # Printed by benchmarks/aif360_calibrated_odds.py.
    table, peers = WITNESS[number]["table"], WITNESS[number]["costs"][cost]
    scores, labels = np.array(table["score"]), np.array(table["label"])
    created = fit(scores, labels, [(g,) for g in table["g"]], ("g",), cost=cost, calibration="none")
    for group in created.groups:
        peer = peers[group.values["g"]]
        assert group.cost == pytest.approx(peer["cost"], abs=1e-9)
        assert group.trivial_cost == pytest.approx(peer["trivial_cost"], abs=1e-9)
        if 0 <= peer["mixing_rate"] <= 1:
            assert group.feasible
            assert group.mixing_rate == pytest.approx(peer["mixing_rate"], abs=1e-9)
            assert group.expected_cost == pytest.approx(peer["expected_cost"], abs=1e-9)
        else:  # aif360 hands out a probability of 1.27
            assert (group.feasible, group.mixing_rate) == (False, 1.0)
            assert group.expected_cost == group.trivial_cost


def test_the_witness_has_cases_of_both_kinds():
    rates = [g["mixing_rate"] for w in WITNESS for c in w["costs"].values() for g in c.values()]
    assert sum(0 < r < 1 for r in rates) >= 15
    assert any(r > 1 for r in rates)


@pytest.mark.parametrize(
    ("own", "base_rate", "target", "answer"),
    [
        (0.2, 0.5, 0.3, (1 / 3, True)),  # (.3 − .2) / (.5 − .2)
        (0.2, 0.4, 0.6, (1.0, True)),  # just reached, by giving everybody the base rate
        (0.2, 0.7, 0.6, (1.0, False)),  # α would be 4
        (0.2, 0.8, 0.6, (0.0, False)),  # α would divide by zero
        (0.2, 0.9, 0.6, (0.0, False)),  # the base rate costs less than the scores: mixing goes the wrong way
        (0.6, 0.2, 0.6, (0.0, True)),  # the costliest group itself
    ],
)
def test_what_cannot_be_reached_is_clipped_and_said(own, base_rate, target, answer):
    rate, feasible = mixing_rate(own, 1 - base_rate, target)  # the trivial c⁻ is 1 − μ
    assert (pytest.approx(rate), feasible) == answer


@pytest.mark.parametrize("cost", COSTS)
def test_all_groups_end_at_the_cost_of_the_costliest(cost):
    scores, labels, keys = _table(6000, 1, groups=4)
    created = fit(scores, labels, keys, ("g",), cost=cost)
    assert created.feasible
    target = max(g.cost for g in created.groups)
    assert [g.expected_cost for g in created.groups] == pytest.approx([target] * 4)
    assert sum(g.mixing_rate == 0 for g in created.groups) == 1
    # And the coin does it: within the noise of some thousand draws.
    repaired, _ = created.apply(scores, keys, [f"row {i}" for i in range(6000)], 0.5)
    of = np.array([k[0] for k in keys])
    after = [generalized_cost(repaired[of == g], labels[of == g], cost) for g in np.unique(of)]
    assert after == pytest.approx([target] * 4, abs=0.02)


def test_two_groups_in_the_middle_do_not_disturb_one_another():
    groups = [Mixed({"g": str(i)}, 10, 5, cost=c, trivial_cost=0.5) for i, c in enumerate((0.1, 0.2, 0.3))]
    assert [g.mixing_rate for g in mix_scores(groups)] == pytest.approx([0.5, 1 / 3, 0.0])
    assert [g.mixing_rate for g in mix_scores([groups[0], groups[2]])] == pytest.approx([0.5, 0.0])


def test_a_row_is_decided_alike_in_any_table_and_another_seed_decides_otherwise():
    names = [f"p{i}" for i in range(2000)]
    drawn = hash_uniform(7, names)
    assert np.array_equal(hash_uniform(7, names[::-1]), drawn[::-1])
    assert abs(np.corrcoef(drawn, hash_uniform(8, names))[0, 1]) < 0.08
    assert abs((drawn < 0.3).mean() - 0.3) < 0.04


def test_a_group_without_positives_is_named_and_left_alone():
    scores, labels, keys = _table(400, 2)
    keys[:3], labels[:3] = [("tiny",)] * 3, 0
    created = fit(scores, labels, keys, ("g",), expected=[("absent",)])
    reported = {g.values["g"]: (g.reason, g.mixing_rate, g.cost) for g in created.groups}
    assert reported["tiny"] == ("0 positives among the validation rows, fewer than 10", 0.0, None)
    assert reported["absent"] == ("0 positives among the validation rows, fewer than 10", 0.0, None)
    with pytest.raises(UserError, match="fitted without the group g = new"):
        created.apply(scores[:1], [("new",)], ["r"], 0.5)


def test_one_group_is_none():
    scores, labels, _ = _table(100, 3)
    with pytest.raises(UserError, match="fewer than two groups"):
        fit(scores, labels, [("all",)] * 100, ("g",))


def test_platt_scaling_is_logistic_regression_on_the_log_odds():
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    scores, labels, _ = _table(500, 4)
    ones = labels.sum()
    target = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))
    log_odds = np.log(scores / (1 - scores))
    peer = GLM(target, np.column_stack([log_odds, np.ones(500)]), family=Binomial()).fit().params
    curve = fit_platt(scores, labels)
    assert [curve.slope, curve.intercept] == pytest.approx(peer, abs=1e-5)


def test_scores_that_were_squeezed_are_calibrated_first():
    # A compressed network whose log-odds are halved: without calibration its scores are not what they say.
    rng = np.random.default_rng(5)
    true = 1 / (1 + np.exp(-rng.normal(0, 2, 8000)))
    labels = (rng.random(8000) < true).astype(int)
    squeezed = 1 / (1 + np.sqrt((1 - true) / true))
    curve = fit_platt(squeezed, labels)
    assert curve.slope == pytest.approx(2, abs=0.15)
    assert np.abs(curve(squeezed) - true).mean() < 0.02 < np.abs(squeezed - true).mean()
    assert fit_platt(1 - squeezed, labels) is None  # a curve may not turn the order round
    assert np.array_equal(Curve()(squeezed), squeezed)


def test_it_survives_json():
    created = fit(*_table(400, 6), ("g",), cost="fpr")
    assert CalibratedEqualizedOdds.from_dict(json.loads(json.dumps(created.to_dict()))) == created
