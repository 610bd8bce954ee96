"""One rate, its paired change, and the change of a predictive value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import Found, Rng, found

from fairpress.auditing.metrics.cell_bootstrap import bootstrap_changes
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo, bonett_price, wilson


def bonett_price_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Paired change of a rate: n rows, of which a share flips, 70 % of the flips down."""
    for n in (20, 50, 115, 300, 1000, 2800):
        for flips in (0.01, 0.04, 0.15):
            up, down = 0.3 * flips, 0.7 * flips
            truth, setting = up - down, f"n = {n:,}, {flips:.0%} flip"
            # Right in both, right → wrong, wrong → right, wrong in both; the baseline is right in 80 %.
            counts = rng.multinomial(n, [0.8 - down, down, up, 0.2 - up], size=size)
            paired = bonett_price(counts[:, 2], counts[:, 1], n)
            apart = agresti_caffo(counts[:, 0] + counts[:, 2], n) - agresti_caffo(
                counts[:, 0] + counts[:, 1], n
            )
            for name, x, bound in (
                ("Bonett–Price, paired change", paired, 0.94),
                ("… as two independent samples (for comparison)", apart, None),
            ):
                low, high = x.interval()
                yield found(
                    name, setting, (low <= truth) & (truth <= high), bound, width=float((high - low).mean())
                )


def wilson_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """One rate."""
    for n in (20, 100, 1000):
        for p in (0.05, 0.1, 0.3, 0.5, 0.95):
            low, high = wilson(rng.binomial(n, p, size), n)
            yield found(
                "Wilson, one rate",
                f"n = {n:,}, p = {p}",
                (low <= p) & (p <= high),
                0.91,
                width=float((high - low).mean()),
            )


def ppv_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Change of the positive predictive value: half are positive, the baseline errs on 15 %, a share flips."""
    for n in (100, 300, 1000):
        for flips in (0.01, 0.05):
            # Cells [label, baseline, compressed]; positives flip down twice as often as up.
            p = np.zeros((2, 2, 2))
            for y in (0, 1):
                for a in (0, 1):
                    share = 0.5 * (0.85 if a == y else 0.15)
                    gone = flips * (2 if a == 1 else 1) / 1.5
                    p[y, a, 1 - a], p[y, a, a] = share * gone, share * (1 - gone)
            truth = p[1, :, 1].sum() / p[:, :, 1].sum() - p[1, 1].sum() / p[:, 1].sum()
            # The groups of one call are so many samples.
            cells = rng.multinomial(n, p.reshape(-1), size=size).reshape(size, 2, 2, 2)
            x = bootstrap_changes(cells, rng, replicates=1000)["ppv"]
            hits = (x.low <= truth) & (truth <= x.high)
            width = float(np.nanmean(x.high - x.low))
            yield found(
                "Change of PPV, paired bootstrap of cells",
                f"n = {n:,}, {flips:.0%} flip",
                hits,
                0.93,
                width=width,
            )
