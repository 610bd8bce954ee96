"""Result types of an audit, which are rendered and written to audit.json ("fairpress.audit/1")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fairpress.auditing.class_result import ClassComparison
from fairpress.auditing.flip_results import CounterfactualPairs, MatchedFlips
from fairpress.auditing.measure import Measure, measure_of
from fairpress.auditing.outcome import AuditedOutcome
from fairpress.core.estimate import Estimate

Verdict = Literal["harm", "void", "loss", "inconclusive", "not_estimable", "no_harm"]
"""From worst to best; STATISTICS: a non-inferiority test per artifact at margin δ. ``void``: one of the models has nothing
to lose (`degenerate_models`); groups and losses of such a comparison are void where they would be ``no_harm``."""

Values = Mapping[str, str]
"""A group: attribute → value; ``{}`` is everybody. In JSON always an object, never a joined string."""


@dataclass(frozen=True)
class Margin:
    """The largest acceptable loss in one metric, fixed before looking, and the reason for it.

    `value` is a share of the people (0.02 is two percentage points); with `relative`, a share of the baseline's own error in
    the same group (0.05 is 5 % of it).
    """

    value: float
    relative: bool = False
    reason: str = ""


@dataclass(frozen=True)
class GroupRates:
    """One model in one group: counts (weighted where there are weights), rates, and score metrics where there are scores."""

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

    `runtime` and `threshold` produced the predictions, where known. `degenerate` is a sentence if the model predicts one
    class only or nearly so, guesses, or if some of the networks of several seeds predict one class only. `digest` is that
    of the model folder that produced the predictions, where the table records it.
    """

    name: str
    overall: GroupRates
    groups: tuple[GroupRates, ...]
    runtime: str | None = None
    threshold: float | None = None
    degenerate: str | None = None
    digest: str | None = None


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

    `p_mcnemar` is the exact two-sided test of right→wrong against wrong→right; the verdict depends on the interval instead.
    None where rows are weighted, repeated or predicted by several seeds.
    """

    n: float
    right_to_wrong: float
    wrong_to_right: float
    wrong_to_wrong: float = 0.0
    p_mcnemar: float | None = None


@dataclass(frozen=True)
class SeedNoise:
    """Training noise of a loss: its variation over seeds on these rows, without inference about other people.

    Attributes
    ----------
    estimate
        Mean over seeds with its t interval; ``n`` is the number of seeds, ``p`` the two-sided sign-flip test of 0, and
        ``p_adjusted`` the same within the family.
    smallest_p
        The smallest p-value that S seeds can attain, 2/2^S.
    undecidable
        Whether even unanimous seeds could not reach 1 − confidence after adjustment.
    effect
        Hedges' g_z, the mean over the standard deviation of the seeds.
    """

    estimate: Estimate
    smallest_p: float
    undecidable: bool
    effect: Estimate


@dataclass(frozen=True)
class RowsToDecide:
    """What more rows would do: the chance that the present rows and `more` new ones decide (predictive assurance).

    `no_harm` and `loss` are the parts of the chance `decided` with "no harm" and with "some loss" or "harm". `more` is None
    if no number of rows up to `limit` reaches the requested chance; the chances are then those at the limit. `seeds` is the
    number of additional training seeds where rows alone cannot decide.
    """

    more: int | None
    decided: float
    no_harm: float
    loss: float
    limit: int
    seeds: int | None = None


@dataclass(frozen=True)
class Loss:
    """The loss of a group in one metric; positive is worse.

    Attributes
    ----------
    metric
        ``"accuracy"`` (−Δ), ``"tpr"`` (−Δ) or ``"fpr"`` (+Δ).
    estimate
        ℓ with its two-sided interval; ``n`` is the metric's own denominator; ``p`` and ``p_adjusted``
        test ℓ ≤ 0 (Holm over the artifact's family).
    upper
        One-sided upper bound (unadjusted) that inverts the tests of the verdict: "no harm" exactly when below the margin.
    p_harm_adjusted
        Adjusted p-value of ℓ ≤ margin.
    verdict
        The verdict for this group in this metric.
    margin
        The margin of this metric in this group.
    assessed
        Whether the group has enough rows in this metric's denominator, which was decided before any prediction was looked
        at.
    excess
        E = ℓ of this group − ℓ of the rest, with its two-sided interval; ``p_adjusted`` tests E ≤ 0.
    rows_to_decide
        What more rows would do; ``None`` if the verdict is settled.
    seeds
        Training noise, where runs are stacked.
    outcome_measure
        What the loss is measured in, of an outcome that is not a class (`measure` has it in any case).
    levels
        The levels of such an outcome under the baseline and under the compressed model.
    """

    metric: str
    estimate: Estimate
    upper: float | None
    p_harm_adjusted: float | None
    verdict: Verdict
    margin: float
    assessed: bool
    excess: Estimate | None = None
    rows_to_decide: RowsToDecide | None = None
    seeds: SeedNoise | None = None
    outcome_measure: Measure | None = None
    levels: tuple[Estimate, Estimate] | None = None

    @property
    def measure(self) -> Measure:
        """What the loss is measured in, and its words."""
        return self.outcome_measure or measure_of(self.metric)


@dataclass(frozen=True)
class GroupComparison:
    """One group under the compressed model and the baseline, on the same rows.

    `changes` is compressed − baseline of every rate; `losses` the judged ones, that of the deciding metric first.
    `class_losses` are those of the recall of every class, where it is judged.
    """

    values: Values
    n: float
    verdict: Verdict
    changes: Mapping[str, Estimate]
    losses: tuple[Loss, ...]
    flips: Flips
    sentence: str = ""
    class_losses: tuple[Loss, ...] = ()


@dataclass(frozen=True)
class Pool:
    """Groups of one attribute with too few rows in one metric, judged together because alone they cannot be assessed.

    A group that is small compared with its pool can lose without moving it, so the members are always named.
    """

    attribute: str
    members: tuple[Values, ...]
    loss: Loss


@dataclass(frozen=True)
class LossBounds:
    """What is ruled out and what is shown in one metric, over all assessed groups and pools of every attribute.

    Attributes
    ----------
    metric, margin
        The metric and its margin.
    upper, upper_group
        X: with the audit's confidence no assessed group loses more. The largest of the groups' upper bounds, and whose it
        is; no correction is owed, because the group that truly loses most is one group (intersection–union test). A smaller
        group counts where its loss is shown. None if no group was assessed. A comparison has no harm in this metric exactly
        when X is below the margin.
    lower, lower_group
        Y: some group loses at least this much, the largest lower bound that is simultaneous over all groups, among losses
        that are shown; None where there is none.
    largest, largest_group
        The largest estimated loss of an assessed group or pool, or of a smaller group whose loss is shown.
    cleared
        Share of the people for whom, in every audited attribute, a loss of their group above the margin is ruled out.
    outcome_measure
        As in `Loss`.
    """

    metric: str
    margin: Margin
    upper: float | None
    upper_group: Values | Pool | None
    lower: float | None
    lower_group: Values | None
    largest: Estimate | None
    largest_group: Values | Pool | None
    cleared: float
    outcome_measure: Measure | None = None

    @property
    def measure(self) -> Measure:
        """What the losses are measured in, and their words."""
        return self.outcome_measure or measure_of(self.metric)


@dataclass(frozen=True)
class AttributeComparison:
    """All groups of one attribute. `worst_group` has the largest estimated loss in the deciding metric among assessed
    groups.

    `pools` holds the small groups that are judged together, one pool per metric at most. `moves` are sentences on what
    moved in each gap whose change is shown; `cannot_show` says, for nearly equal groups, which changes of gaps these rows
    cannot show.
    """

    attribute: str
    verdict: Verdict
    worst_group: Values | None
    groups: tuple[GroupComparison, ...]
    gap_changes: Mapping[str, Estimate] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()
    moves: tuple[str, ...] = ()
    cannot_show: str = ""


@dataclass(frozen=True)
class PairChange:
    """Two groups fixed beforehand: the difference first − second of each rate, before, after, and its change.

    The change is the difference in differences. `chosen` records how the pair was fixed: by the user, or on validation rows.
    """

    attribute: str
    first: Values
    second: Values
    chosen: str
    before: Mapping[str, Estimate]
    after: Mapping[str, Estimate]
    changes: Mapping[str, Estimate]


@dataclass(frozen=True)
class GroupExemplars:
    """Compression-identified exemplars of a group: rows whose modal class differs between two populations of models.

    Attributes
    ----------
    share
        Share of rows whose modal class differs between all baselines and all compressed models; its interval is over rows.
        `tied` is the share whose modal class is a tie in either population, which are not exemplars.
    expected
        The share between two halves of the baselines, the effect of retraining alone.
    excess
        The share between a half of the baselines and the other half's compressed models, minus `expected`; its interval is
        over rows and seeds.
    """

    values: Values
    n: float
    share: Estimate
    tied: float
    expected: Estimate
    excess: Estimate


@dataclass(frozen=True)
class Exemplars:
    """Exemplars of all rows and of each group; `reason` is given if there are none (too few models)."""

    models: int
    half: int
    groups: tuple[GroupExemplars, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """One compressed model against the baseline.

    `disparate` is True when some adjusted lower bound of an excess loss is above 0; None when no excess can be estimated.
    `matched_flips` has the flips by group among predictions as close to call, where the baseline has scores;
    `counterfactual` the pairs of rows of one template, where requested. Each has an entry per attribute.
    `headline` says what is ruled out, for whom, what is shown, and who was not assessed; `bounds` has its numbers, one
    entry per metric, that of the deciding metric first. `pairs` holds the requested fixed pairs; `exemplars` is None unless
    runs are stacked. `void` is the reason if the comparison is meaningless; the verdict is then ``void``, or ``harm`` if a
    harm is demonstrated nevertheless. `classes` has the rates of every class, where their recall is judged.
    """

    compressed: str
    verdict: Verdict
    disparate: bool | None
    headline: str
    overall: GroupComparison
    attributes: tuple[AttributeComparison, ...]
    bounds: tuple[LossBounds, ...] = ()
    pairs: tuple[PairChange, ...] = ()
    exemplars: Exemplars | None = None
    void: str | None = None
    matched_flips: tuple[MatchedFlips, ...] = ()
    counterfactual: tuple[CounterfactualPairs, ...] = ()
    classes: ClassComparison | None = None


@dataclass(frozen=True)
class PolicyRecord:
    """The policy that an audit followed: its content, the sha256 of its canonical JSON, and who signed it on which day.

    That a policy was written before looking cannot be shown; its digest and date can.
    """

    content: Mapping[str, object]
    digest: str
    signed_by: str
    date: str


@dataclass(frozen=True)
class Audit:
    """A whole audit. `comparisons` is empty when there is no compressed model.

    `metrics` are the judged ones, first the one that decides (`harm`); `margins` has the margin of each, `margin` that of
    the deciding one; `min_rows` the rows of each metric's denominator that a group needs to be assessed. `correction`
    (``"westfall-young"``, ``"holm"``, ``"bh"``, ``"by"``) adjusts p-values over a `family`: the groups × metrics ×
    attributes of each ``"artifact"``, or of all artifacts of the ``"study"``; all rows together count as one group.
    `positive_from` records how the positive class was chosen: ``"option"``, ``"table"`` (its metadata), ``"name"`` (such as
    yes), ``"order"`` (last of two in the alphabet). `policy` is the signed policy, if there is one. `warnings`
    must be read before any verdict, and precede it in every output. `outcome` is what is judged instead of a class; losses,
    margins and levels are then in its unit, `flips` count rows whose value became worse (``right_to_wrong``) and better
    (``wrong_to_right``), and `min_rows` counts people where rows repeat.
    """

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
    margins: Mapping[str, Margin]
    min_rows: Mapping[str, int]
    models: tuple[ModelResult, ...]
    fairness: tuple[Fairness, ...]
    comparisons: tuple[Comparison, ...]
    classes: tuple[str, ...] = ()
    weight: str | None = None
    correction: str = "westfall-young"
    family: str = "artifact"
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    positive_from: Literal["option", "table", "name", "order"] | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    policy: PolicyRecord | None = None
    outcome: AuditedOutcome | None = None

    def measure(self, metric: str) -> Measure:
        """Return what the losses in a metric are measured in, and their words."""
        return measure_of(metric) if self.outcome is None else self.outcome.measures[metric]
