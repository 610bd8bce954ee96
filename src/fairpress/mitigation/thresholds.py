"""A threshold per group (Hardt et al. 2016, arXiv 1610.02413), found by fairlearn's `ThresholdOptimizer`."""

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
# fairlearn's words for the same.
THEIRS: Mapping[Constraint, str] = {
    "demographic_parity": "demographic_parity",
    "equal_opportunity": "true_positive_rate_parity",
    "predictive_equality": "false_positive_rate_parity",
    "equalized_odds": "equalized_odds",
}


@dataclass(frozen=True)
class Rule:
    """Decides positive with probability `weight`, where the score is above (or below) the threshold."""

    weight: float
    above: bool
    threshold: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.weight * (scores > self.threshold if self.above else scores < self.threshold)
        return found


@dataclass(frozen=True)
class GroupDecisions:
    """How one group is decided, and what it was fitted on.

    Attributes
    ----------
    ignored, constant
        With probability `ignored` the score is not looked at, and positive is decided with probability `constant`.
    rules
        Two rules whose weights add up to 1, otherwise; empty where nothing could be fitted, for `reason`: the model's own
        threshold then decides.
    """

    values: Mapping[str, str]
    n: int
    positives: int
    ignored: float = 0.0
    constant: float = 0.0
    rules: tuple[Rule, ...] = ()
    reason: str = ""

    def probability(self, scores: np.ndarray, threshold: float) -> np.ndarray:
        """Return the probability with which each score [rows] is decided positive."""
        if not self.rules:
            return (scores >= threshold).astype(float)
        ruled = sum((rule(scores) for rule in self.rules), np.zeros(len(scores)))
        found: np.ndarray = self.ignored * self.constant + (1 - self.ignored) * ruled
        return found


@dataclass(frozen=True)
class GroupThresholds:
    """Each group is decided by thresholds of its own, mixed by a coin where that is what equality takes."""

    method: ClassVar[str] = "thresholds"

    by: tuple[str, ...]
    constraint: Constraint
    seed: int
    groups: tuple[GroupDecisions, ...]

    def apply(
        self, scores: np.ndarray, keys: Sequence[Key], row_ids: Sequence[str], threshold: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores [rows] as they are, and whether each row is decided positive [rows].

        Raises UserError for a group that the data did not have when this was fitted.
        """
        drawn, decided = hash_uniform(self.seed, row_ids), np.zeros(len(scores), bool)
        known = {tuple(g.values[name] for name in self.by): g for g in self.groups}
        for key, rows in group_rows(keys).items():
            if key not in known:
                raise UserError(
                    f"the mitigation knows no group {group_label(self.by, key)}; fit it again on data that have it."
                )
            decided[rows] = drawn[rows] < known[key].probability(scores[rows].astype(np.float64), threshold)
        return scores, decided

    def to_dict(self) -> dict[str, Any]:
        def written(group: GroupDecisions) -> dict[str, Any]:
            # JSON has no infinity: a threshold that nobody, or everybody, is above.
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
    """Fit on validation rows: the most accurate of the decisions whose rates are equal there.

    Parameters are those of `calibrated_equalized_odds.fit`.

    Raises
    ------
    UserError
        An unknown constraint, or fewer than two groups with ten rows of either label.
    MissingExtra
        fairlearn is not installed.
    """
    if constraint not in THEIRS:
        raise UserError(
            f"there is no constraint {constraint!r}." + did_you_mean(constraint, get_args(Constraint))
        )
    try:
        from fairlearn.postprocessing import ThresholdOptimizer
    except ImportError:
        raise MissingExtra("A threshold per group", "fairlearn") from None
    rows = group_rows(keys)
    fitting = [key for key, own in rows.items() if not too_few_rows(labels[own])]
    if len(fitting) < 2:
        raise UserError(
            f"by {'*'.join(by)}: fewer than two groups have enough validation rows of either label; take another attribute."
        )
    used = np.concatenate([rows[key] for key in fitting])
    codes = np.repeat(np.arange(len(fitting)), [len(rows[key]) for key in fitting])
    optimizer = ThresholdOptimizer(
        estimator=_identity(), constraints=THEIRS[constraint], objective="accuracy_score", prefit=True,
        predict_method="predict",
    )  # fmt: skip
    optimizer.fit(scores[used].astype(np.float64).reshape(-1, 1), labels[used], sensitive_features=codes)
    found = optimizer.interpolated_thresholder_.interpolation_dict
    groups = []
    for key in sorted({*rows, *expected}):
        own = rows.get(key, np.array([], int))
        n, positives = len(own), int(labels[own].sum())
        group = GroupDecisions(dict(zip(by, key, strict=True)), n, positives)
        if key in fitting:
            groups.append(_read(group, found[fitting.index(key)]))
        else:
            groups.append(GroupDecisions(group.values, n, positives, reason=too_few_rows(labels[own])))
    return GroupThresholds(tuple(by), constraint, seed, tuple(groups))


def _identity() -> Any:
    """Return what fairlearn takes for a fitted classifier: its score is its input."""
    from sklearn.base import BaseEstimator

    class Scores(BaseEstimator):  # type: ignore[misc, unused-ignore]
        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, x: Any, y: Any) -> Scores:
            return self

        def predict(self, x: Any) -> np.ndarray:
            found: np.ndarray = np.asarray(x)[:, 0]
            return found

    return Scores()


def _read(group: GroupDecisions, theirs: Any) -> GroupDecisions:
    rules = tuple(
        Rule(float(weight), operation.operator == ">", float(operation.threshold))
        for weight, operation in ((theirs.p0, theirs.operation0), (theirs.p1, theirs.operation1))
        if weight
    )
    ignored, constant = (float(theirs.get(name, 0.0)) for name in ("p_ignore", "prediction_constant"))
    return GroupDecisions(group.values, group.n, group.positives, ignored, constant, rules)


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)
