"""Changes of gaps: the bounds against their definition, and intervals that hold at ties and show what is there."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import special

from fairpress.auditing.metrics.fairness import log_rate
from fairpress.auditing.metrics.fairness_changes import (
    fairness_changes,
    range_change_bounds,
    showable_range_change,
)
from fairpress.auditing.statistics import range_change
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo, bonett_price
from fairpress.auditing.statistics.range_bounds import range_quantile
from fairpress.auditing.statistics.range_change import (
    _smallest_maximum,
    maximum_change_bounds,
    pair_ratios,
    paired_errors,
    selection_level,
)
from fairpress.auditing.statistics.two_way import crossed_change, crossed_rate, crossed_sums


def cells(before, after, flips):
    """Shares of rows with (ŷ₀, ŷ₁) = 11, 10, 01, 00, of which at least `flips` flip."""
    before, after = np.broadcast_arrays(np.asarray(before, float), np.asarray(after, float))
    flipping = np.maximum(flips, np.abs(after - before))
    down, up = (flipping - after + before) / 2, (flipping + after - before) / 2
    return np.stack([before - down, down, up, 1 - before - up], axis=-1)


def triple(x, n):
    """Baseline, compressed and change of counts [groups, 4]."""
    n = np.asarray(n)
    before, after = agresti_caffo(x[:, 0] + x[:, 1], n), agresti_caffo(x[:, 0] + x[:, 2], n)
    return before, after, bonett_price(x[:, 2], x[:, 1], n)


def lower_bound_by_definition(after, before, covariance, plausible, alpha=0.05):
    """min over q of max over plausible p, with the full covariance matrix of the rates of all groups, one pair at a time."""
    (x1, v1), (x0, v0), k = after, before, len(after[0])
    both = np.block([[np.diag(v1), np.diag(covariance)], [np.diag(covariance), np.diag(v0)]])
    pairs, error, count = list(permutations(range(k), 2)), 0.9 * alpha / 2, len(plausible)
    bounds = {}
    for q in pairs:
        for p in plausible:
            w = np.zeros(2 * k)
            for index, weight in ((p[0], 1), (p[1], -1), (k + q[0], -1), (k + q[1], 1)):
                w[index] += weight
            if q not in plausible:
                share = error / count
            elif count == 1:
                share = error
            else:
                share = error / 2 if p == q else error / 2 / (count - 1)
            bounds[q, p] = w @ np.r_[x1, x0] - special.ndtri(1 - share) * np.sqrt(w @ both @ w)
    return min(max(bounds[q, p] for p in plausible) for q in pairs)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_the_bounds_are_their_definition(groups):
    rng = np.random.default_rng(groups)
    for _ in range(8):
        n = rng.integers(40, 900, groups)
        rates = rng.uniform(0.3, 0.7, groups)
        x = np.stack([rng.multinomial(m, c) for m, c in zip(n, cells(rates, rates, 0.08), strict=True)])
        before, after, change = triple(x, n)
        covariance = (after.se**2 + before.se**2 - change.se**2) / 2
        c = range_quantile(groups, 1 - 0.0025) / np.sqrt(2)

        def plausible(model, c=c, groups=groups):
            pairs = list(permutations(range(groups), 2))
            difference = {(i, j): model.centre[i] - model.centre[j] for i, j in pairs}
            reach = {(i, j): c * np.hypot(model.se[i], model.se[j]) for i, j in pairs}
            largest = max(0, *(difference[p] - reach[p] for p in pairs))
            return [p for p in pairs if difference[p] + reach[p] >= largest]

        ends = [
            lower_bound_by_definition(
                (one.centre, one.se**2), (other.centre, other.se**2), covariance, plausible(one)
            )
            for one, other in ((after, before), (before, after))
        ]
        assert range_change_bounds([(before, after, change)]) == pytest.approx((ends[0], -ends[1]), abs=1e-12)


def test_of_many_groups_fewer_pairs_are_tried_and_the_bounds_are_nearly_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    n = rng.integers(200, 1500, 24)
    rates = rng.uniform(0.45, 0.55, 24)
    x = np.stack([rng.multinomial(m, c) for m, c in zip(n, cells(rates, rates, 0.06), strict=True)])
    tried = range_change_bounds([triple(x, n)])
    monkeypatch.setattr(range_change, "_INNER", 10_000)
    every = range_change_bounds([triple(x, n)])
    assert tried.low <= every.low + 1e-12
    assert tried.high >= every.high - 1e-12
    assert tried == pytest.approx(every, abs=0.003)


def test_a_ratio_is_changed_by_the_delta_method():
    """One group against a far larger rate: the interval is that of the difference of two ratios, by its gradient."""
    n = np.array([4000, 4000])
    x = np.array([[700, 100, 300, 2900], [3100, 100, 100, 700]])
    before, after, change = triple(x, n)
    pairs = [pair_ratios(m, log_rate(m), selection_level(0.05)) for m in (after, before)]
    low, high = maximum_change_bounds(*pairs, paired_errors([(before, after, change)]))
    gradient = np.array(
        [
            1 / after.centre[1],
            -after.centre[0] / after.centre[1] ** 2,
            -1 / before.centre[1],
            before.centre[0] / before.centre[1] ** 2,
        ]
    )
    covariance = (after.se**2 + before.se**2 - change.se**2) / 2
    both = np.block(
        [[np.diag(after.se**2), np.diag(covariance)], [np.diag(covariance), np.diag(before.se**2)]]
    )
    value = after.centre[0] / after.centre[1] - before.centre[0] / before.centre[1]
    half = special.ndtri(1 - 0.9 * 0.025) * np.sqrt(gradient @ both @ gradient)
    assert (-high, -low) == pytest.approx((value - half, value + half), abs=1e-12)


N = {2: [300, 1200], 3: [300, 700, 1200], 4: [300, 600, 900, 1200]}
EQUAL = {k: [0.5] * k for k in N}


@pytest.mark.parametrize(
    ("before", "after", "flips"),
    [
        (EQUAL[2], EQUAL[2], 0.01),
        (EQUAL[2], [0.55, 0.45], 0.14),
        ([0.6, 0.4], [0.625, 0.375], 0.06),
        ([0.6, 0.4], [0.575, 0.425], 0.06),
        (EQUAL[3], [0.575, 0.5, 0.425], 0.14),
        ([0.52, 0.5, 0.5, 0.49], [0.58, 0.5, 0.5, 0.48], 0.1),
        ([0.6, 0.5, 0.5, 0.4], [0.65, 0.5, 0.5, 0.4], 0.06),
        ([0.6, 0.5, 0.5, 0.4], [0.55, 0.5, 0.5, 0.45], 0.03),
    ],
)
def test_the_interval_of_a_change_of_a_gap_holds_the_truth(before, after, flips):
    rng = np.random.default_rng(len(before))
    n = np.array(N[len(before)])
    truth = np.ptp(after) - np.ptp(before)
    held = 0
    for x in rng.multinomial(n, cells(before, after, flips), size=(300, len(n))):
        b, a, c = triple(x, n)
        gap = fairness_changes({"tpr": b}, {"tpr": a}, {"tpr": c}, rng)["equal_opportunity_difference"]
        held += gap.low <= truth + 1e-12 and truth - 1e-12 <= gap.high
    # .95 is promised; three standard errors of 300 runs are .038.
    assert held / 300 >= 0.912


@pytest.mark.parametrize(
    ("before", "after", "flips", "least"),
    [
        # By the extreme pairs' own changes alone, the method before, these were .10, .01, .02 and .00.
        ([0.525, 0.475], [0.575, 0.425], 0.14, 0.80),
        (EQUAL[2], [0.55, 0.45], 0.14, 0.25),
        ([0.525, 0.5, 0.475], [0.6, 0.5, 0.4], 0.14, 0.80),
        ([0.6, 0.5, 0.5, 0.4], [0.65, 0.5, 0.5, 0.4], 0.06, 0.65),
    ],
)
def test_a_gap_that_opens_is_shown(before, after, flips, least):
    rng = np.random.default_rng(7)
    n = np.array(N[len(before)])
    counts = rng.multinomial(n, cells(before, after, flips), size=(300, len(n)))
    assert np.mean([range_change_bounds([triple(x, n)]).low > 0 for x in counts]) >= least


def test_smaller_changes_than_the_smallest_showable_one_are_not_shown_and_larger_ones_are():
    """The limit is computed from the rows of the baseline and the standard errors before the gap opens."""
    rng = np.random.default_rng(11)
    n, below, above = np.array(N[4]), [], []
    for opening in (0.05, 0.1, 0.15, 0.2):
        opened = [0.5, 0.5, 0.5 - opening / 2, 0.5 + opening / 2]
        for x in rng.multinomial(n, cells(EQUAL[4], opened, 0.14), size=(120, 4)):
            before, after, change = triple(x, n)
            unchanged = (before, before, change)  # the change of a model that flips as many rows
            showable, close = showable_range_change([unchanged])
            moved = np.ptp(after.value) - np.ptp(before.value)
            shown = range_change_bounds([(before, after, change)]).low > 0
            assert close == 4
            if moved < showable:
                below.append(shown)
            elif moved > showable + 0.02:
                above.append(shown)
    assert min(len(below), len(above)) > 60
    assert np.mean(below) < 0.05
    assert np.mean(above) > 0.8


def test_a_gap_that_is_open_by_far_can_be_shown_to_change_by_its_paired_error():
    n = np.array([1000, 1000])
    x = np.array([[790, 10, 10, 190], [190, 10, 10, 790]])
    before, after, change = triple(x, n)
    showable, close = showable_range_change([(before, after, change)])
    assert close == 2
    # 0.9 · 2.5 % on each side: one pair is extreme, and the paired changes of its two groups are independent.
    assert showable == pytest.approx(special.ndtri(1 - 0.0225) * np.hypot(*change.se), abs=1e-12)


def test_over_seeds_the_interval_holds_at_ties_and_when_a_gap_opens():
    rng = np.random.default_rng(5)
    sizes, seeds = np.array([200, 400]), 5
    group = np.repeat([0, 1], sizes)
    for opening in (0.0, 0.8):
        held = []
        for _ in range(60):
            person, noise = rng.normal(size=len(group)), rng.normal(size=(2, seeds, len(group)))
            seed = 0.2 * rng.normal(size=(2, seeds, 1))
            score = person + noise + seed + np.array([0, opening])[:, None, None] * (group - 0.5)
            y = (score > 0).astype(float)
            b, a = (crossed_rate(crossed_sums(v, group, 2)) for v in y)
            c = crossed_change(crossed_sums(y[1] - y[0], group, 2))
            truth = special.ndtr(opening / 2 / np.sqrt(2.04)) - special.ndtr(-opening / 2 / np.sqrt(2.04))
            low, high = range_change_bounds([(b, a, c)], dependent=True)
            held.append(low <= truth <= high)
        assert np.mean(held) >= 0.9


def test_equalized_odds_take_the_larger_of_two_changes_of_gaps():
    """One rate has all groups equal, the other a gap far larger: its change alone counts."""
    n = np.array([2000, 2000])
    wide = triple(np.array([[1500, 20, 20, 460], [500, 20, 20, 1460]]), n)
    none = triple(np.array([[1000, 20, 20, 960], [1000, 20, 20, 960]]), n)
    both, alone = range_change_bounds([wide, none]), range_change_bounds([wide])
    assert both == pytest.approx(alone, abs=1e-9)


def test_pairs_of_pairs_have_the_order_of_permutations():
    pairs = range_change.pair_differences([triple(np.full((3, 4), 25), [100] * 3)[0]], 0.0025)
    assert list(zip(pairs.top, pairs.bottom, strict=True)) == [
        (i, j) for i, j in product(range(3), repeat=2) if i != j
    ]


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_the_smallest_maximum_of_rows_is_found_from_few_of_the_values(noise):
    rng, asked = np.random.default_rng(0), []
    values = rng.normal(size=(900, 1)) + rng.normal(size=60) + noise * rng.normal(size=(900, 60))

    def value(rows, columns):
        asked.append(np.broadcast(rows, columns).size)
        return values[rows, columns]

    least = values[:, 0] - 0.5
    assert _smallest_maximum(value, least, np.arange(60)) == np.maximum(least, values.max(axis=1)).min()
    assert sum(asked) < values.size / 2


@pytest.mark.parametrize("k", [2, 5, 40])
@pytest.mark.parametrize("probability", [0.0, 0.05, 0.9, 0.999, 1 - 1e-12, 1 - 2**-53])
def test_a_quantile_of_the_range_is_that_of_a_bisection_where_rounding_hides_it_too(k, probability):
    low, high = 0.0, 20.0
    x = np.linspace(-9.0, 9.0, 4001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    for _ in range(36):
        q = (low + high) / 2
        below = (k * density * (special.ndtr(x) - special.ndtr(x - q)) ** (k - 1)).sum() < probability
        low, high = (q, high) if below else (low, q)
    assert range_quantile(k, probability) == low
