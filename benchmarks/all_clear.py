"""How often `no_harm` is said of a group whose true loss is exactly the margin: ``python benchmarks/all_clear.py``.

By exact enumeration. For each margin and share of gains, over all numbers of rows up to 20 margins' worth: the worst
probability, by Bonett–Price's upper bound alone and by what `fairpress audit` does (with the score test). Prints a Markdown
table; exits with 1 above 0.05.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from scipy import stats

from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.auditing.verdicts.rules import floor_rows
from fairpress.auditing.verdicts.sample_size import rows_needed

CONFIDENCE = 0.95


def outcomes(n: int, lost: float, gained: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers of losses and of gains among n rows with their probabilities; all but 10⁻¹² of them."""
    most = [int(stats.binom.isf(1e-12, n, p)) + 1 if p > 0 else 0 for p in (lost, gained)]
    b, c = np.meshgrid(np.arange(most[0] + 1), np.arange(most[1] + 1), indexing="ij")
    rest = np.maximum(n - b, 0)
    p = stats.binom.pmf(b, n, lost) * (stats.binom.pmf(c, rest, gained / (1 - lost)) if gained else 1.0)
    return b.ravel(), c.ravel(), np.where(b + c <= n, p, 0.0).ravel()


def all_clear(n: int, margin: float, lost: float, gained: float) -> tuple[float, float]:
    """Return the probability that a loss of the margin is ruled out: by the upper bound alone, and with the score test."""
    b, c, p = outcomes(n, lost, gained)
    loss = bonett_price(b, c, np.full(b.shape, n))
    alone = loss.upper(CONFIDENCE) < margin
    return float(p[alone].sum()), float(p[loss_ruled_out(loss, (b + c) / n, margin, CONFIDENCE)].sum())


def numbers_of_rows(margin: float) -> Iterator[int]:
    """Yield numbers of rows: every one near the floor, then in steps."""
    floor = floor_rows(margin, CONFIDENCE)
    yield from range(floor, 2 * floor)
    yield from range(2 * floor, int(20 / margin), max(1, int(0.1 / margin)))
    yield from (int(k / margin) for k in (40, 100))


def main() -> int:
    """Print the worst cases and the power where nothing changed; return 1 when 0.05 is exceeded."""
    worst = 0.0
    print(
        "| margin | gains | upper bound alone, worst (at n) | with the score test, worst (at n) |\n|--:|--:|--:|--:|"
    )
    for margin in (0.01, 0.02, 0.05):
        for gained in (0.0, 0.001, 0.005, 0.02):
            found = [(*all_clear(n, margin, margin + gained, gained), n) for n in numbers_of_rows(margin)]
            alone, both = max(found, key=lambda f: f[0]), max(found, key=lambda f: f[1])
            worst = max(worst, both[1])
            print(
                f"| {margin} | {gained:.1%} | {alone[0]:.3f} ({alone[2]:,}) | {both[1]:.3f} ({both[2]:,}) |"
            )
    print(
        "\n| rows needed at a margin of 0.02 if nothing changed | flips | `no_harm` is said |\n|--:|--:|--:|"
    )
    for flips in (0.005, 0.01, 0.02, 0.04):
        n = rows_needed(flips, 0.02, CONFIDENCE)
        print(f"| {n:,} | {flips:.1%} | {all_clear(n, 0.02, flips / 2, flips / 2)[1]:.3f} |")
    return int(worst > 0.05)


if __name__ == "__main__":
    sys.exit(main())
