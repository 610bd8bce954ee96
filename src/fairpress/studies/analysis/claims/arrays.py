"""The predictions of a claim's trials as arrays, and the terms whose sum is its quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fairpress.auditing.statistics.clustered_contrasts import clustered_products
from fairpress.auditing.statistics.max_contrasts import MaxContrasts, Term, gap_of_contrasts, plausible_orders
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_products
from fairpress.studies.config.claims import FLIPS, LOSSES, METRIC_LOSSES, OVERALL, Claim
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.planning.claim_trials import ClaimTrials, Trial

if TYPE_CHECKING:
    import pyarrow as pa

MIN_ROWS = 30
MAX_ORDERED = 5
PREDICTION_RATES = ("demographic_parity_difference", "predictive_equality_difference", "equal_opportunity_difference",
        "equalized_odds_difference", "average_odds_difference")  # fmt: skip
BY_LABEL = (*PREDICTION_RATES[1:], "pairwise_bias")


class NotEstimable(Exception):
    """The effect of a claim cannot be estimated; the message is the reason."""


class ClaimArrays:
    """The predictions of a claim's trials as 0/1 values [columns, seeds, rows], and the terms of its quantity."""

    def __init__(
        self, claim: Claim, trials: ClaimTrials, tables: Mapping[str, pa.Table], positive: str | None
    ) -> None:
        self.claim, self.trials, self.tables = claim, trials, tables
        self.needed = trials.needed()
        first = tables[next(iter(self.needed))]
        self.seeds = len(np.unique(first["seed"].to_numpy()))
        self.rows = first.num_rows // self.seeds
        self._first, self._positive = first, positive
        self.columns: list[Trial] = [(p, r) for p, recipes in self.needed.items() for r in recipes]
        self.names: tuple[str, ...] = ()
        self._column_of = {t: i for i, t in enumerate(self.columns)}
        self._candidates: dict[Trial, list[Floats]] = {}

    def terms(self, people: bool) -> tuple[CrossedProducts, list[Term], list[Term]]:
        """Return the sums of the values, and the terms of the effect and of the loss to recover.

        `people`: people have several rows and are the clusters.
        """
        self._check_alignment()
        quantity = self.claim.quantity
        if self._positive is None and (
            quantity in (*PREDICTION_RATES, "pairwise_bias") or self.claim.metric != "accuracy"
        ):
            raise NotEstimable("a task of several classes without a positive class has no such rate")
        cells, count = self._cells()
        values = np.stack([self._values(t) for t in self.columns])
        if people:
            subject = np.array(self._first["subject"].to_pylist()[: self.rows])
            sums = clustered_products(values, cells, subject, count)
            if sums is None:
                raise NotEstimable("people have rows in several groups or with several labels")
        else:
            sums = crossed_products(values, cells, count)
        if (sums.rows == 0).any():
            raise NotEstimable("a group has no rows of one of the labels")
        return sums, self._terms(self.trials.effect, count), self._terms(self.trials.lost, count)

    def units(self, theta: MaxContrasts) -> tuple[Floats, int]:
        """Return the effect of each pair of networks, and the number of pairs per seed.

        Networks are paired within each part if every part measures the same effect by itself: its weights are the same in
        all parts and sum to 0. Otherwise there is one pair per seed.
        """
        by_seed = theta.sums.seed_sums / theta.sums.rows[:, None, None]
        weights = theta.weights
        parts = [[self._column_of[(p, r)] for r in recipes] for p, recipes in self.needed.items()]
        part_effects = np.stack(
            [np.einsum("cm,cms->s", weights[:, columns], by_seed[:, columns]) for columns in parts]
        )
        if self._equal_weights() and all(self._paired(p) for p in self.needed):
            return np.asarray(part_effects * len(parts)).ravel(), len(parts)
        return np.asarray(part_effects.sum(axis=0)), 1

    def _equal_weights(self) -> bool:
        """Return whether the effect has the same recipes with the same weights in every part."""
        weights = [
            sorted((r, round(w, 9)) for (p, r), w in self.trials.effect.items() if p == part)
            for part in self.needed
        ]
        return all(part_weights == weights[0] for part_weights in weights)

    def _paired(self, part: str) -> bool:
        if self.claim.quantity in LOSSES and self.claim.against is None and self.claim.along is None:
            return True  # a loss is relative to the baseline of the same part
        return abs(sum(w for (p, _), w in self.trials.effect.items() if p == part)) < 1e-9

    def _check_alignment(self) -> None:
        """Check that all tables have the same rows and labels under every seed."""
        for table in self.tables.values():
            same = table.num_rows == self._first.num_rows and all(
                table[k].slice(0, self.rows).equals(self._first[k].slice(0, self.rows))
                for k in ("row_id", "label")
            )
            if not same:
                raise NotEstimable("its trials were not tested on the same rows")

    def _values(self, trial: Trial) -> Floats:
        """Return the 0/1 values of a trial on which the quantity is defined [seeds, rows]."""
        import pyarrow.compute as pc

        table, quantity = self.tables[trial[0]], self.claim.quantity
        predicted, label = table[trial[1]], table["label"]
        if quantity in PREDICTION_RATES or self.claim.metric == "fpr":
            values = pc.equal(predicted, self._positive)
        elif quantity in FLIPS:
            values = pc.not_equal(predicted, table[BASELINE])
        elif quantity == "lost_answers":
            values = pc.and_(pc.equal(table[BASELINE], label), pc.not_equal(predicted, label))
        else:
            values = pc.equal(predicted, label)
        return np.asarray(values.to_numpy(), float).reshape(self.seeds, self.rows)

    def _cells(self) -> tuple[np.ndarray, int]:
        """Return the cell of each row (−1: none) and the number of cells; sets `names` to the groups compared."""
        claim, quantity = self.claim, self.claim.quantity
        is_positive = self._labels()
        included = {"tpr": is_positive, "fpr": ~is_positive}.get(claim.metric, np.ones(self.rows, bool))
        if quantity in OVERALL or (quantity == "loss" and claim.group is None):
            return np.where(included, 0, -1), 1
        names, index = self._grouped()
        if quantity == "loss":
            return self._group_cells(names, index, included)
        groups = self._compared_groups(names, index, is_positive)
        self.names = tuple(names[i] for i in groups)
        if len(groups) < 2:
            raise NotEstimable("fewer than two groups have enough rows")
        position = np.full(len(names), -1)
        position[groups] = np.arange(len(groups))
        cell = position[index]
        if quantity in BY_LABEL:
            return np.where(cell < 0, -1, cell + np.where(is_positive, 0, len(groups))), 2 * len(groups)
        return np.where(included, cell, -1), len(groups)

    def _group_cells(
        self, names: list[str], index: np.ndarray, included: np.ndarray
    ) -> tuple[np.ndarray, int]:
        claim = self.claim
        assert claim.group is not None
        group = self._group_index(claim.group, names, index)
        self.names = (names[group],)
        cell = np.where(index == group, 0, -1)
        if claim.against_group == "rest":
            cell = np.where(index == group, 0, 1)
        elif claim.against_group is not None:
            other_group = self._group_index(claim.against_group, names, index)
            self.names = (names[group], names[other_group])
            cell = np.where(index == other_group, 1, cell)
        return np.where(included, cell, -1), 1 if claim.against_group is None else 2

    def _group_index(self, name: str, names: list[str], index: np.ndarray) -> int:
        if name == "smallest":
            groups = self._compared_groups(names, index, self._labels())
            if not groups:
                raise NotEstimable("no group has enough rows")
            return min(groups, key=lambda i: int((index == i).sum()))
        if name not in names:
            raise _no_group(name, names)
        return names.index(name)

    def _compared_groups(self, names: list[str], index: np.ndarray, is_positive: np.ndarray) -> list[int]:
        sizes = np.stack([np.bincount(index[is_positive == y], minlength=len(names)) for y in (True, False)])
        if self._positive is None:
            sizes = sizes.sum(axis=0, keepdims=True)
        requested = self.claim.groups
        if requested is not None:
            absent = [n for n in requested if n not in names]
            if absent:
                raise _no_group(absent[0], names)
            return [i for i, n in enumerate(names) if n in requested]
        return [i for i in range(len(names)) if sizes[:, i].min() >= MIN_ROWS]

    def _labels(self) -> np.ndarray:
        label = self._first["label"].slice(0, self.rows).to_pylist()
        return np.array([x == self._positive for x in label])

    def _grouped(self) -> tuple[list[str], np.ndarray]:
        columns = [self._first[a].slice(0, self.rows).to_pylist() for a in self.trials.by.split("*")]
        joined = np.array([", ".join(map(str, v)) for v in zip(*columns, strict=True)])
        names, index = np.unique(joined, return_inverse=True)
        return names.tolist(), index.reshape(-1)

    def _terms(self, weights: Mapping[Trial, float], cells: int) -> list[Term]:
        sign = -1.0 if self.claim.quantity == "worst_group_accuracy" else 1.0
        out = []
        for trial, weight in weights.items():
            if trial not in self._candidates:
                self._candidates[trial] = self._contrasts_of(trial, cells)
            out += [Term(sign * weight, c, trial[0], i) for i, c in enumerate(self._candidates[trial])]
        return out

    def _contrasts_of(self, trial: Trial, cells: int) -> list[Floats]:
        """Return the candidate contrasts of a trial's quantity, one set per summand."""
        quantity = self.claim.quantity
        unit = np.zeros((cells, cells, len(self.columns)))  # the rate of each cell
        column = self._column_of[trial]
        unit[np.arange(cells), np.arange(cells), column] = 1.0
        k = cells // 2
        if quantity in METRIC_LOSSES:
            base = np.zeros_like(unit)
            base[np.arange(cells), np.arange(cells), self._column_of[(trial[0], BASELINE)]] = 1.0
            # Positive is worse: fewer correct predictions, or more false positives.
            unit = unit - base if self.claim.metric == "fpr" else base - unit
        match quantity:
            case "accuracy" | "flips" | "lost_answers":
                return [unit]
            case "loss":
                return [unit if cells == 1 else unit[:1] - self.claim.times * unit[1:]]
            case "worst_group_loss" | "worst_group_flips":
                return [unit]
            case "worst_group_accuracy":
                return [-unit]
            case "accuracy_gap" | "demographic_parity_difference" | "loss_gap" | "flips_gap":
                return [gap_of_contrasts(unit)]
            case "equal_opportunity_difference":
                return [gap_of_contrasts(unit[:k])]
            case "predictive_equality_difference":
                return [gap_of_contrasts(unit[k:])]
            case "equalized_odds_difference":
                return [np.concatenate([gap_of_contrasts(unit[:k]), gap_of_contrasts(unit[k:])])]
            case "average_odds_difference":
                return [gap_of_contrasts(unit[:k]) / 2, gap_of_contrasts(unit[k:]) / 2]
            case "pairwise_bias":
                if k > MAX_ORDERED:
                    raise NotEstimable(
                        f"pairwise bias can order at most {MAX_ORDERED} groups; name fewer in `groups`"
                    )
                return [plausible_orders(unit[:k]), plausible_orders(unit[k:])]
        raise AssertionError(quantity)


def _no_group(name: str, names: Sequence[str]) -> NotEstimable:
    return NotEstimable(f"the data have no group {name!r}; their groups are {', '.join(names)}")
