"""Parts of subjects with several rows each: subjects with many rows have the same share in every part.

Assigning such subjects to the part that lags furthest behind its share of rows would put nearly all subjects with many
rows into the largest part. Subjects are counted here instead, each as likely as another to be drawn: systematic sampling
from
a list sorted by number of rows, label and groups (Madow and Madow 1944), and of several such draws the one whose
parts resemble the whole most (rerandomization: Morgan and Rubin 2012, doi:10.1214/12-AOS1008).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.datasets.hash_draws import draw

MAX_DRAWS, MIN_DRAWS = 64, 4
MAX_ASSIGNED_ROWS = 4_000_000  # in all draws together, so that a large table is split in seconds
REMAINING_PARTS = 3  # a part that is taken leaves a subject for each of the others
MIN_SUBJECTS_PER_SIZE = 10  # subjects that are balanced as one kind by their number of rows
MAX_SHARE = (
    0.5  # of the subjects that are not too large for a part, where it takes more than its share of them
)


@dataclass(frozen=True)
class RepeatedSubjects:
    """Subjects with one row or several.

    Attributes
    ----------
    names
        [subjects] their names.
    unit
        [rows] the subject of each row.
    sizes
        [subjects] their numbers of rows.
    strata
        [subjects] rank of number of rows (in powers of two), commonest label and groups.
    codes
        Each [rows], integers from 0: what the parts shall have in the same shares as the whole.
    """

    names: Sequence[str]
    unit: np.ndarray
    sizes: np.ndarray
    strata: np.ndarray
    codes: tuple[np.ndarray, ...]

    @classmethod
    def from_rows(
        cls, names: Sequence[str], unit: np.ndarray, labels: np.ndarray, attributes: Mapping[str, np.ndarray]
    ) -> RepeatedSubjects:
        """Return the subjects of these rows; `unit` is the subject of each."""
        sizes = np.bincount(unit, minlength=len(names))
        classes = int(labels.max()) + 1
        magnitude = _magnitudes(sizes)
        groups = [np.unique(v, return_inverse=True)[1].reshape(-1) for v in attributes.values()]
        groups.sort(key=lambda g: int(np.bincount(g).min()))
        _, first = np.unique(unit, return_index=True)
        keys = [magnitude, _commonest(unit, labels, len(names)), *(g[first] for g in groups)]
        _, strata = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
        codes = (magnitude[unit] * classes + labels, *(g * classes + labels for g in groups))
        codes = tuple(np.unique(c, return_inverse=True)[1].reshape(-1) for c in codes)
        return cls(names, unit, sizes, strata.reshape(-1), codes)

    def rows(self, pool: np.ndarray) -> float:
        """Return how many rows these subjects have."""
        return float(self.sizes[pool].sum())

    def fold(self, pool: np.ndarray, folds: int, fold: int, key: str) -> np.ndarray:
        """Return the subjects of one of several folds."""
        best = self._best(pool, [1 / folds] * folds, self._dealt_to_folds(pool, folds, key))
        tested: np.ndarray = pool[best == fold]
        return tested

    def take(self, pool: np.ndarray, share: float, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the subjects of a part that has a share of the rows, and the others.

        A subject that alone has more rows than the part needs is not taken, unless nearly all are so large. More of the
        other
        subjects are taken instead, up to half of them, so that some remain for the later parts.
        """
        if not len(pool):
            return pool, pool
        max_rows = max(share * self.rows(pool), float(np.median(self.sizes[pool])))
        eligible = pool[self.sizes[pool] <= max_rows]
        # Enough eligible subjects for the part's share of all rows: at least one, and not all.
        taken = max(share, min(share * self.rows(pool) / self.rows(eligible), MAX_SHARE))
        expected_count = taken * len(eligible)
        count = min(max(expected_count, 1.0), max(len(pool) - REMAINING_PARTS, 1), len(eligible))
        best = self._best(pool, [1 - share, share], self._drawn(pool, eligible, count / len(eligible), key))
        return pool[best == 1], pool[best == 0]

    def _drawn(self, pool: np.ndarray, eligible: np.ndarray, share: float, key: str) -> Iterator[np.ndarray]:
        """Yield draws: for each of `pool` 1 where it is taken; each of `small` is so with probability `share`."""
        position = np.searchsorted(pool, eligible)
        for attempt, order in enumerate(self._orders(eligible, key)):
            start = draw(f"start/{key}/{attempt}") / 2**64
            ends = np.floor(start + share * np.arange(len(eligible) + 1))
            if ends[-1] == ends[0]:  # fewer than one expected on average: take one
                ends[int(start * len(eligible)) + 1 :] += 1
            dealt = np.zeros(len(pool), dtype=np.int64)
            dealt[position[order]] = np.diff(ends) > 0
            yield dealt

    def _dealt_to_folds(self, pool: np.ndarray, folds: int, key: str) -> Iterator[np.ndarray]:
        """Yield draws: the fold of each of `pool`; of as many neighbours as there are folds, each gets one."""
        for attempt, order in enumerate(self._orders(pool, key)):
            position = np.arange(len(pool))
            bits = _mix_bits(np.array(position, dtype=np.uint64), draw(f"folds/{key}/{attempt}"))
            dealt = np.empty(len(pool), dtype=np.int64)
            # Neighbours, `folds` at a time, in random order; the last ones get some of the folds.
            turns = np.lexsort((bits, position // folds))
            offset = draw(f"start/{key}/{attempt}") % folds
            dealt[order[turns]] = (position + offset) % folds
            yield dealt

    def _orders(self, pool: np.ndarray, key: str) -> Iterator[np.ndarray]:
        """Yield as many orders of `pool` as there shall be draws: by stratum, within a stratum at random."""
        bits = np.array([draw(f"{key}/{self.names[i]}") for i in pool], dtype=np.uint64)
        for attempt in range(min(max(MAX_ASSIGNED_ROWS // len(self.unit), MIN_DRAWS), MAX_DRAWS)):
            yield np.lexsort((_mix_bits(bits, attempt), self.strata[pool]))

    def _best(self, pool: np.ndarray, shares: Sequence[float], draws: Iterator[np.ndarray]) -> np.ndarray:
        """Return the draw whose parts are nearest to their shares of the rows of every kind."""
        pool_index = np.full(len(self.names), -1, dtype=np.int64)
        pool_index[pool] = np.arange(len(pool))
        rows = np.flatnonzero(pool_index[self.unit] >= 0)
        row_subject = pool_index[self.unit[rows]]
        codes = [code[rows] for code in self.codes]
        best, min_distance = None, math.inf
        for dealt in draws:
            distance = _distance(dealt[row_subject], codes, shares)
            if best is None or distance < min_distance:
                best, min_distance = dealt, distance
        assert best is not None
        return best


def _magnitudes(sizes: np.ndarray) -> np.ndarray:
    """Return the power of two of each subject's number of rows; the largest sizes are merged.

    A kind of one or two subjects would be nearest to its share in every part where they are all in the largest part.
    """
    magnitude = np.frexp(sizes.astype(np.float64))[1]
    largest = np.sort(magnitude)[-min(MIN_SUBJECTS_PER_SIZE, len(magnitude))]
    capped: np.ndarray = np.minimum(magnitude, largest)
    return capped


def _commonest(unit: np.ndarray, labels: np.ndarray, subjects: int) -> np.ndarray:
    """Return each subject's commonest label, the first of a tie."""
    pairs, counts = np.unique(np.stack([unit, labels]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    _, first = np.unique(pairs[0][order], return_index=True)
    commonest = np.zeros(subjects, dtype=np.int64)
    commonest[pairs[0][order][first]] = pairs[1][order][first]
    return commonest


def _distance(part: np.ndarray, codes: Sequence[np.ndarray], shares: Sequence[float]) -> float:
    """Return how far parts [rows] are from having their share of every code's rows; infinite where one is empty."""
    total = np.bincount(part, minlength=len(shares))
    if (total == 0).any():
        return math.inf
    distance = math.fsum(
        (n - s * len(part)) ** 2 / (s * len(part)) for n, s in zip(total.tolist(), shares, strict=True)
    )
    for code in codes:
        kinds = int(code.max()) + 1
        observed = np.bincount(part * kinds + code, minlength=len(shares) * kinds).reshape(len(shares), kinds)
        expected = np.outer(total / len(part), np.bincount(code, minlength=kinds))
        nonzero = expected > 0
        distance += math.fsum(((observed[nonzero] - expected[nonzero]) ** 2 / expected[nonzero]).tolist())
    return distance


def _mix_bits(bits: np.ndarray, salt: int) -> np.ndarray:
    """Return other 64 bits for each of these, by the finalizer of splitmix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = bits + np.uint64((salt * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = z ^ (z >> np.uint64(31))
    return mixed
