"""Gaps over groups, their changes, and differences in differences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import Found, Rng, found

from fairpress.auditing.metrics.fairness import fairness_intervals
from fairpress.auditing.metrics.fairness_changes import fairness_changes
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo, bonett_price

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


def gap_change_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Change of a gap: paired rows, 3 % of them flip each way, one group loses more where the gap changes."""
    for k in (2, 4, 10):
        for name, spread in SPREADS.items():
            for lost in (0.0, 0.05):
                p0 = np.linspace(0.5 - spread / 2, 0.5 + spread / 2, k)
                down = np.full(k, 0.03)
                down[0] += lost
                p1 = p0 - down + 0.03
                truth = np.ptp(p1) - np.ptp(p0)
                n = np.linspace(300, 1200, k).astype(int)
                # Cells of (ŷ₀, ŷ₁): 11, 10, 01, 00.
                cells = np.stack([p0 - down, down, np.full(k, 0.03), 1 - p0 - 0.03], axis=-1)
                hits, widths = [], []
                for x in rng.multinomial(n, cells, size=(size, k)):
                    before, after = x[:, 0] + x[:, 1], x[:, 0] + x[:, 2]
                    gap = fairness_changes(
                        {"tpr": agresti_caffo(before, n)},
                        {"tpr": agresti_caffo(after, n)},
                        {"tpr": bonett_price(x[:, 2], x[:, 1], n)},
                        rng,
                    )["equal_opportunity_difference"]
                    hits.append(gap.low <= truth + 1e-12 and truth - 1e-12 <= gap.high)
                    widths.append(gap.high - gap.low)
                setting = f"{k} groups, {name}, true change {100 * truth:.0f} points"
                yield found("Change of a gap", setting, hits, 0.93, width=float(np.mean(widths)))


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
