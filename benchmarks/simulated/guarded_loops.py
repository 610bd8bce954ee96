"""A loop that keeps the best of many candidates by the bound of its worst group, and the verdict on other rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import loss_ruled_out, loss_upper_bound

CONFIDENCE, GAINS, GROUPS, ROWS = 0.95, 0.01, 3, 500


def guarded_loops(rng: Rng, size: int) -> Iterator[Found]:
    """False `no_harm` of what a loop chose: by its rows, which chose it, and by the verdict's, which did not.

    In every candidate the first of three groups truly loses exactly the margin, and the others nothing; or each candidate
    takes a loss between 0 and two margins from one group.
    """
    for candidates in (1, 10, 50):
        at_margin = np.tile([DELTA, 0.0, 0.0], (size, candidates, 1))
        setting = f"loss δ of one group in each of {candidates} candidates"
        by_loop, by_verdict = chosen_and_passed(rng, at_margin)
        yield found("Guard: false `no_harm` by the rows of the loop (for comparison)", setting, by_loop)
        yield found("Guard: false `no_harm` of the verdict", setting, by_verdict, 0.05, at_least=False)
    losses = np.zeros((size, 50, GROUPS))
    payers = rng.integers(0, GROUPS, (size, 50))
    np.put_along_axis(losses, payers[..., None], rng.uniform(0, 2 * DELTA, (size, 50, 1)), axis=2)
    by_loop, by_verdict = chosen_and_passed(rng, losses)
    setting = "losses of 0 to 2δ in 50 candidates"
    yield found("Guard: false `no_harm` by the rows of the loop (for comparison)", setting, by_loop)
    yield found("Guard: false `no_harm` of the verdict", setting, by_verdict, 0.05, at_least=False)


def chosen_and_passed(rng: Rng, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the candidate that a loop chose harms and is passed: by the rows of the loop, and by other rows.

    Parameters
    ----------
    losses
        True losses [simulations, candidates, groups]; a candidate harms where one is the margin or more.
    """
    lost, gained = _flips(rng, losses)
    upper = loss_upper_bound(bonett_price(lost, gained, ROWS), (lost + gained) / ROWS, CONFIDENCE).max(axis=2)
    chosen = upper.argmin(axis=1)
    winner = np.take_along_axis(losses, chosen[:, None, None], axis=1)[:, 0]
    harms = (winner >= DELTA).any(axis=1)
    b, c = _flips(rng, winner)
    passed = loss_ruled_out(bonett_price(b, c, ROWS), (b + c) / ROWS, DELTA, CONFIDENCE).all(axis=1)
    return harms & (upper.min(axis=1) < DELTA), harms & passed


def _flips(rng: Rng, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many rows of each group lose a right answer and gain one."""
    shares = np.stack([losses + GAINS, np.full_like(losses, GAINS), 1 - losses - 2 * GAINS], axis=-1)
    flips = rng.multinomial(ROWS, shares).astype(float)
    return flips[..., 0], flips[..., 1]
