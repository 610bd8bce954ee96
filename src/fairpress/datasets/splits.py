"""By-subject parts, stratified by label × group: the same on every machine, whatever the training seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fairpress.core.errors import UserError
from fairpress.datasets.balanced_split import RepeatedSubjects
from fairpress.datasets.dataset import PARTS, Part
from fairpress.datasets.hash_draws import draw

TEST_SHARE = 0.30
VALIDATION_SHARE = 0.15
CALIBRATION_SHARE = 0.10
CALIBRATION_FLOOR, CALIBRATION_CEILING = 256, 2048


class SplitOptions(BaseModel):
    """The options that every dataset takes.

    Attributes
    ----------
    folds
        1: the dataset's own test rows, or a share of 30 % where it names none. K > 1: K subject-wise folds;
        every subject is tested in exactly one of them, which replaces an official test split.
    fold
        Which of the folds, 0 … K−1, is the test part here.
    split_seed
        Assigns subjects to the parts. It is not a training seed: those do not change the parts.
    test_share
        Share of the rows that is tested, in place of the dataset's own test rows or the 30 %. Small groups need
        many test rows for a verdict. Not together with folds, which test every row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folds: int = Field(default=1, ge=1, le=50)
    fold: int = Field(default=0, ge=0, le=49)
    split_seed: int = Field(default=0, ge=0, le=2**63 - 1)
    test_share: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> SplitOptions:
        if self.folds > 1 and self.test_share is not None:
            raise ValueError("give either `folds`, which test every row, or `test_share`")
        if self.fold >= self.folds:
            one = "fold 0" if self.folds == 1 else f"folds 0 to {self.folds - 1}"
            raise ValueError(f"fold {self.fold} does not exist: folds = {self.folds} has {one}")
        return self


class Dealer(Protocol):
    """Subjects, by index, and their assignment to parts."""

    def rows(self, pool: np.ndarray) -> float:
        """Return how many rows these subjects have."""

    def fold(self, pool: np.ndarray, folds: int, fold: int, key: str) -> np.ndarray:
        """Return the subjects of one of several folds."""

    def take(self, pool: np.ndarray, share: float, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the subjects of a part that has a share of the rows, and the others."""


def split(
    labels: np.ndarray,
    attributes: Mapping[str, np.ndarray],
    subjects: np.ndarray,
    options: SplitOptions,
    official: Mapping[Part, np.ndarray] | None = None,
) -> dict[Part, np.ndarray]:
    """Return part → ascending row indices (int64), disjoint by subject, together all rows.

    Without folds, test is 30 % of the rows unless `official` names it or `test_share` sets another share. Of the
    rest, validation is 15 %: some 650 rows of COMPAS, on which two epochs of one network differ by flips of a
    few rows, so that early stopping resolves differences of about one point. Calibration is 10 % but 256 to 2,048
    rows (at most 20 % of the rest): ranges of activations need hundreds of rows and gain nothing from more.

    Where every subject has one row, subjects are sorted by stratum (label, then the attributes, the one with the
    smallest group first), within a stratum by a hash of seed and subject, and dealt in that order to the part
    that lags furthest behind its share: systematic sampling, so that each label × group is spread as evenly as
    its size allows. Where subjects have several rows, `RepeatedSubjects` assigns them, so that those with many
    rows are in every part as often as in the whole.

    Parameters
    ----------
    labels, attributes, subjects
        [rows] each.
    options
        Folds, split seed and share of test rows.
    official
        The official parts; a missing one is taken from the train rows. Ignored if folds or a share of test rows are
        requested.

    Raises
    ------
    UserError
        A subject has rows in two official parts, or there are too few subjects for the requested parts.
    """
    unit, first = _units(subjects)
    names = [str(s) for s in subjects[first]]
    everybody = np.arange(len(first))
    people: Dealer
    if len(first) == len(labels):
        people = _Single(names, _strata(labels, attributes)[first])
    else:
        people = RepeatedSubjects.from_rows(names, unit, labels, attributes)
    parts: dict[Part, np.ndarray] = {}
    if options.folds > 1:
        parts["test"] = people.fold(everybody, options.folds, options.fold, f"folds/{options.split_seed}")
        rest = np.setdiff1d(everybody, parts["test"])
    elif official and options.test_share is None:
        parts = {part: np.unique(unit[rows]) for part, rows in official.items() if part != "train"}
        rest = np.unique(unit[official["train"]]) if "train" in official else np.array([], dtype=np.int64)
        _refuse_shared({**parts, "train": rest}, names)
    else:
        rest = everybody
    parts = _carve(parts, rest, people, options)
    rows_of = {part: np.flatnonzero(np.isin(unit, parts[part])).astype(np.int64) for part in PARTS}
    for part, rows in rows_of.items():
        if not len(rows):
            raise UserError(
                f"{len(names)} subjects are too few for the parts train, calibration, validation and test: "
                f"{part} would be empty; bring more rows"
                + (", or fewer folds." if options.folds > 2 else ".")
            )
    return rows_of


def _carve(
    parts: dict[Part, np.ndarray],
    rest: np.ndarray,
    people: Dealer,
    options: SplitOptions,
) -> dict[Part, np.ndarray]:
    """Return all four parts: those given, the missing ones carved from `rest`."""
    parts = dict(parts)
    if "test" not in parts:
        share = TEST_SHARE if options.test_share is None else options.test_share
        parts["test"], rest = people.take(rest, share, f"test/{options.split_seed}")
    total = people.rows(rest)
    key = f"carve/{options.split_seed}/{options.folds}/{options.fold}"
    target_shares: dict[Part, float] = {
        "validation": VALIDATION_SHARE,
        "calibration": calibration_share(total),
    }
    left = 1.0
    for part, share in target_shares.items():
        if part not in parts:
            parts[part], rest = people.take(rest, share / left, f"{key}/{part}")
            left -= share
    parts["train"] = rest
    return parts


def calibration_share(rows: float) -> float:
    """Return the share of the development rows that calibrates quantization."""
    if rows <= 0:
        return CALIBRATION_SHARE
    target_rows = min(max(CALIBRATION_SHARE * rows, CALIBRATION_FLOOR), CALIBRATION_CEILING)
    return min(target_rows / rows, 0.20)


def _units(subjects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row the number of its subject, and for each subject its first row."""
    _, first, unit = np.unique(subjects, return_index=True, return_inverse=True)
    return unit.reshape(-1), first


def _strata(labels: np.ndarray, attributes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the rank of each row's label × group, sorted so that neighbours share label and small groups."""
    keys = [labels.astype(np.int64)]
    coded = [np.unique(v, return_inverse=True, return_counts=True) for v in attributes.values()]
    coded.sort(key=lambda c: int(c[2].min()))
    keys += [c[1].reshape(-1) for c in coded]
    _, rank = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
    return rank.reshape(-1)


@dataclass(frozen=True)
class _Single:
    """Subjects with one row each: `names` and the rank of their label × group."""

    names: Sequence[str]
    strata: np.ndarray

    def rows(self, pool: np.ndarray) -> float:
        return float(len(pool))

    def fold(self, pool: np.ndarray, folds: int, fold: int, key: str) -> np.ndarray:
        order = self._order(pool, key)
        tested: np.ndarray = order[_deal(len(order), np.full(folds, 1 / folds), key) == fold]
        return tested

    def take(self, pool: np.ndarray, share: float, key: str) -> tuple[np.ndarray, np.ndarray]:
        order = self._order(pool, key)
        dealt = _deal(len(order), np.array([1 - share, share]), key)
        return order[dealt == 1], np.sort(order[dealt == 0])

    def _order(self, pool: np.ndarray, key: str) -> np.ndarray:
        draws = [draw(f"{key}/{self.names[i]}") for i in pool]
        return pool[np.lexsort((np.array(draws, dtype=np.uint64), self.strata[pool]))]


def _deal(count: int, shares: np.ndarray, key: str) -> np.ndarray:
    """Return for each of `count` subjects in order the part that lags furthest behind its share."""
    # A start drawn from the seed: without it the first subject of all would always fall into the first part.
    lag = [(draw(f"start/{key}/{part}") / 2**64 - 0.5) / len(shares) for part in range(len(shares))]
    share = shares.tolist()
    dealt = np.empty(count, dtype=np.int64)
    for position in range(count):
        lag = [have + want for have, want in zip(lag, share, strict=True)]
        chosen = max(range(len(lag)), key=lag.__getitem__)
        lag[chosen] -= 1.0
        dealt[position] = chosen
    return dealt


def _refuse_shared(parts: Mapping[Part, np.ndarray], names: Sequence[str]) -> None:
    for i, first in enumerate(parts):
        for second in list(parts)[i + 1 :]:
            shared = np.intersect1d(parts[first], parts[second])
            if len(shared):
                raise UserError(
                    f"{len(shared)} subjects, such as {names[shared[0]]!r}, have rows in both {first} and "
                    f"{second}: the test would reward recognizing them; keep each subject's rows in one part, "
                    "or omit the split, and fairpress draws one."
                )
