"""The first screen of a report: a summary in a few sentences, and a row for each compressed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairpress.auditing.result import Audit, Comparison, GroupComparison, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import group_name
from fairpress.reporting import formatting, sentences
from fairpress.reporting.formatting import METRIC, WORD, format_points, worst_loss

DO: dict[Verdict, str] = {
    "harm": "do not ship it: compress less, or mitigate",
    "void": "fix the models or the choice of the positive class; this audit shows nothing",
    "loss": "gather rows, or compress less",
    "inconclusive": "gather rows before relying on it",
    "not_estimable": "gather rows: too few for a verdict",
    "no_harm": "no objection from this audit",
}
PARTLY = "no objection for the assessed groups; gather rows for the others"


@dataclass(frozen=True)
class SummaryRow:
    """A compressed model on the first screen: what it is judged, who pays, how many in a thousand, how sure, what to do.

    `tone` is the verdict whose colour it has.
    """

    model: str
    verdict: Verdict
    word: str
    tone: str
    affected: str
    lose: float
    gain: float
    sure: str
    do: str


def headline(audits: Sequence[Audit]) -> str:
    """Summarize who is affected, over all compressed models of the audits; unassessed groups are always named."""
    comparisons_with_audits = [(c, a) for a in audits for c in a.comparisons]
    if not comparisons_with_audits:
        return "No compressed model is compared: these are the rates of the models."
    comparisons = [c for c, _ in comparisons_with_audits]
    paying = [(c, a) for c, a in comparisons_with_audits if c.verdict in ("harm", "loss")]
    counts = [(v, sum(c.verdict == v for c in comparisons)) for v in WORST_FIRST]
    listed = ", ".join(f"{n} {WORD[v]}" for v, n in counts if n)
    many = (
        "compressed model"
        if len(comparisons_with_audits) == 1
        else f"{len(comparisons_with_audits)} compressed models"
    )
    uneven = [c.compressed for c in comparisons if c.disparate and c.verdict == "inconclusive"]
    more = f" With {_listed(uneven)} some groups lose more than the rest." if uneven else ""
    more += _void(comparisons) + _unassessed(comparisons)
    if not paying:
        if len(comparisons_with_audits) == 1:
            start = "" if comparisons[0].verdict != "inconclusive" else f"{_start(comparisons)} "
            return f"{start}{comparisons[0].compressed}: {comparisons[0].headline}"
        return f"{_start(comparisons)} Of the {many}: {listed}.{more}"
    groups = list(dict.fromkeys(group_name(_worst(c).values) for c, _ in paying))
    verb = "pays" if len(groups) == 1 else "pay"
    models = _listed([c.compressed for c, _ in paying])
    gravest, _ = max(
        paying, key=lambda f: (f[0].verdict == "harm", worst_loss(_worst(f[0])).estimate.value or 0.0)
    )
    people = _worst(gravest).sentence
    if len(paying) > 1:
        people = f"With {gravest.compressed}: {people[:1].lower()}{people[1:]}"
    return f"{_listed(groups)} {verb} for {models}. {people} Of the {many}: {listed}.{more}"


def _start(comparisons: Sequence[Comparison]) -> str:
    verdicts = {c.verdict for c in comparisons}
    if verdicts == {"no_harm"}:
        scope = (
            "of the groups that could be assessed " if any(map(formatting.unassessed, comparisons)) else ""
        )
        return f"No group {scope}is shown to pay."
    if verdicts == {"not_estimable"}:
        return "Too few rows for any verdict."
    if "void" in verdicts:
        return "No group is shown to pay, but not every comparison shows anything."
    return "No group is shown to pay, nor is that ruled out for every group."


def _void(comparisons: Sequence[Comparison]) -> str:
    void = [c for c in comparisons if c.void is not None]
    reasons = " ".join(dict.fromkeys(c.void or "" for c in void))
    return f" Void: {_listed([c.compressed for c in void])}. {reasons}" if void else ""


def _unassessed(comparisons: Sequence[Comparison]) -> str:
    """Return a sentence on the groups that could not be assessed for any of the models, with their sizes."""
    groups = {tuple(g.values.items()): g for c in comparisons for g in formatting.unassessed(c)}
    if not groups:
        return ""
    named = _listed([f"{group_name(g.values)} ({g.n:,.0f})" for g in groups.values()], MAX_NAMED)
    return f" Not assessed, too few people: {named}."


MAX_NAMED = 12


def first_screen_rows(audit: Audit) -> list[SummaryRow]:
    """Return a row for each comparison of an audit, in its order."""
    return [_line(c, audit) for c in audit.comparisons]


def _line(c: Comparison, audit: Audit) -> SummaryRow:
    group = _worst(c) if c.verdict in ("harm", "loss") else c.overall
    loss = (
        worst_loss(group) if group is not c.overall or c.verdict in ("harm", "loss") else c.overall.losses[0]
    )
    chance = f"{100 * audit.confidence:g} % sure"
    span = format_points(loss.estimate).lstrip("+")
    lacking = formatting.unassessed(c)
    action = DO[c.verdict]
    if c.verdict in ("harm", "loss"):
        group_text = group_name(group.values)
        evidence = "; ".join(
            filter(
                None,
                [f"{METRIC[loss.metric]} worse by {span} points", sentences.reason_sentence(loss, c, audit)],
            )
        )
    elif c.verdict == "no_harm":
        groups = sum(len(a.groups) for a in c.attributes)
        group_text = (
            f"none of the {groups - len(lacking)} of {groups} groups that could be assessed"
            if lacking
            else "no group"
        )
        each = "of those" if lacking else "of all groups"
        evidence = f"{chance}, group by group, that none {each} loses more than {100 * audit.margin:g} points"
        action = PARTLY if lacking else action
    elif c.verdict == "void":
        group_text, evidence = "not known", c.void or ""
    elif c.verdict == "not_estimable":
        group_text, evidence = "not known", "too few rows for any verdict"
    else:
        group_text = "not known" if not c.disparate else f"not known; {sentences.split_groups(c, audit)}"
        evidence = sentences.largest(c, audit) or f"all together {span} points of {METRIC[loss.metric]}"
    flips = group.flips
    return SummaryRow(
        c.compressed,
        c.verdict,
        formatting.verdict(c),
        formatting.tone(c),
        group_text,
        1000 * flips.right_to_wrong / flips.n if flips.n else 0.0,
        1000 * flips.wrong_to_right / flips.n if flips.n else 0.0,
        evidence,
        action,
    )


def _worst(c: Comparison) -> GroupComparison:
    hit = [g for a in c.attributes for g in a.groups if g.verdict == c.verdict]
    return max(hit, key=lambda g: worst_loss(g).estimate.value or 0.0) if hit else c.overall


def _listed(names: Sequence[str], max_names: int = 4) -> str:
    if len(names) > max_names:
        return f"{', '.join(names[:max_names])} and {len(names) - max_names} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
