"""Gaps over groups, their changes, and differences in differences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import Found, Rng, found
from simulated.selected_pairs import selected_pairs_bounds

from fairpress.auditing.metrics.fairness import fairness_intervals
from fairpress.auditing.metrics.fairness_changes import fairness_changes, range_change_bounds
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo, bonett_price
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

SPREADS = {"equal": 0.0, "2 points apart": 0.02, "20 points apart": 0.2}


def gap_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Gap of a rate over groups, beside the percentile bootstrap of max − min."""
    for k in (2, 4, 10):
        for name, spread in SPREADS.items():
            p = np.linspace(0.5 - spread / 2, 0.5 + spread / 2, k)
            n = np.linspace(200, 1200, k).astype(int)
            hits, widths, usual = [], [], []
            for x in rng.binomial(n, p, size=(size, k)):
                gap = fairness_intervals({"tpr": agresti_caffo(x, n)}, rng)["equal_opportunity_difference"]
                hits.append(gap.low <= spread + 1e-12 and spread - 1e-12 <= gap.high)
                widths.append(gap.high - gap.low)
                again = rng.binomial(n, x / n, size=(400, k)) / n
                low, high = np.percentile(np.ptp(again, axis=1), [2.5, 97.5])
                usual.append(low <= spread <= high)
            setting = f"{k} groups, {name}"
            yield found("Gap over groups", setting, hits, 0.93, width=float(np.mean(widths)))
            yield found("… by a percentile bootstrap (for comparison)", setting, usual)


def _flipping_cells(before: Floats, after: Floats, flips: float) -> Floats:
    """Return the shares of rows with (ŷ₀, ŷ₁) = 11, 10, 01, 00 per group, of which at least `flips` flip."""
    flipping = np.maximum(flips, np.abs(after - before))
    down, up = (flipping - after + before) / 2, (flipping + after - before) / 2
    return np.stack([before - down, down, up, 1 - before - up], axis=-1)


def _paired_estimates(x: np.ndarray, n: np.ndarray) -> tuple[TEstimate, TEstimate, TEstimate]:
    """Return the estimates of baseline, compressed model and change from counts [groups, 4]."""
    before, after = agresti_caffo(x[:, 0] + x[:, 1], n), agresti_caffo(x[:, 0] + x[:, 2], n)
    return before, after, bonett_price(x[:, 2], x[:, 1], n)


def _rates(k: int, gap: float, shape: str) -> Floats:
    """Return k rates around ½: all but the extreme ones equal ("camp"), or evenly spread."""
    if shape == "even":
        return np.linspace(0.5 - gap / 2, 0.5 + gap / 2, k)
    return np.array([0.5 - gap / 2, *[0.5] * (k - 2), 0.5 + gap / 2])


def gap_change_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Change of a gap on paired rows, 300 to 1,200 a group."""
    worlds = (
        ("equal, and equal after", 0.0, 0.0, "even", 0.01),
        ("equal, then 10 points apart", 0.0, 0.1, "camp", 0.14),
        ("2 points apart, then 5", 0.02, 0.05, "even", 0.03),
        ("20 points apart, then 25", 0.2, 0.25, "camp", 0.06),
        ("20 points apart, then 10", 0.2, 0.1, "even", 0.14),
    )
    for k in (2, 4, 10, 40):
        n = np.linspace(300, 1200, k).astype(int)
        for name, gap, opened, shape, flips in worlds:
            cells = _flipping_cells(_rates(k, gap, shape), _rates(k, opened, shape), flips)
            hits, widths = [], []
            for x in rng.multinomial(n, cells, size=(size if k < 40 else size // 4, k)):
                before, after, change = _paired_estimates(x, n)
                found_ = fairness_changes({"tpr": before}, {"tpr": after}, {"tpr": change}, rng)
                low, high = (getattr(found_["equal_opportunity_difference"], end) for end in ("low", "high"))
                hits.append(low <= opened - gap + 1e-12 and opened - gap - 1e-12 <= high)
                widths.append(high - low)
            setting = f"{k} groups, {name}, {100 * flips:.0f}% flip"
            yield found("Change of a gap", setting, hits, 0.95, width=float(np.mean(widths)))


def gap_change_power(rng: Rng, size: int) -> Iterator[Found]:
    """How often a change of a gap is shown, beside the interval by the selected pairs' own changes."""
    worlds = (
        (2, 0.0, 0.1, 0.14, 0.25),
        (2, 0.05, 0.15, 0.14, 0.8),
        (2, 0.2, 0.25, 0.06, 0.8),
        (2, 0.2, 0.15, 0.06, 0.8),
        (3, 0.05, 0.2, 0.14, 0.8),
        (3, 0.2, 0.25, 0.06, None),
        (4, 0.2, 0.3, 0.14, 0.8),
        (4, 0.0, 0.1, 0.14, None),
        (4, 0.0, 0.2, 0.14, None),
    )
    for k, gap, opened, flips, bound in worlds:
        n = np.linspace(300, 1200, k).astype(int)
        cells = _flipping_cells(_rates(k, gap, "camp"), _rates(k, opened, "camp"), flips)
        shown, widths, by_selection, other_widths = [], [], [], []
        for x in rng.multinomial(n, cells, size=(size, k)):
            before, after, change = _paired_estimates(x, n)
            low, high = range_change_bounds([(before, after, change)])
            shown.append(low > 0 if opened > gap else high < 0)
            widths.append(high - low)
            low, high = selected_pairs_bounds(before, after, change)
            by_selection.append(low > 0 if opened > gap else high < 0)
            other_widths.append(high - low)
        setting = f"{k} groups, {100 * gap:.0f} to {100 * opened:.0f} points apart, {100 * flips:.0f}% flip"
        yield found("Power: change of a gap", setting, shown, bound, width=float(np.mean(widths)))
        other = "… by the selected pairs' own changes (for comparison)"
        yield found(other, setting, by_selection, width=float(np.mean(other_widths)))


def pair_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Difference in differences of two groups fixed beforehand."""
    flips = 0.03
    for n in (np.array([300, 1200]), np.array([60, 2000])):
        for lost in (0.0, 0.05):
            cells = np.tile([0.7 - flips, flips, flips, 0.3 - flips], (2, 1))  # ŷ₀ŷ₁: 11, 10, 01, 00
            cells[0] += [-lost, lost, 0, 0]
            x = rng.multinomial(n, cells, size=(size, 2))
            change = bonett_price(x[..., 2], x[..., 1], n)
            found_ = change[:, 0] - change[:, 1]
            low, high = found_.interval()
            setting = f"{n[0]} and {n[1]:,} rows, the first loses {100 * lost:.0f} points more"
            hits = (low <= -lost) & (-lost <= high)
            width = float((high - low).mean())
            yield found("Difference in differences of a fixed pair", setting, hits, 0.93, width=width)


def rate_range_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Gap, disparate impact and worst rate of many groups of few rows; the groups are equal, the hardest case."""
    for k, rate, rows in (
        (40, 0.02, (30, 2500)),
        (10, 0.02, (30, 2500)),
        (4, 0.02, (30, 2500)),
        (40, 0.1, (30, 1500)),
        (10, 0.1, (30, 1500)),
        (4, 0.1, (30, 1500)),
        (40, 0.9, (30, 1500)),
    ):
        n = np.round(np.geomspace(*rows, k))
        hits: dict[str, list[bool]] = {}
        widths: dict[str, list[float]] = {}
        for x in rng.binomial(n.astype(int), rate, size=(size, k)):
            estimate = agresti_caffo(x, n)
            intervals = fairness_intervals({"selection_rate": estimate, "accuracy": estimate}, rng)
            for metric, truth in (
                ("demographic_parity_difference", 0.0),
                ("disparate_impact", 1.0),
                ("worst_group_accuracy", rate),
            ):
                gap = intervals[metric]
                # Without a success in any group there is no ratio, which is said.
                if not np.isnan(gap.value):
                    hits.setdefault(metric, []).append(gap.low <= truth <= gap.high)
                    widths.setdefault(metric, []).append(gap.high - gap.low)
        for metric, hit in hits.items():
            setting = f"{k} groups of {rows[0]}–{rows[1]:,} rows, rate {rate}"
            yield found(f"`{metric}`", setting, hit, 0.95, width=float(np.mean(widths[metric])))
