"""Strata of flips from cells: counts, p-values and covariances are those of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference import flip_strata as module
from fairpress.auditing.inference.flip_strata import flip_strata, loss_lower_bounds
from fairpress.auditing.inference.group_estimator import per_group
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.attribute import Attribute

METRICS = ("accuracy", "tpr", "fpr")
BY = tuple(map(Attribute.from_text, ("", "sex", "race", "sex*race")))
SEX, CROSSED = BY[1], BY[3]


def random_cells(rng, rows=800, classes=2, models=1, flip=0.15):
    sex, race = rng.integers(0, 2, rows), rng.integers(0, 3, rows)
    label = rng.integers(0, classes, rows)

    def flipped(codes, chance):
        return np.where(rng.random(rows) < chance, (codes + rng.integers(1, classes, rows)) % classes, codes)

    base = flipped(label, 0.25)
    predicted = {"base": base} | {f"m{i}": flipped(base, flip) for i in range(models)}
    ones = np.ones(rows)
    attributes = {"sex": EncodedTable(("f", "m"), sex), "race": EncodedTable(("a", "b", "c"), race)}
    names = tuple(f"c{i}" for i in range(classes))
    return Cells(attributes, label, predicted, ones, ones, ones, names, "c1")


def losses_by_row(cells, names):
    """Return the signed losses [hypotheses, rows], in the order of `flip_strata`."""
    out = []
    for name in names:
        for metric in METRICS:
            d = LOSS_SIGN[metric] * (cells.indicator(name, metric) - cells.indicator("base", metric))
            for attribute in BY:
                grouping = cells.grouping(attribute)
                out += [np.where(grouping.index == g, np.nan_to_num(d), 0) for g in range(grouping.size)]
    return np.array(out)


@pytest.mark.parametrize(("classes", "models"), [(2, 1), (2, 3), (4, 1), (4, 2)])
def test_net_losses_and_shared_flips_are_those_of_the_rows(classes, models):
    cells = random_cells(np.random.default_rng(classes * 10 + models), classes=classes, models=models)
    names = [f"m{i}" for i in range(models)]
    strata = flip_strata(cells, "base", names, BY, METRICS)
    by_row = losses_by_row(cells, names)
    np.testing.assert_array_equal(strata.membership.net(strata.lost - strata.gained), by_row.sum(axis=1))
    # Dealing gives this covariance of net losses: flips that count in both, with their signs.
    flips = np.diag(strata.lost + strata.gained)
    dense = strata.membership.net_of_draws(np.eye(len(flips), dtype=np.int64))
    np.testing.assert_array_equal(dense @ flips @ dense.T, by_row @ by_row.T)


def test_p_values_are_exact_tests_of_the_groups_rows():
    cells = random_cells(np.random.default_rng(1))
    p = flip_strata(cells, "base", ["m0"], BY, METRICS).p_values()
    sex, label = cells.attributes["sex"].codes, cells.label
    before, after = cells.predicted["base"], cells.predicted["m0"]
    women_negative = (sex == 0) & (label == 0)
    lost = int((women_negative & (before == 0) & (after == 1)).sum())
    gained = int((women_negative & (before == 1) & (after == 0)).sum())
    peer = stats.binomtest(lost, lost + gained, 0.5, "greater").pvalue
    assert p["m0", SEX, "fpr"][0] == pytest.approx(peer)
    assert {key: len(x) for key, x in p.items() if key[2] == "tpr"} == {
        ("m0", a, "tpr"): n for a, n in zip(BY, (1, 2, 3, 6), strict=True)
    }


def test_counted_cells_and_single_rows_have_the_same_p_values():
    cells = random_cells(np.random.default_rng(2))
    codes = np.stack(
        [
            *(a.codes for a in cells.attributes.values()),
            cells.label,
            *cells.predicted.values(),
        ]
    )
    kinds, count = np.unique(codes, axis=1, return_counts=True)
    n = count.astype(float)
    counted = Cells(
        {k: EncodedTable(a.names, kinds[i]) for i, (k, a) in enumerate(cells.attributes.items())},
        kinds[2],
        {"base": kinds[3], "m0": kinds[4]},
        n,
        n,
        n,
        cells.classes,
        cells.positive,
    )
    query = ("base", ["m0"], BY, METRICS)
    for key, p in flip_strata(cells, *query).p_adjusted().items():
        np.testing.assert_array_equal(p, flip_strata(counted, *query).p_adjusted()[key])


def test_groups_without_rows_of_the_metric_have_no_p_value():
    cells = random_cells(np.random.default_rng(3), rows=300)
    women = cells.attributes["sex"].codes == 0
    subset = cells.select(~women | (cells.label == 1))
    adjusted = flip_strata(subset, "base", ["m0"], (SEX,), METRICS).p_adjusted()
    assert np.isnan(adjusted["m0", SEX, "fpr"]).tolist() == [True, False]
    assert not np.isnan(adjusted["m0", SEX, "tpr"]).any()


def test_a_model_that_changes_nothing_loses_nothing():
    cells = random_cells(np.random.default_rng(4), flip=0.0)
    adjusted = flip_strata(cells, "base", ["m0"], BY, METRICS).p_adjusted()
    assert {float(p) for x in adjusted.values() for p in x} == {1.0}


def test_models_that_are_copies_of_each_other_are_corrected_as_one():
    """Rows that flip under both models are dealt together: a second copy costs nothing, where Holm doubles."""
    cells = random_cells(np.random.default_rng(5), rows=400)
    cells.predicted["copy"] = cells.predicted["m0"]
    alone = flip_strata(cells, "base", ["m0"], BY, METRICS).p_adjusted()
    both = flip_strata(cells, "base", ["m0", "copy"], BY, METRICS).p_adjusted()
    for (_, attribute, metric), p in alone.items():
        np.testing.assert_array_equal(both["m0", attribute, metric], p)
        np.testing.assert_array_equal(both["copy", attribute, metric], p)


def test_where_dealing_takes_too_long_holm_corrects_the_exact_p_values(monkeypatch):
    cells = random_cells(np.random.default_rng(6))
    monkeypatch.setattr(module, "MOST_DEALT", 0)
    query = ("base", ["m0"], BY, METRICS)
    flips = flip_strata(cells, *query)
    p, adjusted = flips.p_values(), flips.p_adjusted()
    expected = holm(np.concatenate(list(p.values())))
    np.testing.assert_allclose(np.concatenate(list(adjusted.values())), expected)


def test_rates_whose_denominator_a_model_changes_are_refused():
    cells = random_cells(np.random.default_rng(7), rows=50)
    with pytest.raises(ValueError, match="not of ppv"):
        flip_strata(cells, "base", ["m0"], BY, ("accuracy", "ppv"))


def test_the_losses_are_bounded_below_and_more_cautiously_by_bonferroni(monkeypatch):
    cells = random_cells(np.random.default_rng(8), rows=4000, flip=0.3)  # right answers are lost more often
    query = (cells, "base", ["m0"], BY, "accuracy")
    bounds = loss_lower_bounds(*query)
    assert len(bounds) == len(BY)
    for (_, attribute, _), bound in bounds.items():
        index = cells.grouping(attribute).index
        net = per_group(cells.rows * (cells.correct("base") * 1.0 - cells.correct("m0")), index, len(bound))
        assert (bound < net / per_group(cells.rows, index, len(bound))).all()
    monkeypatch.setattr(module, "MOST_DEALT", 0)
    for key, cautious in loss_lower_bounds(*query).items():
        assert (cautious < bounds[key]).all()
    assert max(b.max() for b in bounds.values()) > 0.05


def test_a_pool_is_a_hypothesis_about_its_groups_together():
    cells = random_cells(np.random.default_rng(11), rows=3000, flip=0.3)
    races = cells.grouping(BY[2])
    members = (0, races.size - 1)
    key = ("m0", BY[2], "accuracy")
    pools = {key: members}
    flips = flip_strata(cells, "base", ["m0"], BY, METRICS)
    exact = flips.with_pools(pools).p_values()
    inside = np.isin(races.index, members)
    net = (cells.correct("base") * 1 - cells.correct("m0"))[inside]
    lost, gained = (int(cells.rows[inside][net == sign].sum()) for sign in (1, -1))
    expected = stats.binomtest(lost, lost + gained, alternative="greater").pvalue
    assert exact[(*key, module.POOL)] == pytest.approx([expected])
    adjusted = flips.with_pools(pools).p_adjusted()
    assert expected <= adjusted[(*key, module.POOL)][0] <= 1
    without = flips.p_adjusted()
    assert set(adjusted) == {*without, (*key, module.POOL)}


def test_models_that_equal_the_baseline_take_no_room_however_many_they_are():
    cells = random_cells(np.random.default_rng(5))
    base = cells.predicted["base"]
    many = replace(cells, predicted=dict(cells.predicted) | {f"same{i}": base for i in range(40)})
    names = ["m0", *(f"same{i}" for i in range(40))]
    few, strata = (flip_strata(c, "base", n, BY, METRICS) for c, n in ((cells, names[:1]), (many, names)))
    assert strata.lost.tolist() == few.lost.tolist()
    assert np.array_equal(
        strata.membership.net(strata.lost)[: few.membership.shape[0]], few.membership.net(few.lost)
    )
