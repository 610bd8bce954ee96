"""Sentences that all reports share: what a verdict means, who is affected, why, and what to do next."""

from __future__ import annotations

from fairpress.auditing.class_recall import margin_key
from fairpress.auditing.result import AttributeComparison, Audit, Comparison, Exemplars, GroupComparison, Loss
from fairpress.auditing.verdicts.release_gate import DIGITS
from fairpress.auditing.verdicts.wording import (
    foremost,
    group_name,
    headline_sentences,
    is_cleared,
    margin_text,
    name_groups,
    points_up,
)
from fairpress.reporting.formatting import at_most, format_in, format_loss, format_p, format_points
from fairpress.reporting.group_rows import (
    GroupRow,
    group_rows,
    pooled_attributes,
    pools_of,
    unassessed,
    worst_row,
)


def meaning(comparison: Comparison, audit: Audit) -> str:
    """Return what a verdict means."""
    metric = audit.metrics[0]
    if comparison.verdict in ("harm", "loss"):
        metric = worst_row(comparison).loss.metric
    margin, m = margin_in(audit, metric), audit.measure(metric)
    error, rise = m.name, m.rise
    return {
        "harm": f"A {rise} of the {error} by more than {margin} is demonstrated.",
        "void": "The audit shows nothing about this model.",
        "loss": f"A {rise} of the {error} is demonstrated, but not whether it is more than {margin}.",
        "inconclusive": f"A {rise} of the {error} by more than {margin} is neither demonstrated nor ruled out.",
        "not_estimable": "Too few rows in every group: no verdict about fairness.",
        "no_harm": f"In every group that could be assessed, a {rise} of the {error} by more than {margin} is ruled out.",
    }[comparison.verdict]


def next_step(comparison: Comparison, audit: Audit) -> str:
    """Return what to do next, which depends on what is ruled out."""
    margin = margin_in(audit, audit.metrics[0])
    lacking = unassessed(comparison)
    if comparison.verdict == "harm":
        return "Do not ship this model as it is: compress less, or mitigate."
    if comparison.verdict == "void":
        return "First fix the models or the choice of the positive class."
    if comparison.verdict == "not_estimable":
        return "Gather rows: too few for any verdict."
    if comparison.verdict == "no_harm" and lacking:
        names = name_groups([group_name(g.values) for g in lacking])
        return f"Gather rows for the groups that were not assessed ({names}); do not report this model as harmless for them."
    if comparison.verdict == "no_harm" and pooled_attributes(comparison):
        names = name_groups(pooled_attributes(comparison))
        return (
            f"Gather rows: no group of {names} was assessed alone, and together they only show the average."
        )
    if comparison.verdict == "no_harm":
        alone = (
            " Groups that were judged only together are not cleared one by one."
            if pools_of(comparison)
            else ""
        )
        return f"Passes at a margin of {margin} in {audit.measure(audit.metrics[0]).name}{_open_errors(comparison)}.{alone}"
    return _open_groups(comparison, audit)


def _open_errors(comparison: Comparison) -> str:
    """Return what the errors that do not decide leave open, as the end of a sentence."""
    uncertain = [b for b in comparison.bounds[1:] if b.upper is not None and not is_cleared(b)]
    named = foremost(uncertain, lambda b: b.upper or 0.0)
    texts = [
        f"{b.measure.name} (up to {b.measure.rounded_up(b.upper or 0.0)}{b.measure.brief_suffix})"
        for b in named
    ]
    if len(uncertain) > len(named):
        texts.append(f"{len(uncertain) - len(named):,} more errors")
    if comparison.classes is not None and comparison.classes.cleared < comparison.classes.cells:
        up = comparison.classes.upper
        size = "too few rows" if up is None else f"up to {points_up(up.value)} points"
        texts.append(f"the recall of single classes ({size})")
    return f"; consider what is open in {' and '.join(texts)}" if texts else ""


def _open_groups(comparison: Comparison, audit: Audit) -> str:
    """Return which groups are open and what more rows would do, of a verdict "some loss" or "inconclusive"."""
    uncertain = [r for r in group_rows(comparison) if r.verdict in ("inconclusive", "loss")]
    start = ""
    if comparison.verdict == "loss":
        start = "Do not report this model as harmless. "
    if not uncertain:
        return f"{start}Gather rows, or compress less."
    total = sum(r.verdict != "not_estimable" for r in group_rows(comparison))
    # The group that most rows are needed for, as far as that is known, else the one that can have lost most.
    with_rows = [r for r in uncertain if r.loss.rows_to_decide is not None]
    row = (
        max(with_rows, key=_additional_rows)
        if with_rows
        else max(uncertain, key=lambda r: r.loss.upper or 0.0)
    )
    count = f"{len(uncertain)} of {total} groups {'is' if len(uncertain) == 1 else 'are'} open"
    if total == 1:
        count = "The only group is open"
    bound = "" if row.loss.upper is None else f", at most {at_most(row.loss)}{row.unit}"
    sentence = f"{start}{count} ({row.title}: {row.error}{bound}). "
    return sentence + (rows_sentence(row.loss) or "Gather more rows, or compress less.")


def _additional_rows(row: GroupRow) -> float:
    more = row.loss.rows_to_decide
    return float("inf") if more is None or more.more is None else more.more


def rows_sentence(loss: Loss) -> str:
    """Return what more rows of a group would do, with its chance; empty where that is settled or not known."""
    x = loss.rows_to_decide
    if x is None:
        return ""
    chances = f"{100 * x.no_harm:.0f} % no harm, {100 * x.loss:.0f} % some loss or harm"
    seeds = ""
    if x.seeds is not None:
        needed = "1 more training seed is" if x.seeds == 1 else f"{x.seeds} more training seeds are"
        seeds = f" Rows alone cannot settle it: {needed} needed."
    chance = f"{100 * x.decided:.0f} % ({chances}).{seeds}"
    if x.more is None:
        return f"Even {x.limit:,} more of its rows would settle it with a chance of only {chance}"
    return f"{x.more:,} more of its rows would settle it with a chance of {chance}"


def margins(audit: Audit) -> str:
    """Return which error decides and at which margins, with their reasons: ``error rate decides, margin 2 points``.

    A signed policy is named with its digest and date.
    """
    first, *others = dict.fromkeys((*audit.metrics, *audit.margins))
    texts = {m: margin_in(audit, m) for m in audit.margins}
    reasons = {m: f" ({x.reason})" if x.reason else "" for m, x in audit.margins.items()}
    sentence = f"{audit.measure(first).name} decides, margin {texts[first]}{reasons[first]}"
    different = [
        f"{audit.measure(m).name} {texts[m]}{reasons[m]}"
        for m in others
        if audit.margins[m] != audit.margins[first]
    ]
    sentence += f"; margin of the {', '.join(different)}" if different else ""
    if audit.policy is None:
        return sentence
    return f"{sentence}; policy {audit.policy.digest[:DIGITS]}, signed by {audit.policy.signed_by} on {audit.policy.date}"


def margin_in(audit: Audit, metric: str) -> str:
    """Return the margin of a metric in what it is measured in: ``2 points``, ``0.25 years``."""
    return margin_text(audit.margins[margin_key(metric)], audit.measure(metric))


def headline(comparison: Comparison, audit: Audit) -> tuple[str, ...]:
    """Return the sentences of a comparison's headline, what is ruled out first."""
    return headline_sentences(
        comparison.verdict,
        [g for a in comparison.attributes for g in a.groups],
        comparison.bounds,
        audit.confidence,
        [p for a in comparison.attributes for p in a.pools],
        comparison.void,
        comparison.classes,
    )


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
        f"Positive class: {p}. False negative rate (FNR): the share of {p!r} that is missed; false positive rate (FPR): "
        f"the share of the others that is predicted as {p!r}.{how}"
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
    name = {
        "westfall-young": "Westfall–Young for losses, Holm for harm and unevenness",
        "holm": "Holm",
        "bh": "Benjamini–Hochberg",
        "by": "Benjamini–Yekutieli",
    }[audit.correction]
    over = "of all compressed models together" if audit.family == "study" else "of each compressed model"
    return (
        f"Harm, loss and unevenness are corrected for the number of groups and metrics {over} ({name}). What is ruled out "
        "needs no correction: the group that loses most is one group, and its bound is valid."
    )


def who_pays(comparison: Comparison, audit: Audit) -> str:
    """Summarize who is affected, in a few sentences that can be read alone."""
    if comparison.verdict == "void":
        return "Not known: the comparison is void, because a model is degenerate or a class was lost."
    if comparison.verdict == "not_estimable":
        return "Not known: too few rows for any verdict."
    parts = []
    if comparison.verdict in ("harm", "loss"):
        row = worst_row(comparison)
        parts.append(
            f"{row.opening}: {row.error} {row.up} by {span(row)}{row.unit}, at most {at_most(row.loss)}."
        )
        reason = reason_sentence(row.loss, comparison, audit)
        parts += [f"{reason[:1].upper()}{reason[1:]}." if reason else "", _people(row)]
    elif comparison.verdict == "no_harm" and pooled_attributes(comparison):
        parts.append("Not known: all groups of an attribute were judged only together.")
    elif comparison.verdict == "no_harm" and not unassessed(comparison):
        m = audit.measure(audit.metrics[0])
        alone = ", assessed alone or together with other small groups" if pools_of(comparison) else ""
        parts.append(f"No group{alone}: in {m.name}, a {m.rise} above the margin is ruled out for all.")
    elif comparison.verdict == "no_harm":
        parts.append("None of the assessed groups; not known for the others.")
    else:
        parts += [
            "No group has a demonstrated loss, but a loss above the margin cannot be ruled out.",
            largest(comparison, audit),
        ]
    return " ".join(filter(None, [*parts, *moves(comparison, audit)]))


def span(row: GroupRow) -> str:
    """Return the estimate of a loss with its interval, without a plus sign."""
    return format_loss(row.loss).lstrip("+")


def _people(row: GroupRow) -> str:
    return f"{people_text(row, 'of them')}."


def people_text(row: GroupRow, of: str) -> str:
    """Return how many of 1,000 lose and gain a correct answer; of other outcomes how many rows are worse and better."""
    if row.loss.outcome_measure is None:
        return f"Of 1,000 {of}, {row.lose:.0f} lose a correct answer and {row.gain:.0f} gain one"
    if not row.lose and not row.gain:
        return ""
    return f"Of 1,000 rows, {row.lose:.0f} are worse and {row.gain:.0f} better than before"


def largest(comparison: Comparison, audit: Audit) -> str:
    """Return a sentence on the largest estimated loss in the deciding metric that is not ruled out; empty if none."""
    open_rows = [
        r
        for r in group_rows(comparison)
        if r.verdict in ("harm", "loss", "inconclusive") and (r.loss.estimate.value or 0.0) > 0
    ]
    if not open_rows:
        return ""
    row = max(open_rows, key=lambda r: r.loss.estimate.value or 0.0)
    sentence = f"Largest estimate: {row.title}, {row.error} {row.up} by {span(row)}{row.unit}"
    return "; ".join(filter(None, [sentence, reason_sentence(row.loss, comparison, audit)])) + "."


def reason_sentence(loss: Loss, comparison: Comparison, audit: Audit) -> str:
    """Explain why a loss whose uncorrected interval excludes the margin is not "harm"; empty if it is, or does not."""
    low = loss.estimate.low
    if low is None or low <= loss.margin or loss.p_harm_adjusted is None or loss.verdict in ("harm", "void"):
        return ""
    return (
        f"alone, the interval excludes {loss.measure.scale * loss.margin:.3g}{loss.measure.brief_suffix}; corrected for "
        f"{count_tested(comparison, audit)} tests it does not (p = {format_p(loss.p_harm_adjusted)})"
    )


def worst_reason(comparison: Comparison, audit: Audit) -> str:
    """Return the sentence of `reason_sentence` on the largest loss, with the group; empty without a contradiction."""
    for row in sorted(group_rows(comparison), key=lambda r: -(r.loss.estimate.value or 0.0)):
        reason = reason_sentence(row.loss, comparison, audit)
        if reason:
            return f"{row.title}, {row.error} {format_loss(row.loss)}: {reason}."
    return ""


def count_tested(comparison: Comparison, audit: Audit) -> int:
    """Return the number of losses that are corrected together with those of a comparison, those of pools included."""
    family = audit.comparisons if audit.family == "study" else (comparison,)
    losses = [
        x
        for c in family
        for g in (c.overall, *(g for a in c.attributes for g in a.groups))
        for x in (*g.losses, *g.class_losses)
    ]
    losses += [p.loss for c in family for a in c.attributes for p in a.pools]
    return sum(x.estimate.value is not None for x in losses)


MAX_MOVES = 2


def moves(comparison: Comparison, audit: Audit) -> tuple[str, ...]:
    """Return sentences on gaps whose change is shown: what moved, for whom, and by how much; of several, the first two."""
    shown = tuple(m for a in comparison.attributes for m in a.moves)[:MAX_MOVES]
    if shown or not comparison.disparate:
        return shown
    return (split_groups(comparison, audit),)


def split_groups(comparison: Comparison, audit: Audit) -> str:
    """Return a sentence on the groups whose rates diverged most surely, and how far each of them moved.

    The group that fell behind can have stayed where it was while the others gained, so both changes are given.
    """
    attribute, group, loss = _furthest_behind(comparison)
    assert loss.excess is not None
    # Losses are rises of an error, of the error rate, the false negative and the false positive rate; or falls of a score.
    m = loss.measure
    sign = -1 if m.higher_is_better else 1
    group_change, difference = loss.estimate.value or 0.0, loss.excess.value or 0.0
    others = [g for g in attribute.groups if g is not group]
    name, error = group_name(group.values), m.name
    apart = format_in(m, loss.excess).lstrip("+")
    other = group_name(others[0].values) if len(others) == 1 else "all others together"
    moved_by = (
        f"{name} {m.signed(sign * group_change)}, {other} {m.signed(sign * (group_change - difference))}"
    )
    if len(others) != 1:
        return f"In {error}, {name} and the rest moved apart by {apart}{m.brief_suffix}: {moved_by}."
    course = _course(audit, comparison, group, others[0], loss.metric)
    moved = (
        f"was reversed, a change of {apart}{m.brief_suffix}"
        if course == "reversed"
        else f"{course} by {apart}{m.brief_suffix}"
    )
    return f"The gap in {error} between {name} and {other} {moved}: {moved_by}."


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
        return "reversed"
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
