"""Sentences that all reports share: what a verdict means, who is affected, and why."""

from __future__ import annotations

from fairpress.auditing.result import AttributeComparison, Audit, Comparison, Exemplars, GroupComparison, Loss
from fairpress.auditing.verdicts.wording import group_name
from fairpress.reporting.formatting import (
    METRIC,
    format_p,
    format_points,
    format_signed,
    unassessed,
    worst_loss,
    worst_loss_value,
)


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
            worst = max(hit, key=worst_loss_value)
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
    moved_by = f"{name} {format_signed(100 * group_change, '+.1f')}, {other} {format_signed(100 * rest_change, '+.1f')}"
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


def warnings(audit: Audit) -> list[str]:
    """Return the audit's warnings and a sentence on each degenerate model, to be shown before any verdict."""
    return [*audit.warnings, *(m.degenerate for m in audit.models if m.degenerate)]
