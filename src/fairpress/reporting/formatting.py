"""Words, signs and number formats that all reports share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap

from fairpress.auditing.inference.score_metrics import SCORE_METRICS
from fairpress.auditing.measure import Measure
from fairpress.auditing.result import Audit, Comparison, GroupComparison, Loss, RowsToDecide, Verdict
from fairpress.auditing.verdicts.wording import MANY_ERRORS, deciding_loss, metric_name
from fairpress.core.estimate import Estimate
from fairpress.reporting.group_rows import (
    SEVERITY,
    GroupRow,
    group_rows,
    pooled_attributes,
    pools_of,
    unassessed,
    worst_row,
)

WORD: dict[Verdict, str] = {
    "harm": "harm",
    "void": "void",
    "loss": "some loss",
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
NOT_DRAWN = "Groups that were not assessed (too few rows) are not drawn."
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


def tone(comparison: Comparison) -> Verdict:
    """Return the verdict that sets the colour of a comparison: red for void; green only if every group was assessed.

    Groups that were judged together count as assessed, unless all groups of an attribute were.
    """
    if comparison.verdict == "void":
        return "harm"
    uncertain = unassessed(comparison) or pooled_attributes(comparison)
    return "inconclusive" if comparison.verdict == "no_harm" and uncertain else comparison.verdict


def verdict(comparison: Comparison) -> str:
    """Format a verdict with its sign, the error that it is about, and the groups with a demonstrated loss.

    "No harm" counts the assessed groups if some were not assessed; groups that were judged only together are mentioned.
    """
    if comparison.verdict in ("harm", "loss"):
        row = worst_row(comparison)
        more = sum(r.verdict == comparison.verdict for r in group_rows(comparison)) - 1
        others = f" and {more} more {'group' if more == 1 else 'groups'}" if more > 0 else ""
        return f"{SYMBOL[comparison.verdict]} {WORD[comparison.verdict]} in {row.error}: {row.title}{others}"
    groups = sum(len(a.groups) for a in comparison.attributes)
    together = sum(len(p.members) for p in pools_of(comparison))
    error = comparison.overall.losses[0].measure.name
    text = verdict_in(comparison.verdict, error, len(unassessed(comparison)), groups, together)
    if comparison.verdict == "no_harm" and pooled_attributes(comparison):
        return f"{SYMBOL['inconclusive']} {text.split(' ', 1)[1]}"
    return text


def verdict_line(comparison: Comparison) -> str:
    """Format a verdict, and whether groups moved apart."""
    return f"{verdict(comparison)}{'; uneven' if comparison.disparate else ''}"


def verdict_of(verdict: Verdict, metric: str, lacking: int = 0, groups: int = 0, together: int = 0) -> str:
    """Format the verdict of an artifact in one metric of classes, as `verdict_in` does."""
    return verdict_in(verdict, metric_name(metric), lacking, groups, together)


def verdict_in(verdict: Verdict, error: str, lacking: int = 0, groups: int = 0, together: int = 0) -> str:
    """Format the verdict of an artifact in one error, such as ``error rate``.

    `lacking` of its `groups` were not assessed, and `together` were judged only together with others.
    """
    if verdict in ("void", "not_estimable"):
        return f"{SYMBOL[verdict]} {WORD[verdict]}"
    if verdict == "no_harm" and lacking:
        counts = f"{groups - lacking} of {groups} groups; {lacking} not assessed"
        return f"{SYMBOL['inconclusive']} no harm in {error} in {counts}"
    pooled = f" ({together} small groups judged together)" if verdict == "no_harm" and together else ""
    return f"{SYMBOL[verdict]} {WORD[verdict]} in {error}{pooled}"


def columns(audit: Audit, comparison: Comparison) -> tuple[str, ...]:
    """Return the metrics that have a column in the table of groups and a plot: all, or of very many two.

    Then these are the one that decides and the one behind the verdict; the table of tests has all.
    """
    if len(audit.metrics) <= MANY_ERRORS:
        return audit.metrics
    worst = worst_row(comparison).loss.metric
    return tuple(dict.fromkeys((audit.metrics[0], *([worst] if worst in audit.metrics else []))))


def group_verdict(row: GroupRow) -> str:
    """Format the verdict of a group; a group that is judged only with others is pooled."""
    return "– pooled" if row.pooled else f"{SYMBOL[row.verdict]} {WORD[row.verdict]}"


def at_most(loss: Loss) -> str:
    """Format the one-sided bound that decides, in points or the unit of the outcome, rounded up."""
    return "–" if loss.upper is None else loss.measure.rounded_up(loss.upper)


def format_loss(loss: Loss) -> str:
    """Format a loss in points, or in the unit of the outcome, with its interval: ``+1.2 [−0.4, 2.8]``."""
    return format_in(loss.measure, loss.estimate)


def format_levels(loss: Loss) -> str:
    """Format the levels of an outcome under the baseline and the compressed model: ``5.01 → 5.23``; a dash if unknown."""
    before, after = loss.levels or (None, None)
    if before is None or after is None or before.value is None or after.value is None:
        return "–"
    return f"{loss.measure.plain(before.value)} → {loss.measure.plain(after.value)}"


def format_level(audit: Audit, metric: str, estimate: Estimate) -> str:
    """Format a rate, or the level of an outcome in its unit, with its interval."""
    if audit.outcome is None or metric not in audit.outcome.measures:
        return format_rate(estimate)
    return format_plain(audit.measure(metric), estimate)


def format_plain(measure: Measure, estimate: Estimate) -> str:
    """Format a level or gap without a sign, in what it is measured in, with its interval."""
    return _with_interval(measure, estimate, measure.plain)


def format_excess(loss: Loss) -> str:
    """Format an excess over the rest like the loss itself; a dash without one."""
    if loss.excess is None or not loss.excess.estimable:
        return "–"
    return format_in(loss.measure, loss.excess)


def format_in(measure: Measure, estimate: Estimate) -> str:
    """Format an estimated loss in what it is measured in, with its interval."""
    return _with_interval(measure, estimate, measure.signed)


def _with_interval(measure: Measure, estimate: Estimate, number: Callable[[float], str]) -> str:
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = number(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        out += f" [{measure.plain(estimate.low)}, {measure.plain(estimate.high)}]"
    return out


def format_points(estimate: Estimate) -> str:
    """Format a loss in percentage points with its interval: ``+1.2 [−0.4, 2.8]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = format_signed(100 * estimate.value, "+.1f")
    if estimate.low is not None and estimate.high is not None:
        out += f" [{format_signed(100 * estimate.low, '.1f')}, {format_signed(100 * estimate.high, '.1f')}]"
    return out


def format_signed(value: float, form: str) -> str:
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
    """Return the groups of all attributes; of more than `max_groups`, those with the most severe verdicts."""
    return most_severe([g for a in comparison.attributes for g in a.groups], max_groups)


def most_severe(groups: Sequence[GroupComparison], max_groups: int) -> list[GroupComparison]:
    """Return all groups in their order, or the `max_groups` with the most severe verdicts and largest losses."""
    if len(groups) <= max_groups:
        return list(groups)
    return sorted(groups, key=lambda g: (SEVERITY.index(g.verdict), -worst_loss_value(g)))[:max_groups]


def left_out(total: int, max_groups: int) -> str:
    """Return the note that a table omits groups; empty if it has all."""
    if total <= max_groups:
        return ""
    return f"Of {total:,} groups, the {max_groups:,} with the most severe verdicts and largest losses; audit.json has all."


def rows_to_decide(x: RowsToDecide | None) -> str:
    """Format how many more rows would probably decide: ``1,500 (80 %)``; empty where that is settled or not known."""
    if x is None:
        return ""
    count = f"> {x.limit:,}" if x.more is None else f"{x.more:,}"
    seeds = "" if x.seeds is None else f", {x.seeds} more seeds"
    return f"{count} ({100 * x.decided:.0f} %){seeds}"


def size(bytes_: float) -> str:
    """Format the size of a file in KB or MB (powers of ten)."""
    return f"{bytes_ / 1e6:.2f} MB" if bytes_ >= 1e6 else f"{bytes_ / 1e3:.1f} KB"


def worst_loss_value(group: GroupComparison) -> float:
    """Return the estimate of the loss behind a group's verdict, 0 if it is not estimable."""
    return deciding_loss(group).estimate.value or 0.0


def break_recipe(recipe: str, width: int) -> list[str]:
    """Return a recipe in lines of at most `width` characters, which end after a plus sign, a bracket or a comma."""
    lines = [""]
    for piece in re.findall(r"[^+(,]*[+(,]?", recipe):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return [part for line in lines for part in (wrap(line, width) or [""])]
