"""A threshold per group (Hardt et al. 2016, arXiv 1610.02413), fitted with fairlearn's `ThresholdOptimizer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from fairpress.core.errors import MissingExtra, UserError, did_you_mean
from fairpress.datasets.grouping import Key, group_label, group_rows
from fairpress.mitigation.hash_uniform import hash_uniform
from fairpress.mitigation.platt import too_few_rows

Constraint = Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"]
# Constraint → its name in fairlearn.
FAIRLEARN_CONSTRAINTS: Mapping[Constraint, str] = {
    "demographic_parity": "demographic_parity",
    "equal_opportunity": "true_positive_rate_parity",
    "predictive_equality": "false_positive_rate_parity",
    "equalized_odds": "equalized_odds",
}


@dataclass(frozen=True)
class Rule:
    """Predicts positive with probability `weight` if the score is above (or below) the threshold."""

    weight: float
    above: bool
    threshold: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        probability: np.ndarray = self.weight * (
            scores > self.threshold if self.above else scores < self.threshold
        )
        return probability


@dataclass(frozen=True)
class GroupDecisions:
    """The decision rules of one group, with the numbers of rows that they were fitted on.

    Attributes
    ----------
    ignored, constant
        With probability `ignored` the score is ignored and positive is predicted with probability `constant`.
    rules
        Otherwise, up to two rules whose weights sum to 1. Empty if nothing could be fitted, for the given `reason`; the
        model's threshold then applies.
    """

    values: Mapping[str, str]
    n: int
    positives: int
    ignored: float = 0.0
    constant: float = 0.0
    rules: tuple[Rule, ...] = ()
    reason: str = ""

    def probability(self, scores: np.ndarray, threshold: float) -> np.ndarray:
        """Return the probability of a positive prediction for each score [rows]."""
        if not self.rules:
            return (scores >= threshold).astype(float)
        rule_probability = sum((rule(scores) for rule in self.rules), np.zeros(len(scores)))
        probability: np.ndarray = self.ignored * self.constant + (1 - self.ignored) * rule_probability
        return probability


@dataclass(frozen=True)
class GroupThresholds:
    """Thresholds per group, randomized between two where equal rates require it."""

    method: ClassVar[str] = "thresholds"

    by: tuple[str, ...]
    constraint: Constraint
    seed: int
    groups: tuple[GroupDecisions, ...]

    def apply(
        self, scores: np.ndarray, keys: Sequence[Key], row_ids: Sequence[str], threshold: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the unchanged scores [rows], and whether each row is predicted positive [rows].

        Raises UserError for a group that was absent from the data when the mitigation was fitted.
        """
        uniform, decided = hash_uniform(self.seed, row_ids), np.zeros(len(scores), bool)
        fitted_groups = {tuple(g.values[name] for name in self.by): g for g in self.groups}
        for key, rows in group_rows(keys).items():
            if key not in fitted_groups:
                raise UserError(
                    f"the mitigation was fitted without the group {group_label(self.by, key)}; fit it again on data "
                    "that include this group."
                )
            decided[rows] = uniform[rows] < fitted_groups[key].probability(
                scores[rows].astype(np.float64), threshold
            )
        return scores, decided

    def to_dict(self) -> dict[str, Any]:
        def written(group: GroupDecisions) -> dict[str, Any]:
            # JSON has no infinity, the threshold that no score, or every score, exceeds.
            rules = [{**asdict(r), "threshold": _finite(r.threshold)} for r in group.rules]
            return {**asdict(group), "rules": rules}

        return {
            "by": list(self.by),
            "constraint": self.constraint,
            "seed": self.seed,
            "groups": [written(g) for g in self.groups],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> GroupThresholds:
        def rules(group: Mapping[str, Any]) -> tuple[Rule, ...]:
            return tuple(Rule(r["weight"], r["above"], float(r["threshold"])) for r in group["rules"])

        groups = tuple(GroupDecisions(**{**g, "rules": rules(g)}) for g in raw["groups"])
        return cls(tuple(raw["by"]), raw["constraint"], int(raw["seed"]), groups)


def fit(
    scores: np.ndarray,
    labels: np.ndarray,
    keys: Sequence[Key],
    by: Sequence[str],
    *,
    constraint: Constraint = "equalized_odds",
    seed: int = 0,
    expected: Sequence[Key] = (),
) -> GroupThresholds:
    """Fit the most accurate decision rules whose rates are equal across groups on validation rows.

    Parameters are those of `calibrated_equalized_odds.fit`.

    Raises
    ------
    UserError
        An unknown constraint, or fewer than two groups with at least ten rows of each label.
    MissingExtra
        fairlearn is not installed.
    """
    if constraint not in FAIRLEARN_CONSTRAINTS:
        raise UserError(
            f"there is no constraint {constraint!r}." + did_you_mean(constraint, get_args(Constraint))
        )
    try:
        from fairlearn.postprocessing import ThresholdOptimizer
    except ImportError:
        raise MissingExtra("A threshold per group", "fairlearn") from None
    rows = group_rows(keys)
    fitted_keys = [key for key, index in rows.items() if not too_few_rows(labels[index])]
    if len(fitted_keys) < 2:
        raise UserError(
            f"`by={'*'.join(by)!r}`: fewer than two groups have enough validation rows of each label; choose another "
            "attribute."
        )
    used = np.concatenate([rows[key] for key in fitted_keys])
    codes = np.repeat(np.arange(len(fitted_keys)), [len(rows[key]) for key in fitted_keys])
    optimizer = ThresholdOptimizer(
        estimator=_identity(), constraints=FAIRLEARN_CONSTRAINTS[constraint], objective="accuracy_score", prefit=True,
        predict_method="predict",
    )  # fmt: skip
    optimizer.fit(scores[used].astype(np.float64).reshape(-1, 1), labels[used], sensitive_features=codes)
    interpolation = optimizer.interpolated_thresholder_.interpolation_dict
    groups = []
    for key in sorted({*rows, *expected}):
        index = rows.get(key, np.array([], int))
        n, positives = len(index), int(labels[index].sum())
        group = GroupDecisions(dict(zip(by, key, strict=True)), n, positives)
        if key in fitted_keys:
            groups.append(_read(group, interpolation[fitted_keys.index(key)]))
        else:
            groups.append(GroupDecisions(group.values, n, positives, reason=too_few_rows(labels[index])))
    return GroupThresholds(tuple(by), constraint, seed, tuple(groups))


def _identity() -> Any:
    """Return a fitted classifier, as fairlearn needs one, whose score is its input."""
    from sklearn.base import BaseEstimator

    class Scores(BaseEstimator):  # type: ignore[misc, unused-ignore]
        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, x: Any, y: Any) -> Scores:
            return self

        def predict(self, x: Any) -> np.ndarray:
            scores: np.ndarray = np.asarray(x)[:, 0]
            return scores

    return Scores()


def _read(group: GroupDecisions, interpolation: Any) -> GroupDecisions:
    rules = tuple(
        Rule(float(weight), operation.operator == ">", float(operation.threshold))
        for weight, operation in (
            (interpolation.p0, interpolation.operation0),
            (interpolation.p1, interpolation.operation1),
        )
        if weight
    )
    ignored, constant = (float(interpolation.get(name, 0.0)) for name in ("p_ignore", "prediction_constant"))
    return GroupDecisions(group.values, group.n, group.positives, ignored, constant, rules)


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)
