"""Looking more than once: the e-process, and the habit of topping up and auditing again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.statistics.e_process import log_e_loss, log_e_no_harm, release_level
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.auditing.verdicts.assurance import VerdictRule
from fairpress.auditing.verdicts.sample_size import rows_needed, rows_to_decide

ALPHA = 0.05


def monitored_looks(rng: Rng, size: int) -> Iterator[Found]:
    """A look every 20 rows up to 6,000 at a true loss of exactly the margin (no harm), of 0 (loss), of δ (harm)."""
    n = 20 * np.arange(1, 301)
    for up in (0.0, 0.005, 0.02):
        lost, gained = _looks(rng, size, DELTA, up)
        clear = log_e_no_harm(lost, gained, n, DELTA).max(axis=1) >= np.log(1 / ALPHA)
        setting = f"loss δ, gains {up:.1%}, 300 looks"
        yield found("Monitored: false `no_harm`", setting, clear, ALPHA, at_least=False)
        harm = log_e_loss(lost, gained, n, DELTA).max(axis=1) >= np.log(1 / ALPHA)
        yield found("Monitored: false `harm`", setting, harm, ALPHA, at_least=False)
        if up:
            even_lost, even_gained = _looks(rng, size, 0.0, up)
            loss = log_e_loss(even_lost, even_gained, n).max(axis=1) >= np.log(1 / ALPHA)
            yield found(
                "Monitored: false `loss`", f"loss 0, gains {up:.1%}, 300 looks", loss, ALPHA, at_least=False
            )
    for flips in (0.005, 0.02, 0.08):
        lost, gained = _looks(rng, size, 0.0, flips / 2)
        clear = log_e_no_harm(lost, gained, n, DELTA).max(axis=1) >= np.log(1 / ALPHA)
        yield found("Monitored: `no_harm` by 6,000 rows (power)", f"loss 0, flips {flips:.1%}", clear, 0.8)


def top_up(rng: Rng, size: int) -> Iterator[Found]:
    """Audit, gather the rows that seem to be missing, audit again, up to six times, at a true loss of exactly the margin.

    Missing are the rows at which the estimate, if it stayed, would be distinguished from the margin (`rows_to_decide`). The
    audit of one look is shown for comparison; the same rows and looks with the e-process must keep the level.
    """
    for start, up in ((150, 0.0), (200, 0.005), (400, 0.01)):
        shares = [DELTA + up, up, 1 - DELTA - 2 * up]
        naive, monitored = np.zeros(size, bool), np.zeros(size, bool)
        for i in range(size):
            n = start
            b, c, _ = rng.multinomial(n, shares)
            for look in range(6):
                loss, flips = bonett_price(b, c, [n]), np.array([(b + c) / n])
                naive[i] |= bool(loss_ruled_out(loss, flips, DELTA, 1 - ALPHA)[0])
                monitored[i] |= bool(log_e_no_harm(b, c, n, DELTA) >= np.log(1 / ALPHA))
                needed = rows_needed(flips[0], DELTA)
                if n >= needed:
                    needed = rows_to_decide(float(loss.value[0]), float(loss.se[0]), n, DELTA)
                if naive[i] or look == 5 or needed > 20_000:
                    break
                more = max(needed - n, 50)
                extra = rng.multinomial(more, shares)
                b, c, n = b + extra[0], c + extra[1], n + more
        setting = f"from {start} rows, loss δ, gains {up:.1%}, up to 6 looks"
        yield found("Topping up: false `no_harm` of the audit of one look", setting, naive)
        yield found("Topping up: false `no_harm`, monitored", setting, monitored, ALPHA, at_least=False)


def releases(rng: Rng, size: int) -> Iterator[Found]:
    """Ten releases with a true loss of the margin on one test set: at least one false `no_harm`."""
    n, up = 1500, 0.01
    flips = rng.multinomial(n, [DELTA + up, up, 1 - DELTA - 2 * up], size=(size, 10)).astype(float)
    rule = VerdictRule(DELTA, 1 - ALPHA)
    naive, _ = rule(flips[..., 0], flips[..., 1], np.full((size, 1), float(n)))
    yield found(
        "Ten releases: a false `no_harm` of audits of one look", f"{n:,} rows each", naive.any(axis=1)
    )
    needed = -np.log(release_level(np.arange(1, 11), ALPHA))
    e = log_e_no_harm(flips[..., 0], flips[..., 1], n, DELTA)
    yield found(
        "Ten releases: a false `no_harm`, monitored",
        f"{n:,} rows each",
        (e >= needed).any(axis=1),
        ALPHA,
        at_least=False,
    )


def _looks(rng: Rng, size: int, loss: float, up: float) -> tuple[np.ndarray, np.ndarray]:
    """Return cumulative losses and gains [size, 300] after every 20 rows."""
    flips = rng.multinomial(20, [loss + up, up, 1 - loss - 2 * up], size=(size, 300)).cumsum(axis=1)
    return flips[..., 0], flips[..., 1]
