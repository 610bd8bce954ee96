"""Sentences and number formats that all reports share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fairpress.auditing.audit import group_name
from fairpress.auditing.inference.score_metrics import SCORE_METRICS
from fairpress.auditing.result import (
    AttributeComparison,
    Audit,
    Comparison,
    Exemplars,
    GroupComparison,
    Loss,
    Verdict,
)
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import MIN_ROWS_FOR_ADVICE
from fairpress.core.estimate import Estimate

WORD: dict[Verdict, str] = {
    "harm": "harm",
    "void": "void",
    "loss": "loss",
    "inconclusive": "inconclusive",
    "not_estimable": "not assessed",
    "no_harm": "no harm",
}
SYMBOL: dict[Verdict, str] = {
    "harm": "✖",
    "void": "∅",
    "loss": "▼",
    "inconclusive": "?",
    "not_estimable": "–",
    "no_harm": "✔",
}
MAX_ROWS = 1000
CLIPPED = "An interval that extends beyond the frame belongs to a group that was not assessed (too few rows)."
METRIC = {
    "accuracy": "accuracy",
    "tpr": "true positive rate",
    "fpr": "false positive rate",
    "tnr": "true negative rate",
    "fnr": "false negative rate",
    "ppv": "positive predictive value",
    "npv": "negative predictive value",
    "balanced_accuracy": "balanced accuracy",
    "selection_rate": "selection rate",
    "auc": "area under the ROC curve",
    "log_loss": "log loss",
    "calibration_error": "expected calibration error",
    "generalized_fpr": "generalized false positive rate",
    "generalized_fnr": "generalized false negative rate",
    "demographic_parity_difference": "demographic parity difference",
    "disparate_impact": "disparate impact (min/max)",
    "equal_opportunity_difference": "equal opportunity difference (TPR gap)",
    "predictive_equality_difference": "predictive equality difference (FPR gap)",
    "equalized_odds_difference": "equalized odds difference",
    "average_odds_difference": "average odds difference",
    "accuracy_gap": "accuracy gap",
    "worst_group_accuracy": "worst-group accuracy",
    "pairwise_bias": "pairwise bias (sum over pairs)",
    "pairwise_bias_mean": "pairwise bias (mean per pair)",
}


def meaning(comparison: Comparison, audit: Audit) -> str:
    """Return what a verdict means and what to do."""
    points = f"{100 * audit.margin:g} points"
    return {
        "harm": f"A loss of more than {points} is demonstrated. Do not ship this model as it is; compress less or mitigate.",
        "void": "The audit shows nothing about this model: first fix the models or the choice of the positive class.",
        "loss": f"A loss is demonstrated, but not whether it is more than {points}. Gather rows, or compress less.",
        "inconclusive": f"A loss of more than {points} is neither demonstrated nor ruled out. Gather rows or compress less.",
        "not_estimable": "Too few rows in every group: no verdict about fairness.",
        "no_harm": f"In every group that could be assessed, a loss of more than {points} is ruled out."
        + (
            " The other groups were not assessed: do not report this model as harmless for them."
            if unassessed(comparison)
            else ""
        ),
    }[comparison.verdict]


def unassessed(comparison: Comparison) -> list[GroupComparison]:
    """Return the groups that could not be assessed."""
    return [g for a in comparison.attributes for g in a.groups if g.verdict == "not_estimable"]


def tone(comparison: Comparison) -> Verdict:
    """Return the verdict that sets the colour of a comparison: not green if groups were not assessed, and red for void."""
    if comparison.verdict == "void":
        return "harm"
    return (
        "inconclusive" if comparison.verdict == "no_harm" and unassessed(comparison) else comparison.verdict
    )


def verdict(comparison: Comparison) -> str:
    """Format a verdict with its sign; "no harm" counts the assessed groups if some were not assessed."""
    groups = sum(len(a.groups) for a in comparison.attributes)
    return verdict_of(comparison.verdict, len(unassessed(comparison)), groups)


def verdict_of(verdict: Verdict, lacking: int, groups: int) -> str:
    """Format the verdict of an artifact, `lacking` of whose `groups` were not assessed."""
    if verdict == "no_harm" and lacking:
        return f"{SYMBOL['inconclusive']} no harm in {groups - lacking} of {groups} groups"
    return f"{SYMBOL[verdict]} {WORD[verdict]}"


def positive(audit: Audit) -> str:
    """Return a sentence on the positive class and how it was chosen; empty without a positive class."""
    if audit.positive is None:
        return ""
    p = audit.positive
    differently = f"choose differently with --positive{_other(audit)}."
    how = {
        "name": f" It was chosen by its name; {differently}",
        "order": f" It was chosen as the last of two in alphabetical order; {differently}",
    }.get(audit.positive_from or "", "")
    return (
        f"Positive class: {p} (TPR = share of {p!r} found, FPR = share of the rest predicted as {p!r}).{how}"
    )


def _other(audit: Audit) -> str:
    others = [c for c in audit.classes if c != audit.positive]
    return f" {others[0]}" if len(others) == 1 else ""


def format_points(estimate: Estimate) -> str:
    """Format a loss in percentage points with its interval: ``+1.2 [−0.4, 2.8]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = _signed(100 * estimate.value, "+.1f")
    if estimate.low is not None and estimate.high is not None:
        out += f" [{_signed(100 * estimate.low, '.1f')}, {_signed(100 * estimate.high, '.1f')}]"
    return out


def _signed(value: float, form: str) -> str:
    """Format with a true minus sign; a value that rounds to zero has no sign."""
    return format(value if abs(value) >= 0.05 else 0.0, form if abs(value) >= 0.05 else ".1f").replace(
        "-", "−"
    )


def format_rate(estimate: Estimate) -> str:
    """Format a rate or gap with its interval: ``0.903 [0.897, 0.908]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = f"{estimate.value:.3f}"
    if estimate.low is not None and estimate.high is not None:
        out += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return out.replace("-", "−")


def format_change(estimate: Estimate) -> str:
    """Format a change of a rate or a score with its interval: ``+0.012 [−0.004, 0.028]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = f"{estimate.value:+.3f}" if abs(estimate.value) >= 0.0005 else "0.000"
    if estimate.low is not None and estimate.high is not None:
        out += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return re.sub(r"-0\.000(?!\d)", "0.000", out).replace("-", "−")


def format_p(p: float | None) -> str:
    """Format a p-value."""
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def effect(estimate: Estimate) -> str:
    """Format a standardized effect with its interval: ``1.25 [0.20, 2.31]``."""
    if estimate.value is None:
        return estimate.reason or ""
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]".replace("-", "−")


def split(estimates: Mapping[str, Estimate]) -> tuple[list[str], list[str]]:
    """Return the names of rates and the names of score metrics."""
    return [n for n in estimates if n not in SCORE_METRICS], [n for n in estimates if n in SCORE_METRICS]


def groups(comparison: Comparison, max_groups: int = MAX_ROWS) -> list[GroupComparison]:
    """Return the groups of all attributes; of more than `most`, those with the most severe verdicts and largest losses."""
    return most_severe([g for a in comparison.attributes for g in a.groups], max_groups)


def most_severe(groups: Sequence[GroupComparison], max_groups: int) -> list[GroupComparison]:
    """Return all groups in their order, or the `most` with the most severe verdicts and largest losses, worst first."""
    if len(groups) <= max_groups:
        return list(groups)
    return sorted(groups, key=lambda g: (WORST_FIRST.index(g.verdict), -_judged_loss(g)))[:max_groups]


def left_out(total: int, max_groups: int) -> str:
    """Return the note that a table omits groups; empty if it has all."""
    if total <= max_groups:
        return ""
    return f"Of {total:,} groups, the {max_groups:,} with the most severe verdicts and largest losses; audit.json has all."


def exemplars(result: Exemplars) -> str:
    """Return a sentence on how many rows are compression-identified exemplars, or why that is not estimable."""
    if result.reason is not None:
        return f"Exemplars are not estimable: {result.reason}."
    all_ = result.groups[0]
    return (
        f"Of 1,000 rows, the majority prediction of {result.models} compressed models differs from that of the baselines in "
        f"{1000 * (all_.share.value or 0):.0f}. In excess of retraining (two halves of the baselines, "
        f"{1000 * (all_.expected.value or 0):.0f}): {format_points(all_.excess)} points."
    )


def seed_tests(audit: Audit, comparison: Comparison) -> str | None:
    """Return a sentence if no outcome of the sign-flip tests over seeds could be significant, else None."""
    tests = [
        x.seeds for a in comparison.attributes for g in a.groups for x in g.losses if x.seeds is not None
    ]
    if not tests or not tests[0].undecidable:
        return None
    return (
        f"Tests over seeds alone are undecidable with {audit.seeds} seeds: the smallest p they allow, "
        f"{tests[0].smallest_p:.3g}, cannot survive the correction."
    )


def correction(audit: Audit) -> str:
    """Return a sentence on the correction for multiple comparisons."""
    name = {"holm": "Holm", "bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}[audit.correction]
    over = "of all compressed models together" if audit.family == "study" else "of each compressed model"
    return f"Harm, loss and disparity are corrected for the number of groups and metrics {over} ({name})."


def rows_needed(group: GroupComparison) -> str:
    """Format how many rows a group needs for a decision, at most "> 100,000".

    Empty if harm is already decided, or if the group is far too small for an estimate.
    """
    if not group.rows_needed or group.verdict in ("harm", "void") or group.n < MIN_ROWS_FOR_ADVICE:
        return ""
    return f"{group.rows_needed:,}" if group.rows_needed <= 100_000 else "> 100,000"


def size(bytes_: float) -> str:
    """Format the size of a file in KB or MB (powers of ten)."""
    return f"{bytes_ / 1e6:.2f} MB" if bytes_ >= 1e6 else f"{bytes_ / 1e3:.1f} KB"


def who_pays(comparison: Comparison, audit: Audit) -> str:
    """Summarize who is affected, in a few sentences that can be read alone."""
    groups = [g for a in comparison.attributes for g in a.groups]
    if comparison.verdict == "void":
        return "Not known: the comparison is void, because a model is degenerate or a class was lost."
    for verdict in ("harm", "loss"):
        # A group is more informative than all people together.
        hit = [g for g in groups if g.verdict == verdict]
        if not hit and comparison.overall.verdict == verdict:
            hit = [comparison.overall]
        if hit:
            worst = max(hit, key=_judged_loss)
            also = "" if worst is not comparison.overall else largest(comparison, audit)
            return " ".join(filter(None, [f"{_loss(worst, comparison, audit)}.", worst.sentence, also]))
    if comparison.verdict == "not_estimable":
        return "Too few rows for any verdict: no group can be assessed."
    if comparison.verdict == "no_harm":
        scope = "in the groups that could be assessed" if unassessed(comparison) else "in any group"
        uneven = split_groups(comparison, audit) if comparison.disparate else ""
        sentences = [f"No loss above the margin {scope}.", uneven, comparison.overall.sentence]
        return " ".join(filter(None, sentences))
    loss = comparison.overall.losses[0]
    together = ""
    if loss.estimate.low is not None and loss.estimate.low > 0:
        together = f"All people together lose {format_points(loss.estimate).lstrip('+')} points of {METRIC[loss.metric]}."
    uneven = split_groups(comparison, audit) if comparison.disparate else ""
    start = "No group has a demonstrated loss, but a loss cannot be ruled out."
    sentences = [together, start, largest(comparison, audit), uneven, comparison.overall.sentence]
    return " ".join(filter(None, sentences))


def _loss(group: GroupComparison, comparison: Comparison, audit: Audit) -> str:
    """Format the loss behind a group's verdict, with an explanation if its interval seems to contradict the verdict."""
    loss = worst_loss(group)
    points = format_points(loss.estimate).lstrip("+")
    sentence = f"{group_name(group.values)}: {METRIC[loss.metric]} worse by {points} points"
    return "; ".join(filter(None, [sentence, reason_sentence(loss, comparison, audit)]))


def largest(comparison: Comparison, audit: Audit) -> str:
    """Return a sentence on the largest estimated loss of an assessed group that is not ruled out; empty if none."""
    losses = [
        (g, x)
        for a in comparison.attributes
        for g in a.groups
        for x in g.losses
        if x.verdict not in ("not_estimable", "no_harm") and (x.estimate.value or 0.0) > 0
    ]
    if not losses:
        return ""
    group, loss = max(losses, key=lambda f: f[1].estimate.value or 0.0)
    sentence = f"Largest loss: {group_name(group.values)}, "
    sentence += f"{METRIC[loss.metric]} by {format_points(loss.estimate).lstrip('+')} points"
    return "; ".join(filter(None, [sentence, reason_sentence(loss, comparison, audit)])) + "."


def reason_sentence(loss: Loss, comparison: Comparison, audit: Audit) -> str:
    """Explain a verdict that is milder than its uncorrected interval suggests; empty if they agree."""
    low = loss.estimate.low
    if low is None:
        return ""
    if (
        loss.verdict in ("loss", "inconclusive", "not_estimable")
        and low > audit.margin
        and loss.p_harm_adjusted is not None
    ):
        bound, p = f"{100 * audit.margin:g} points", loss.p_harm_adjusted
    elif (
        loss.verdict in ("inconclusive", "not_estimable") and low > 0 and loss.estimate.p_adjusted is not None
    ):
        bound, p = "0", loss.estimate.p_adjusted
    else:
        return ""
    return (
        f"alone, this interval excludes {bound}; after correction for "
        f"{count_tested(comparison, audit)} comparisons it does not "
        f"(p = {format_p(p)})"
    )


def count_tested(comparison: Comparison, audit: Audit) -> int:
    """Return the number of losses that are corrected together with those of a comparison."""
    family = audit.comparisons if audit.family == "study" else (comparison,)
    return sum(
        x.estimate.value is not None
        for c in family
        for g in (c.overall, *(g for a in c.attributes for g in a.groups))
        for x in g.losses
    )


def split_groups(comparison: Comparison, audit: Audit) -> str:
    """Return a sentence on the groups whose rates diverged, and how far each changed."""
    attribute, group, loss = _furthest_behind(comparison)
    assert loss.excess is not None
    sign = 1 if loss.metric == "fpr" else -1  # from losses to changes of the rate
    group_change, difference = sign * (loss.estimate.value or 0.0), sign * (loss.excess.value or 0.0)
    rest_change = group_change - difference
    others = [g for g in attribute.groups if g is not group]
    name, metric = group_name(group.values), METRIC[loss.metric]
    span = format_points(loss.excess).lstrip("+")
    other = group_name(others[0].values) if len(others) == 1 else "all others together"
    moved_by = f"{name} {_signed(100 * group_change, '+.1f')}, {other} {_signed(100 * rest_change, '+.1f')}"
    if len(others) != 1:
        return f"In {metric}, {name} diverged from the rest by {span} points: {moved_by}."
    course = _course(audit, comparison, group, others[0], loss.metric)
    return f"The gap in {metric} between {name} and {other} {course} by {span} points: {moved_by}."


def _course(audit: Audit, c: Comparison, group: GroupComparison, other: GroupComparison, metric: str) -> str:
    """Return whether the gap between two groups widened, narrowed or was reversed."""
    differences = []
    for name in (audit.baseline, c.compressed):
        model = next(m for m in audit.models if m.name == name)
        rates = [
            g.rates[metric].value
            for x in (group, other)
            for g in model.groups
            if dict(g.values) == dict(x.values)
        ]
        if len(rates) != 2 or rates[0] is None or rates[1] is None:
            return "changed"
        differences.append(rates[0] - rates[1])
    if differences[0] * differences[1] < 0:
        return "turned round"
    return "widened" if abs(differences[1]) > abs(differences[0]) else "narrowed"


def _furthest_behind(comparison: Comparison) -> tuple[AttributeComparison, GroupComparison, Loss]:
    """Return the attribute, group and loss whose excess over the rest has the smallest adjusted p-value."""
    candidates = [
        (a, group, loss)
        for a in comparison.attributes
        for group in a.groups
        for loss in group.losses
        if loss.excess is not None and loss.excess.p_adjusted is not None
    ]

    def surest(f: tuple[AttributeComparison, GroupComparison, Loss]) -> tuple[float, float]:
        excess = f[2].excess
        assert excess is not None
        return excess.p_adjusted or 0.0, -(excess.value or 0.0)

    return min(candidates, key=surest)


def worst_loss(group: GroupComparison) -> Loss:
    """Return the loss behind a group's verdict: the largest among those with that verdict."""
    same = [
        loss for loss in group.losses if loss.verdict == group.verdict and loss.estimate.value is not None
    ]
    return max(same or group.losses, key=lambda loss: loss.estimate.value or 0.0)


def _judged_loss(group: GroupComparison) -> float:
    return worst_loss(group).estimate.value or 0.0


def warnings(audit: Audit) -> list[str]:
    """Return the audit's warnings and a sentence on each degenerate model, to be shown before any verdict."""
    return [*audit.warnings, *(m.degenerate for m in audit.models if m.degenerate)]
