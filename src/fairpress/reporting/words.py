"""The words and number formats of every report: one place, so that all say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fairpress.auditing.result import Audit, Comparison, Exemplars, GroupComparison, Loss, Verdict
from fairpress.auditing.run import group_name
from fairpress.auditing.score_metrics import SCORE_METRICS
from fairpress.auditing.verdict import WORST_FIRST
from fairpress.core.estimate import Estimate

WORD: dict[Verdict, str] = {
    "harm": "harm",
    "loss": "loss",
    "inconclusive": "inconclusive",
    "not_estimable": "too few rows",
    "no_harm": "no harm",
}
SYMBOL: dict[Verdict, str] = {
    "harm": "✖",
    "loss": "▼",
    "inconclusive": "?",
    "not_estimable": "–",
    "no_harm": "✔",
}
MOST_ROWS = 1000
CLIPPED = "An interval that goes on beyond the frame belongs to a group with too few rows."
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


def meaning(verdict: Verdict, margin: float) -> str:
    """Say what a verdict means and what to do."""
    points = f"{100 * margin:g} points"
    return {
        "harm": f"Some group loses more than {points}. Do not ship this model as it is: compress less, or mitigate.",
        "loss": f"Some group is shown to lose; whether more than {points} is open. Gather rows, or compress less.",
        "inconclusive": f"A loss of more than {points} is neither shown nor ruled out. Gather the rows named below.",
        "not_estimable": "No group has the rows to be judged. Nothing is known of fairness here.",
        "no_harm": f"In every group with enough rows, a loss of more than {points} is ruled out.",
    }[verdict]


def points(estimate: Estimate) -> str:
    """Write a loss in points with its interval: ``+1.2 [−0.4, 2.8]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = _signed(100 * estimate.value, "+.1f")
    if estimate.low is not None and estimate.high is not None:
        out += f" [{_signed(100 * estimate.low, '.1f')}, {_signed(100 * estimate.high, '.1f')}]"
    return out


def _signed(value: float, form: str) -> str:
    """Format with a true minus sign; what rounds to nothing has no sign."""
    return format(value if abs(value) >= 0.05 else 0.0, form if abs(value) >= 0.05 else ".1f").replace(
        "-", "−"
    )


def share(estimate: Estimate) -> str:
    """Write a rate or gap with its interval: ``0.903 [0.897, 0.908]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = f"{estimate.value:.3f}"
    if estimate.low is not None and estimate.high is not None:
        out += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return out.replace("-", "−")


def moved(estimate: Estimate) -> str:
    """Write a change of a rate or a score with its interval: ``+0.012 [−0.004, 0.028]``."""
    if estimate.value is None:
        return f"not estimable: {estimate.reason}"
    out = f"{estimate.value:+.3f}" if abs(estimate.value) >= 0.0005 else "0.000"
    if estimate.low is not None and estimate.high is not None:
        out += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return re.sub(r"-0\.000(?!\d)", "0.000", out).replace("-", "−")


def chance(p: float | None) -> str:
    """Write a p-value."""
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def effect(estimate: Estimate) -> str:
    """Write a standardised effect with its interval: ``1.25 [0.20, 2.31]``."""
    if estimate.value is None:
        return estimate.reason or ""
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]".replace("-", "−")


def split(estimates: Mapping[str, Estimate]) -> tuple[list[str], list[str]]:
    """Return the names of rates, and those of score metrics."""
    return [n for n in estimates if n not in SCORE_METRICS], [n for n in estimates if n in SCORE_METRICS]


def groups(comparison: Comparison, most: int = MOST_ROWS) -> list[GroupComparison]:
    """Return the groups of all attributes; of more than `most`, those with the gravest verdicts and largest losses."""
    return gravest([g for a in comparison.attributes for g in a.groups], most)


def gravest(found: Sequence[GroupComparison], most: int) -> list[GroupComparison]:
    """Return all groups in their order, or the `most` that matter first."""
    if len(found) <= most:
        return list(found)
    return sorted(found, key=lambda g: (WORST_FIRST.index(g.verdict), -_judged_loss(g)))[:most]


def left_out(total: int, most: int) -> str:
    """Say that a table does not have all groups; nothing where it has."""
    if total <= most:
        return ""
    return (
        f"Of {total:,} groups, the {most:,} with the gravest verdicts and largest losses; audit.json has all."
    )


def exemplars(found: Exemplars) -> str:
    """Say how many rows are compression-identified exemplars, or why that is not known."""
    if found.reason is not None:
        return f"Exemplars are not estimable: {found.reason}."
    all_ = found.groups[0]
    return (
        f"Of 1,000 rows, the commonest answer of {found.models} compressed models differs from that of the baselines in "
        f"{1000 * (all_.share.value or 0):.0f}. Beyond what retraining does (two halves of the baselines, "
        f"{1000 * (all_.expected.value or 0):.0f}): {points(all_.excess)} points."
    )


def seed_tests(audit: Audit, comparison: Comparison) -> str | None:
    """Say when no outcome of the sign-flip tests over seeds could have been significant."""
    found = [
        x.seeds for a in comparison.attributes for g in a.groups for x in g.losses if x.seeds is not None
    ]
    if not found or not found[0].undecidable:
        return None
    return (
        f"Tests over seeds alone are undecidable with {audit.seeds} seeds: the smallest p they allow, "
        f"{found[0].smallest_p:.3g}, cannot survive the correction."
    )


def correction(audit: Audit) -> str:
    """Say how findings are corrected for how much was looked at."""
    name = {"holm": "Holm", "bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}[audit.correction]
    over = "of all compressed models together" if audit.family == "study" else "of each compressed model"
    return f"Harm, loss and disparity are corrected for the number of groups and metrics {over} ({name})."


def rows_needed(group: GroupComparison) -> str:
    """Write how many rows of a group would decide; beyond 100,000 no one gathers them to a row."""
    if not group.rows_needed:
        return ""
    return f"{group.rows_needed:,}" if group.rows_needed <= 100_000 else "> 100,000"


def size(bytes_: float) -> str:
    """Write a file's size in KB or MB (powers of ten)."""
    return f"{bytes_ / 1e6:.2f} MB" if bytes_ >= 1e6 else f"{bytes_ / 1e3:.1f} KB"


def who_pays(comparison: Comparison) -> str:
    """Say who pays, in one or two sentences for somebody who reads nothing else."""
    groups = [g for a in comparison.attributes for g in a.groups]
    for verdict in ("harm", "loss"):
        hit = [g for g in groups if g.verdict == verdict]
        if hit:
            worst = max(hit, key=_judged_loss)
            loss = worst_loss(worst)
            return (
                f"{group_name(worst.values)}: {METRIC[loss.metric]} worse by {points(loss.estimate).lstrip('+')} points. "
                f"{worst.sentence}"
            )
    if comparison.verdict == "no_harm":
        return f"Nobody, in the groups with enough rows. {comparison.overall.sentence}"
    loss = comparison.overall.losses[0]
    together = ""
    if loss.estimate.low is not None and loss.estimate.low > 0:
        together = f"All together lose {points(loss.estimate).lstrip('+')} points of {METRIC[loss.metric]}. "
    if comparison.disparate:
        group, metric, excess = _furthest_behind(groups)
        return (
            f"{together}No single group is shown to pay by itself, but {group_name(group.values)} fares worse than the "
            f"rest, in {METRIC[metric]} by {points(excess).lstrip('+')} points. {comparison.overall.sentence}"
        )
    return f"{together}No single group is shown to pay, nor is it ruled out. {comparison.overall.sentence}"


def _furthest_behind(groups: Sequence[GroupComparison]) -> tuple[GroupComparison, str, Estimate]:
    """Return the group and metric whose loss beyond that of the rest is the surest after correction, and that excess."""
    found = [
        (group, loss.metric, loss.excess)
        for group in groups
        for loss in group.losses
        if loss.excess is not None and loss.excess.p_adjusted is not None
    ]
    return min(found, key=lambda f: (f[2].p_adjusted, -(f[2].value or 0.0)))


def worst_loss(group: GroupComparison) -> Loss:
    """Return the group's loss that made its verdict: the largest among those with that verdict."""
    same = [
        loss for loss in group.losses if loss.verdict == group.verdict and loss.estimate.value is not None
    ]
    return max(same or group.losses, key=lambda loss: loss.estimate.value or 0.0)


def _judged_loss(group: GroupComparison) -> float:
    return worst_loss(group).estimate.value or 0.0


def degenerate(audit: Audit) -> list[str]:
    """Return a sentence for each model that predicts one class only."""
    return [m.degenerate for m in audit.models if m.degenerate]
