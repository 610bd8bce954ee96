"""Calibrated Equalized Odds (Pleiss et al. 2017, On fairness and calibration, arXiv 1709.02012), for K groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.grouping import Key, group_label, group_rows
from fairpress.mitigation.hash_uniform import hash_uniform
from fairpress.mitigation.platt import Curve, fit_platt, too_few_rows

Cost = Literal["fnr", "fpr", "weighted"]
Calibration = Literal["platt", "none"]


@dataclass(frozen=True)
class GroupScores:
    """What is done to the scores of one group, and what it was fitted on.

    Attributes
    ----------
    values
        The group, as attribute → value.
    n, positives
        Its validation rows.
    slope, intercept
        Its `calibration.Curve`.
    cost, trivial_cost
        Its generalized cost on validation rows, and that of giving everybody the base rate.
    mixing_rate
        Share of its rows that are given the base rate.
    expected_cost
        What the cost is then, on average over the coin.
    feasible
        Whether it reaches the cost of the costliest group.
    reason
        Why nothing could be fitted: its scores are then calibrated with everybody's curve, and it plays no other part.
    """

    values: Mapping[str, str]
    n: int
    positives: int
    slope: float = 1.0
    intercept: float = 0.0
    cost: float | None = None
    trivial_cost: float | None = None
    mixing_rate: float = 0.0
    expected_cost: float | None = None
    feasible: bool = True
    reason: str = ""

    @property
    def base_rate(self) -> float | None:
        return self.positives / self.n if self.n else None


@dataclass(frozen=True)
class CalibratedEqualizedOdds:
    """Gives a share of the cheaper groups' rows their base rate as score, so that one generalized cost is equal.

    The costliest group is left alone; every other one is made as costly on average. It equalizes a mean of scores, not
    rates at a threshold.
    """

    method: ClassVar[str] = "calibrated-equalized-odds"

    by: tuple[str, ...]
    cost: Cost
    calibration: Calibration
    seed: int
    groups: tuple[GroupScores, ...]

    @property
    def feasible(self) -> bool:
        return all(g.feasible for g in self.groups)

    def apply(
        self, scores: np.ndarray, keys: Sequence[Key], row_ids: Sequence[str], threshold: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the repaired scores [rows] float32, and whether each row is decided positive [rows].

        Raises UserError for a group that the data did not have when this was fitted.
        """
        out, drawn = scores.astype(np.float64), hash_uniform(self.seed, row_ids)
        known = {tuple(g.values[name] for name in self.by): g for g in self.groups}
        for key, rows in group_rows(keys).items():
            if key not in known:
                raise UserError(
                    f"the mitigation knows no group {group_label(self.by, key)}; fit it again on data that have it."
                )
            group = known[key]
            out[rows] = Curve(group.slope, group.intercept)(scores[rows])
            if group.mixing_rate:
                out[rows[drawn[rows] < group.mixing_rate]] = group.base_rate
        return out.astype(np.float32), out >= threshold

    def to_dict(self) -> dict[str, Any]:
        return {
            "by": list(self.by),
            "cost": self.cost,
            "calibration": self.calibration,
            "seed": self.seed,
            "feasible": self.feasible,
            "groups": [{**asdict(g), "base_rate": g.base_rate} for g in self.groups],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CalibratedEqualizedOdds:
        groups = [{k: v for k, v in g.items() if k != "base_rate"} for g in raw["groups"]]
        own = tuple(GroupScores(**g) for g in groups)
        return cls(tuple(raw["by"]), raw["cost"], raw["calibration"], int(raw["seed"]), own)


def fit(
    scores: np.ndarray,
    labels: np.ndarray,
    keys: Sequence[Key],
    by: Sequence[str],
    *,
    cost: Cost = "weighted",
    calibration: Calibration = "platt",
    seed: int = 0,
    expected: Sequence[Key] = (),
) -> CalibratedEqualizedOdds:
    """Fit on validation rows.

    Parameters
    ----------
    scores, labels
        [rows] probabilities of the positive class; 1 where the row is positive.
    keys, by
        [rows] each row's group; the names of its attributes.
    calibration
        ``"platt"``: each group's scores are calibrated first, by a curve of its own, or by one for all rows where it
        has fewer than ten rows of either label (such a group is also left out of the mixing). ``"none"``: scores are taken
        as they are.
    expected
        Groups that may come later; those without rows here are left alone, and said to be.

    Raises
    ------
    UserError
        An unknown cost, or fewer than two groups with ten rows of either label.
    """
    if cost not in get_args(Cost):
        raise UserError(f"there is no cost {cost!r}." + did_you_mean(cost, get_args(Cost)))
    pooled = fit_platt(scores, labels) if calibration == "platt" else None
    found: list[GroupScores] = []
    rows = group_rows(keys)
    for key in sorted({*rows, *expected}):
        own = rows.get(key, np.array([], int))
        s, y = scores[own], labels[own]
        curve = (
            (fit_platt(s, y) if calibration == "platt" and not too_few_rows(y) else None) or pooled or Curve()
        )
        group = GroupScores(
            dict(zip(by, key, strict=True)), len(own), int(y.sum()), curve.slope, curve.intercept
        )
        found.append(_with_costs(group, curve(s), y, cost))
    if sum(not g.reason for g in found) < 2:
        raise UserError(
            f"by {'*'.join(by)}: fewer than two groups have enough validation rows of either label; take another attribute."
        )
    return CalibratedEqualizedOdds(tuple(by), cost, calibration, seed, tuple(mix_scores(found)))


def generalized_cost(scores: np.ndarray, labels: np.ndarray, cost: Cost) -> float:
    """Return c⁻ = E[1 − s | y = 1] ("fnr"), c⁺ = E[s | y = 0] ("fpr"), or ½c⁺(1 − μ) + ½c⁻μ ("weighted")."""
    fpr, fnr = float(scores[labels == 0].mean()), float(1 - scores[labels == 1].mean())
    base_rate = float(labels.mean())
    return {"fnr": fnr, "fpr": fpr, "weighted": (fpr * (1 - base_rate) + fnr * base_rate) / 2}[cost]


def mixing_rate(own: float, trivial: float, target: float) -> tuple[float, bool]:
    """Return α = (target − own) / (trivial − own) within [0, 1], and whether it reaches the target.

    Between `own` and `trivial` lies all that mixing can reach. A target beyond takes everybody's score away (α = 1)
    and is not reached; where the base rate costs no more than the scores do, nothing is gained by it and α = 0.
    """
    if own >= target:
        return 0.0, True
    if trivial <= own:
        return 0.0, False
    return min((target - own) / (trivial - own), 1.0), target <= trivial


def mix_scores(groups: Sequence[GroupScores]) -> list[GroupScores]:
    """Return the groups with their mixing rates toward the costliest of them; those with a reason stay as they are."""
    target = max(g.cost for g in groups if g.cost is not None)
    out = []
    for group in groups:
        if group.cost is not None and group.trivial_cost is not None:
            rate, feasible = mixing_rate(group.cost, group.trivial_cost, target)
            after = (1 - rate) * group.cost + rate * group.trivial_cost
            group = replace(group, mixing_rate=rate, expected_cost=after, feasible=feasible)
        out.append(group)
    return out


def _with_costs(group: GroupScores, scores: np.ndarray, labels: np.ndarray, cost: Cost) -> GroupScores:
    if reason := too_few_rows(labels):
        return replace(group, reason=reason)
    trivial = np.full(group.n, group.base_rate)
    return replace(
        group,
        cost=generalized_cost(scores, labels, cost),
        trivial_cost=generalized_cost(trivial, labels, cost),
    )
