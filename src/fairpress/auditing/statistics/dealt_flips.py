"""Flips in strata, dealt again as losses or gains by fair coins: the joint distribution that tests of losses need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics.membership import Membership
from fairpress.auditing.statistics.t_estimate import Floats

_CHUNK_NUMBERS = 4_000_000
"""Numbers in the largest arrays of a chunk of draws: 32 MB each."""
_WORD = 16
_ROWS = 16
"""Rows of draws at a time, which stay in the processor's cache; even, as the generator makes 16-bit words in pairs."""
_MOST_COINS = 16 * _WORD
"""More flips than these are drawn from the binomial distribution, which is faster then."""


@dataclass(frozen=True)
class DealtFlips:
    """Flips of strata and the hypotheses, each about the sum of some strata, that they belong to.

    Attributes
    ----------
    flips
        Flips of each stratum that has some [strata].
    membership
        Which strata belong to which hypotheses [hypotheses, strata].
    offset
        What is to be added to the dealt losses of strata: flips whose loss is a gain for the hypothesis [hypotheses].
    lost, total
        Observed losses and flips [hypotheses].
    """

    flips: np.ndarray
    membership: Membership
    offset: Floats
    lost: Floats
    total: Floats

    @classmethod
    def of(cls, lost: ArrayLike, gained: ArrayLike, membership: ArrayLike | Membership) -> DealtFlips:
        """Check and summarize flips.

        Parameters
        ----------
        lost, gained
            Flips of each stratum [strata], whole numbers.
        membership
            Array [hypotheses, strata] of 0 and 1; −1 where a loss of the stratum is a gain for the hypothesis.

        Raises ``ValueError`` where shapes do not fit or entries are not −1, 0 or 1.
        """
        b, c = np.asarray(lost, float), np.asarray(gained, float)
        members = Membership.of(membership)
        if b.ndim != 1 or b.shape != c.shape or members.shape[1] != len(b):
            raise ValueError(
                f"flips of shapes {b.shape} and {c.shape} do not fit a membership of shape {members.shape}"
            )
        used = np.flatnonzero(b + c > 0)
        b, c, members = b[used], c[used], members.strata(used)
        # A loss of the stratum counts for the hypothesis where membership is 1, a gain where it is −1.
        offset = members.opposite(b + c)
        return cls((b + c).astype(np.int64), members, offset, members.net(b) + offset, members.total(b + c))

    def select(self, hypotheses: np.ndarray) -> DealtFlips:
        """Return the same flips for some of the hypotheses, in this order."""
        h = hypotheses
        chosen = self.membership.hypotheses(h)
        return DealtFlips(self.flips, chosen, self.offset[h], self.lost[h], self.total[h])

    def deal(self, rng: np.random.Generator, draws: int) -> Iterator[Iterator[np.ndarray]]:
        """Yield losses under fair coins, `draws` together, in chunks of draws: each as blocks of hypotheses.

        A block [some hypotheses, draws of the chunk] is small, because new memory takes more time than sums; the blocks of a
        chunk have all hypotheses in their order.
        """
        words = int(np.where(self.flips <= _MOST_COINS, -(-self.flips // _WORD), 1).sum())
        chunk = max(1, _CHUNK_NUMBERS // max(len(self.total), words, 1))
        # Sums of 16-bit numbers take a quarter of the time of those of 64 bits.
        kind = np.int16 if self.flips.sum() <= np.iinfo(np.int16).max else np.int64
        hypotheses = [np.arange(len(self.total))[i : i + _ROWS] for i in range(0, len(self.total), _ROWS)]
        blocks = [(self.membership.hypotheses(h), self.offset[h, None].astype(kind)) for h in hypotheses]
        for start in range(0, draws, chunk):
            coins = _fair_binomial(self.flips, min(chunk, draws - start), rng)
            yield (members.net_of_draws(coins, kind) + offset for members, offset in blocks)


def tabulated(
    blocks: Iterable[np.ndarray], statistic: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield a statistic of dealt losses by hypothesis [draws], computing it once for each count that a hypothesis has.

    `blocks` are those of a chunk of `DealtFlips.deal`; `statistic` takes counts and the indices of their hypotheses, two
    arrays of one length.
    """
    done = 0
    for lost in blocks:
        low, high = lost.min(axis=1).astype(np.int64), lost.max(axis=1).astype(np.int64)
        width = high - low + 1
        first = np.cumsum(width) - width
        row = np.repeat(np.arange(len(low)), width)
        table = statistic(np.arange(width.sum()) - (first - low)[row], row + done)
        for draws, shift in zip(lost, first - low, strict=True):
            yield np.asarray(table.take(np.add(draws, shift, dtype=np.intp)))
        done += len(low)


def _fair_binomial(flips: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return draws [strata, size] of Bin(flips, ½), few flips as the number of ones among so many random bits."""
    few, many = np.flatnonzero(flips <= _MOST_COINS), np.flatnonzero(flips > _MOST_COINS)
    drawn = rng.binomial(flips[many, None], 0.5, size=(len(many), size))
    words = -(-flips[few] // _WORD)
    first = np.cumsum(words) - words
    coins = np.full(words.sum(), _WORD)
    coins[first] = flips[few] - _WORD * (words - 1)
    masks = (2**coins - 1).astype(np.uint16)[:, None]
    ones = np.empty((len(coins), size), dtype=np.uint8)
    for start in range(0, len(coins), _ROWS):
        part = slice(start, start + _ROWS)
        bits = rng.integers(2**_WORD, size=(len(masks[part]), size), dtype=np.uint16)
        bits &= masks[part]
        ones[part] = _count_ones(bits)
    if len(few) == len(flips) == len(ones):
        return ones  # one word for each stratum
    out = np.empty((len(flips), size), dtype=np.int64 if len(many) else np.int16)
    out[many], out[few] = drawn, ones[first]
    for further in range(1, words.max(initial=0)):
        more = words > further
        out[few[more]] += ones[first[more] + further]
    return out


def _count_ones(words: np.ndarray) -> np.ndarray:
    """Return the number of ones of each word; NumPy has a function for it from 2.0 on."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(words))
    return np.asarray(_ones_by_word()[words])


@lru_cache(maxsize=1)
def _ones_by_word() -> np.ndarray:
    every_word = np.arange(2**_WORD, dtype=np.uint16)
    bits = np.unpackbits(every_word.view(np.uint8)).reshape(-1, _WORD)
    return np.asarray(bits.sum(axis=1, dtype=np.uint8))
