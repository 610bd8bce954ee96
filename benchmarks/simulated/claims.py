"""Claims of a study over few seeds: how often a claim that is not true is decided, and how often a true one is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtri
from simulated.found import Found, Rng, found

from fairpress.auditing.statistics.max_contrasts import MaxContrasts, Term
from fairpress.auditing.statistics.two_way_contrasts import crossed_products
from fairpress.core.estimate import Estimate
from fairpress.studies.analysis.claims.effect import MeasuredEffect, decided, effect_over_networks

ROWS = (300, 900)
CLAIMS = 13
EXCESS = np.array(
    [[[-1.0, 1.0], [1.0, -1.0]]]
)  # [contrast, cell, model] of the errors of a group and the rest
SEED_SD, ROW_SD = 0.1, 1.0


def excess_loss(rng: Rng, seeds: int, effect: float) -> tuple[float, MeasuredEffect]:
    """Return the p-value over seeds × rows, and the p-value that decides, of "the group loses more than the rest".

    Two models err in 20 % of the rows, the second in `effect` more in the group; every network differs by group.
    """
    cells = np.repeat([0, 1], ROWS)
    spread = np.sqrt(1 + ROW_SD**2 + SEED_SD**2)
    easy = ROW_SD * rng.standard_normal(sum(ROWS))
    values = []
    for extra in (0.0, effect):
        mean = spread * ndtri(0.2 + np.array([extra, 0.0]))
        network = SEED_SD * rng.standard_normal((seeds, 2))
        latent = (mean + network)[:, cells] + easy
        values.append((rng.standard_normal((seeds, sum(ROWS))) < latent).astype(float))
    sums = crossed_products(np.stack(values), cells, 2)
    theta = MaxContrasts(sums, [Term(1.0, EXCESS)])
    by_seed = np.einsum("cm,cms->s", theta.weights, sums.seed_sums / sums.rows[:, None, None])
    crossed = theta.p_two_sided(0.0)
    p, smallest, size = effect_over_networks(by_seed, 0.0, seeds, 0.95)
    assert p is not None
    measured = MeasuredEffect(Estimate(theta.value), None, 1.0, 1, size, theta.value > 0, seeds)
    return crossed, decided(measured, crossed, "seeds × rows", p, smallest)


def claim_decisions(rng: Rng, size: int) -> Iterator[Found]:
    """Level and power of a claim about one group against the rest, alone and as the first of 13 (Holm)."""
    for effect in (0.0, 0.05):
        for seeds in (3, 5, 6, 8, 10, 12):
            pairs = [excess_loss(rng, seeds, effect) for _ in range(size)]
            p = np.array([[crossed, effect_.p] for crossed, effect_ in pairs], float)
            for count in (1, CLAIMS):
                setting = (
                    f"{seeds} seeds × {sum(ROWS):,} rows, {'alone' if count == 1 else f'first of {count}'}"
                )
                if effect:
                    yield found("Claim of 5 points decided", setting, p[:, 1] < 0.05 / count)
                else:
                    bound = 0.05 / count
                    yield found("False claim decided", setting, p[:, 1] < bound, bound, at_least=False)
                yield found(
                    f"… by seeds × rows alone, {100 * effect:g} points (for comparison)",
                    setting,
                    p[:, 0] < 0.05 / count,
                )
