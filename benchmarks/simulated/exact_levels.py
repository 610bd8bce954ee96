"""Error rates by enumeration of all outcomes: limits of a search, printed bounds of a loss, and the test of harm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from all_clear import outcomes
from scipy import stats
from simulated.found import Found, Rng, exact

from fairpress.auditing.statistics.exact_proportion import p_at_most
from fairpress.auditing.statistics.harm import harm_p_value
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo, bonett_price
from fairpress.auditing.statistics.rate_difference import difference_p
from fairpress.auditing.statistics.score_bounds import loss_interval, loss_upper_bound

ALPHA = 0.05
GAP_LIMITS = (0.02, 0.05, 0.1, 0.2)
LOW_RATES = (0.0, 0.01, 0.05, 0.2, 0.5)
GROUP_ROWS = (15, 30, 60, 100, 178, 191, 250, 360, 500, 800, 1200)
RATIOS = (1.0, 4.0, 0.25)
HOLM = (1, 14, 42, 165)


def gap_level(limit: float, low: float, n: tuple[int, int]) -> tuple[float, float]:
    """Return the probability that a difference of exactly the limit is shown to be below it.

    As a search does, and by Agresti and Caffo's interval alone.
    """
    rates = (low + limit, low)
    counts = [
        np.arange(
            stats.binom.ppf(1e-10, size, p) if p else 0, stats.binom.isf(1e-10, size, p) + 1 if p else 1
        )
        for size, p in zip(n, rates, strict=True)
    ]
    x, y = (c.ravel() for c in np.meshgrid(*counts, indexing="ij"))
    chance = stats.binom.pmf(x, n[0], rates[0]) * stats.binom.pmf(y, n[1], rates[1])
    first, second = agresti_caffo(x, n[0]), agresti_caffo(y, n[1])
    shown = difference_p(first, second, limit) <= ALPHA
    alone = (first - second).upper(1 - ALPHA) <= limit
    return float(chance[shown].sum()), float(chance[alone].sum())


def accuracy_level(limit: float, n: int) -> tuple[float, float]:
    """Return the probability that an accuracy of exactly the limit is shown to be above it: exact, and by Agresti–Caffo."""
    x = np.arange(n + 1.0)
    chance, rate = stats.binom.pmf(x, n, limit), agresti_caffo(x, n)
    return float(chance[p_at_most(rate, limit) <= ALPHA].sum()), float(
        chance[rate.lower(1 - ALPHA) >= limit].sum()
    )


def search_limits(rng: Rng, size: int) -> Iterator[Found]:
    """Limits on gaps and on accuracy, where the truth is exactly the limit; `size`: the numbers of rows, at most."""
    rows = GROUP_ROWS[:: max(1, len(GROUP_ROWS) // max(1, min(size, len(GROUP_ROWS))))]
    for limit in GAP_LIMITS:
        for low in LOW_RATES:
            levels = [
                (
                    *gap_level(limit, low, (n, max(10, round(n * ratio)))),
                    f"n = {n:,} and {max(10, round(n * ratio)):,}",
                )
                for n in rows
                if n * limit >= 2
                for ratio in RATIOS
            ]
            yield from _worst_two(
                "A gap of exactly the limit passes a search", f"limit {limit}, lower rate {low}", levels
            )
    for limit in (0.8, 0.9, 0.95, 0.98, 0.99):
        levels = [
            (*accuracy_level(limit, n), f"n = {n:,}") for n in range(100, 3001, max(1, 2900 // max(size, 10)))
        ]
        yield from _worst_two("An accuracy of exactly the limit passes a search", f"limit {limit}", levels)


def _worst_two(claim: str, setting: str, levels: list[tuple[float, float, str]]) -> Iterator[Found]:
    ours, alone = max(levels), max(levels, key=lambda level: level[1])
    yield exact(claim, f"{setting}, worst at {ours[2]}", ours[0], ALPHA + 0.002)
    yield exact("… by Agresti–Caffo alone (for comparison)", f"{setting}, worst at {alone[2]}", alone[1])


def printed_bound(rng: Rng, size: int) -> Iterator[Found]:
    """The ends of the interval printed beside a loss: how often each excludes the truth, one-sided."""
    rows = (30, 115, 200, 500, 1000, 3000)
    for share in (1.0, 0.75, 0.5, 0.0):
        errors: dict[str, list[tuple[float, str]]] = {}
        for n in rows[:: max(1, len(rows) // max(1, min(size, len(rows))))]:
            for flips in (0.005, 0.02, 0.05, 0.1):
                lost, gained = flips * share, flips * (1 - share)
                b, c, chance = outcomes(n, lost, gained)
                loss, flipped, truth = bonett_price(b, c, np.full(b.shape, n)), (b + c) / n, lost - gained
                low, high = loss_interval(loss, flipped, 0.95)
                bound = loss_upper_bound(loss, flipped, 0.95)
                for name, wrong in (
                    ("One-sided 95 % upper bound of a loss is too low", bound < truth),
                    ("Upper end of the 95 % interval of a loss is too low", high < truth),
                    ("Lower end of the 95 % interval of a loss is too high", low > truth),
                    (
                        "… Bonett–Price's one-sided upper bound alone (for comparison)",
                        loss.upper(0.95) < truth,
                    ),
                ):
                    errors.setdefault(name, []).append(
                        (float(chance[wrong].sum()), f"n = {n:,}, {flips:.1%} flip")
                    )
        for name, levels in errors.items():
            worst = max(levels)
            bound_of = None if "comparison" in name else 0.052 if "One-sided" in name else 0.026
            yield exact(name, f"{share:.0%} of the flips are losses, worst at {worst[1]}", worst[0], bound_of)


def harm_level(rng: Rng, size: int) -> Iterator[Found]:
    """The test of harm at a loss of exactly the margin, at the first steps of Holm's correction: error ÷ level."""
    rows = (30, 60, 100, 200, 300, 500, 900, 1500, 3000)
    for margin in (0.01, 0.02, 0.05):
        ratios: dict[int, list[tuple[float, float, str]]] = {m: [] for m in HOLM}
        for n in rows[:: max(1, len(rows) // max(1, min(size, len(rows))))]:
            for gained in (0.0, 0.001, 0.005, 0.02, 0.05, 0.1):
                b, c, chance = outcomes(n, margin + gained, gained)
                possible = b + c <= n
                b, c, chance = b[possible], c[possible], chance[possible]
                loss = bonett_price(b, c, np.full(b.shape, n))
                p, wald = harm_p_value(loss, (b + c) / n, margin), loss.p_above(margin)
                for m in HOLM:
                    level = ALPHA / m
                    ours, alone = (float(chance[q <= level].sum()) / level for q in (p, wald))
                    ratios[m].append((ours, alone, f"n = {n:,}, {gained:.1%} gain"))
        for m, levels in ratios.items():
            worst = max(levels)
            yield exact(
                "Error of `harm` ÷ its level",
                f"margin {margin}, level .05/{m}, worst at {worst[2]}",
                worst[0],
                1.1,
            )


def harm_power(rng: Rng, size: int) -> Iterator[Found]:
    """The power of the test of harm at .05/165, beside Bonett–Price's t; 1 % of the rows gain a right answer."""
    for n, loss_share in ((900, 0.04), (900, 0.06), (420, 0.06), (420, 0.08), (140, 0.1), (140, 0.2)):
        b, c, chance = outcomes(n, loss_share + 0.01, 0.01)
        possible = b + c < n
        b, c, chance = b[possible], c[possible], chance[possible]
        loss = bonett_price(b, c, np.full(b.shape, n))
        setting = f"n = {n}, loss {loss_share:.0%}, margin 2 %, level .05/165"
        for name, p in (
            ("Power of `harm`", harm_p_value(loss, (b + c) / n, 0.02)),
            ("… by Bonett–Price's t (for comparison)", loss.p_above(0.02)),
        ):
            yield exact(name, setting, float(chance[p <= ALPHA / 165].sum()))
