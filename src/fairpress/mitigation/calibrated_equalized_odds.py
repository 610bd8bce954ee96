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
    """The calibration and mixing of one group's scores, with the statistics that they were fitted on.

    Attributes
    ----------
    values
        The group, as attribute → value.
    n, positives
        Numbers of its validation rows, and of the positive ones.
    slope, intercept
        Its `calibration.Curve`.
    cost, trivial_cost
        Its generalized cost on validation rows, and the cost if every row received the base rate as its score.
    mixing_rate
        Share of its rows whose score is replaced by the base rate.
    expected_cost
        Its expected cost after mixing.
    feasible
        Whether mixing can reach the cost of the costliest group.
    reason
        Why nothing could be fitted; its scores are then calibrated with the pooled curve, and it is left out of the mixing.
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
    """Equalizes a generalized cost by replacing the scores of some rows of the cheaper groups with the group's base rate.

    The costliest group is not mixed; every other group is made equally costly in expectation. The method equalizes means of
    scores, not rates at a threshold.
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
        """Return the mitigated scores [rows] float32, and whether each row is predicted positive [rows].

        Raises UserError for a group that was absent from the data when the mitigation was fitted.
        """
        repaired, uniform = scores.astype(np.float64), hash_uniform(self.seed, row_ids)
        fitted_groups = {tuple(g.values[name] for name in self.by): g for g in self.groups}
        for key, rows in group_rows(keys).items():
            if key not in fitted_groups:
                raise UserError(
                    f"the mitigation was fitted without the group {group_label(self.by, key)}; fit it again on data "
                    "that include this group."
                )
            group = fitted_groups[key]
            repaired[rows] = Curve(group.slope, group.intercept)(scores[rows])
            if group.mixing_rate:
                repaired[rows[uniform[rows] < group.mixing_rate]] = group.base_rate
        return repaired.astype(np.float32), repaired >= threshold

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
        group_scores = tuple(GroupScores(**g) for g in groups)
        return cls(tuple(raw["by"]), raw["cost"], raw["calibration"], int(raw["seed"]), group_scores)


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
    """Fit calibration curves and mixing rates on validation rows.

    Parameters
    ----------
    scores, labels
        [rows] probabilities of the positive class; 1 where the row is positive.
    keys, by
        The group of each row [rows], and the names of the attributes that form groups.
    calibration
        ``"platt"``: the scores of each group are first calibrated with a curve fitted to that group, or to all rows if the
        group has fewer than ten rows of either label (such a group is also left out of the mixing). ``"none"``: scores are
        used unchanged.
    expected
        Groups that may occur later; those without rows here are included with a `reason` and left unchanged.

    Raises
    ------
    UserError
        An unknown cost, or fewer than two groups with at least ten rows of each label.
    """
    if cost not in get_args(Cost):
        raise UserError(f"there is no cost {cost!r}." + did_you_mean(cost, get_args(Cost)))
    pooled_curve = fit_platt(scores, labels) if calibration == "platt" else None
    fitted_groups: list[GroupScores] = []
    rows = group_rows(keys)
    for key in sorted({*rows, *expected}):
        index = rows.get(key, np.array([], int))
        s, y = scores[index], labels[index]
        curve = (
            (fit_platt(s, y) if calibration == "platt" and not too_few_rows(y) else None)
            or pooled_curve
            or Curve()
        )
        group = GroupScores(
            dict(zip(by, key, strict=True)), len(index), int(y.sum()), curve.slope, curve.intercept
        )
        fitted_groups.append(_with_costs(group, curve(s), y, cost))
    if sum(not g.reason for g in fitted_groups) < 2:
        raise UserError(
            f"`by={'*'.join(by)!r}`: fewer than two groups have enough validation rows of each label; choose another "
            "attribute."
        )
    return CalibratedEqualizedOdds(tuple(by), cost, calibration, seed, tuple(mix_scores(fitted_groups)))


def generalized_cost(scores: np.ndarray, labels: np.ndarray, cost: Cost) -> float:
    """Return c⁻ = E[1 − s | y = 1] ("fnr"), c⁺ = E[s | y = 0] ("fpr"), or ½c⁺(1 − μ) + ½c⁻μ ("weighted")."""
    fpr, fnr = float(scores[labels == 0].mean()), float(1 - scores[labels == 1].mean())
    base_rate = float(labels.mean())
    return {"fnr": fnr, "fpr": fpr, "weighted": (fpr * (1 - base_rate) + fnr * base_rate) / 2}[cost]


def mixing_rate(cost: float, trivial_cost: float, target: float) -> tuple[float, bool]:
    """Return α = (target − cost) / (trivial_cost − cost) within [0, 1], and whether it reaches the target.

    Mixing can reach any cost between `cost` and `trivial_cost`. For a target beyond `trivial_cost` every score is replaced
    (α = 1) and the target is not reached; if the base rate costs no more than the scores do, mixing cannot help and α = 0.
    """
    if cost >= target:
        return 0.0, True
    if trivial_cost <= cost:
        return 0.0, False
    return min((target - cost) / (trivial_cost - cost), 1.0), target <= trivial_cost


def mix_scores(groups: Sequence[GroupScores]) -> list[GroupScores]:
    """Return the groups with mixing rates that raise their cost to the highest; groups with a reason are unchanged."""
    target = max(g.cost for g in groups if g.cost is not None)
    mixed = []
    for group in groups:
        if group.cost is not None and group.trivial_cost is not None:
            rate, feasible = mixing_rate(group.cost, group.trivial_cost, target)
            expected_cost = (1 - rate) * group.cost + rate * group.trivial_cost
            group = replace(group, mixing_rate=rate, expected_cost=expected_cost, feasible=feasible)
        mixed.append(group)
    return mixed


def _with_costs(group: GroupScores, scores: np.ndarray, labels: np.ndarray, cost: Cost) -> GroupScores:
    if reason := too_few_rows(labels):
        return replace(group, reason=reason)
    trivial = np.full(group.n, group.base_rate)
    return replace(
        group,
        cost=generalized_cost(scores, labels, cost),
        trivial_cost=generalized_cost(trivial, labels, cost),
    )
