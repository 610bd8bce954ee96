"""Rates of people with several rows over seeds: what is one person's counts once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from fairpress.auditing.statistics.clustered_contrasts import clustered_products
from fairpress.auditing.statistics.design_effect import cluster_sums, design_effect
from fairpress.auditing.statistics.pairwise_bias_change import bias_change
from fairpress.auditing.statistics.two_way_contrasts import crossed_contrasts, crossed_products

MU = np.array([[0.5, 0.0, 0.2, 0.2], [0.6, -0.2, 0.2, 0.3]])  # models × cells
SCALE = np.sqrt(1 + 0.3**2 + 0.15**2 + 0.2**2)
TRUE = special.ndtr(MU / SCALE)


def draw(rng, people=90, seeds=6):
    """People of one to five rows, who are hard or easy as a whole, more rows where they are easier."""
    cell_of = np.repeat(np.arange(4), people)
    sizes = 1 + rng.binomial(4, 0.3, len(cell_of))
    who = np.repeat(np.arange(len(cell_of)), sizes)
    hard, per_model = rng.normal(size=len(cell_of)), 0.3 * rng.normal(size=(2, 1, len(cell_of)))
    seed = 0.15 * rng.normal(size=(2, seeds, 4))
    noise = 0.2 * rng.normal(size=(2, seeds, len(who)))
    y = MU[:, None, cell_of[who]] + (hard + per_model)[..., who] + seed[:, :, cell_of[who]] + noise > 0
    return y.astype(float), cell_of[who], who


def test_rates_are_those_of_the_rows_and_a_person_is_one_row():
    values, cells, who = draw(np.random.default_rng(0))
    sums = clustered_products(values, cells, who, 4)
    assert sums.rows.tolist() == [90] * 4
    expected = [[values[m][:, cells == c].mean() for m in range(2)] for c in range(4)]
    assert sums.rates == pytest.approx(np.array(expected))


def test_with_one_row_each_it_is_the_form_for_rows():
    values, cells, _ = draw(np.random.default_rng(1))
    cells[:5] = -1
    rows, people = (
        crossed_products(values, cells, 4),
        clustered_products(values, cells, np.arange(len(cells)), 4),
    )
    for name in ("seed_sums", "rows", "row_products", "products"):
        assert getattr(people, name) == pytest.approx(getattr(rows, name))


def test_one_seed_has_the_error_of_the_cluster_formula():
    rng = np.random.default_rng(2)
    who = np.repeat(np.arange(400), rng.integers(1, 6, 400))
    y = (rng.random(400)[who] < 0.6).astype(float)
    result = crossed_contrasts(
        clustered_products(y[None, None], np.zeros(len(y), int), who, 1), np.ones((1, 1, 1))
    )
    sizes, right = np.bincount(who), np.bincount(who, y)
    sums = cluster_sums(sizes, sizes, right, right, np.zeros(400, int), 1)
    p = y.mean()
    cluster = np.sqrt(design_effect(sums).deff[0] * p * (1 - p) / len(y))
    assert result.se[0] == pytest.approx(cluster, rel=0.02)
    assert result.se[0] > 1.5 * np.sqrt(p * (1 - p) / len(y))


def test_intervals_of_a_bias_and_of_its_change_hold_the_truth():
    rng, held, runs = np.random.default_rng(3), np.zeros(2), 200
    bias = np.abs(TRUE[:, 0] - TRUE[:, 1]) + np.abs(TRUE[:, 2] - TRUE[:, 3])
    naive = 0
    for _ in range(runs):
        values, cells, who = draw(rng)
        sums = clustered_products(values, cells, who, 4)
        change, itself = bias_change(sums, [0, 1], [1, 0]), bias_change(sums, [0, 1])
        held += [
            change.low <= bias[1] - bias[0] <= change.high,
            itself.low <= bias[1] <= itself.high,
        ]
        wrong = bias_change(crossed_products(values, cells, 4), [0, 1])
        naive += wrong.low <= bias[1] <= wrong.high
    # .93 is asked for; three standard errors of 200 runs at .95 are .046.
    assert (held / runs >= 0.92).all(), held / runs
    assert naive < held[1]


def test_who_is_in_several_cells_is_not_covered():
    assert clustered_products(np.ones((1, 2, 3)), np.array([0, 1, 1]), np.array(["a", "a", "b"]), 2) is None
