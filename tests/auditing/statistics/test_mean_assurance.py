"""What more rows would do to the verdict on a mean: against drawing the future, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.auditing.statistics.mean_assurance import chances_after, units_to_decide
from fairpress.auditing.statistics.unit_means import mean_of_units, unit_sums

GRID = np.array([10, 100, 1000, 10_000, 100_000])


def losses(values, groups=2):
    group = np.arange(values.size) % groups
    return mean_of_units(unit_sums(values, group, groups, np.ones(values.size), None))


@pytest.fixture
def open_losses():
    return losses(np.random.default_rng(3).normal(0.3, 12.0, 800))


def test_chances_are_those_of_drawn_futures():
    """With a prior as flat as can be, the future is drawn around the present mean."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 3.0, 400)
    x = losses(values, groups=1)
    more, margin = 600, 0.5
    predicted = chances_after(x, np.array([[600.0]]), margin, 0.95, 0.05 / 5, 100).decided[0, 0]
    # The prior of a group alone is wide against its error: margin and spreads of the margin's size.
    prior = (
        rng.normal(0, 1, 4000)
        * margin
        * np.sqrt(1 + rng.choice([0.05, 0.15, 0.3, 0.5, 0.75, 1.1, 1.6], 4000) ** 2)
    )
    weight = np.exp(-((x.value[0] - prior) ** 2) / x.se[0] ** 2 / 2)
    drawn = rng.choice(prior, 2000, p=weight / weight.sum())
    decided = []
    for truth in drawn:
        later = losses(np.concatenate([values, rng.normal(truth, values.std(), more)]), groups=1)
        decided.append((later.upper(0.95)[0] < margin) | (later.p_above(0.0)[0] < 0.01))
    assert np.mean(decided) == pytest.approx(predicted, abs=0.06)


def test_more_units_decide_more(open_losses):
    more = np.broadcast_to(GRID.astype(float), (2, len(GRID)))
    decided = chances_after(open_losses, more, 1.0, 0.95, 0.01, 100).decided
    assert (np.diff(decided, axis=1) >= -1e-9).all()
    assert (decided <= 1 + 1e-12).all()
    assert decided[:, -1] == pytest.approx(1.0, abs=0.02)


def test_the_fewest_units_are_those_of_the_grid(open_losses):
    units, chances = units_to_decide(open_losses, 1.0, 0.95, 0.01, 100, GRID, 0.8)
    assert set(units) <= set(GRID)
    assert (chances.decided >= 0.8).all()


def test_what_the_grid_does_not_reach_is_not_known(open_losses):
    units, chances = units_to_decide(open_losses, 1.0, 0.95, 0.01, 100, GRID[:1], 0.99)
    assert np.isnan(units).all()
    assert (chances.decided < 0.99).all()


def test_no_harm_needs_an_assessed_group():
    x = losses(np.random.default_rng(2).normal(0, 1, 60), groups=1)
    assert chances_after(x, np.array([[20.0]]), 5.0, 0.95, 0.01, 100).no_harm[0, 0] == 0
    assert chances_after(x, np.array([[60.0]]), 5.0, 0.95, 0.01, 100).no_harm[0, 0] > 0.99
