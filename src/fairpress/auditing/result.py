"""The audit as a value: what is estimated, judged, rendered and written to audit.json ("fairpress.audit/1")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fairpress.core.estimate import Estimate

Verdict = Literal["harm", "loss", "inconclusive", "not_estimable", "no_harm"]
"""From worst to best; STATISTICS: a non-inferiority test per artifact at margin δ."""

Values = Mapping[str, str]
"""A group: attribute → value; ``{}`` is everybody. In JSON always an object, never a joined string."""


@dataclass(frozen=True)
class GroupRates:
    """One model in one group: counts (weighted where there are weights) and rates."""

    values: Values
    n: float
    rates: Mapping[str, Estimate]
    tp: float | None = None
    fp: float | None = None
    tn: float | None = None
    fn: float | None = None


@dataclass(frozen=True)
class ModelResult:
    """One model: everybody, then each group of each audited attribute.

    `degenerate` holds the sentence that says so when the model predicts one class only.
    """

    name: str
    overall: GroupRates
    groups: tuple[GroupRates, ...]
    runtime: str | None = None
    threshold: float | None = None
    degenerate: str | None = None


@dataclass(frozen=True)
class Fairness:
    """One fairness metric of one model over the groups of one attribute (``"sex"`` or ``"sex*race"``)."""

    model: str
    attribute: str
    metric: str
    estimate: Estimate


@dataclass(frozen=True)
class Flips:
    """Rows of a group whose prediction changed (a mean over seeds where there are several).

    `p_mcnemar` is the exact two-sided test of right→wrong against wrong→right; the interval decides, not it.
    None where rows are weighted, repeated or predicted by several seeds.
    """

    n: float
    right_to_wrong: float
    wrong_to_right: float
    wrong_to_wrong: float = 0.0
    p_mcnemar: float | None = None


@dataclass(frozen=True)
class Loss:
    """What a group lost in one metric, oriented so that positive = worse.

    Attributes
    ----------
    metric
        ``"accuracy"`` (−Δ), ``"tpr"`` (−Δ) or ``"fpr"`` (+Δ).
    estimate
        ℓ with its two-sided interval; ``n`` is the metric's own denominator; ``p`` and ``p_adjusted``
        test ℓ ≤ 0 (Holm over the artifact's family).
    upper
        One-sided upper bound (unadjusted): "no harm" when below the margin.
    p_harm_adjusted
        Holm-adjusted p-value of ℓ ≤ margin.
    verdict
        The verdict for this group in this metric.
    excess
        E = ℓ of this group − ℓ of the rest, with its two-sided interval; ``p_adjusted`` tests E ≤ 0.
    rows_needed
        Rows of this group (in the metric's denominator) that would decide, at the flip rate seen and
        90 % power; ``None`` when decided already.
    """

    metric: str
    estimate: Estimate
    upper: float | None
    p_harm_adjusted: float | None
    verdict: Verdict
    excess: Estimate | None = None
    rows_needed: int | None = None


@dataclass(frozen=True)
class GroupComparison:
    """One group, compressed against baseline, on the same rows.

    `changes` is compressed − baseline of every rate; `losses` the judged ones.
    """

    values: Values
    n: float
    verdict: Verdict
    changes: Mapping[str, Estimate]
    losses: tuple[Loss, ...]
    flips: Flips
    rows_needed: int | None = None
    sentence: str = ""


@dataclass(frozen=True)
class AttributeComparison:
    """All groups of one attribute. `worst_group` has the largest estimated loss among estimable groups."""

    attribute: str
    verdict: Verdict
    worst_group: Values | None
    groups: tuple[GroupComparison, ...]
    gap_changes: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One compressed model against the baseline.

    `disparate` is True when some adjusted lower bound of an excess loss is above 0; None when no
    excess can be estimated. `headline` lists how many groups are where and names those with too few rows.
    """

    compressed: str
    verdict: Verdict
    disparate: bool | None
    headline: str
    overall: GroupComparison
    attributes: tuple[AttributeComparison, ...]


@dataclass(frozen=True)
class Audit:
    """A whole audit. `comparisons` is empty when there is no compressed model."""

    rows: int
    subjects: int | None
    seeds: int | None
    baseline: str
    margin: float
    confidence: float
    label: str
    positive: str | None
    attributes: tuple[str, ...]
    metrics: tuple[str, ...]
    models: tuple[ModelResult, ...]
    fairness: tuple[Fairness, ...]
    comparisons: tuple[Comparison, ...]
    classes: tuple[str, ...] = ()
    weight: str | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
