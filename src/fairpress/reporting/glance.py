"""The first screen of a report: one sentence that answers, and a row for each compressed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairpress.auditing.result import Audit, Comparison, GroupComparison, Verdict
from fairpress.auditing.sentences import group_name
from fairpress.auditing.verdict import WORST_FIRST
from fairpress.reporting.words import METRIC, SYMBOL, WORD, points, worst_loss

DO: dict[Verdict, str] = {
    "harm": "do not ship it: compress less, or mitigate",
    "loss": "gather rows, or compress less",
    "inconclusive": "gather rows before you rely on it",
    "not_estimable": "gather rows: nothing is known",
    "no_harm": "may be shipped, as far as this shows",
}


@dataclass(frozen=True)
class Line:
    """A compressed model on the first screen: what it is judged, who pays, how many in a thousand, how sure, what to do."""

    model: str
    verdict: Verdict
    who: str
    lose: float
    gain: float
    sure: str
    do: str

    @property
    def word(self) -> str:
        return f"{SYMBOL[self.verdict]} {WORD[self.verdict]}"


def headline(audits: Sequence[Audit]) -> str:
    """Answer in a sentence who pays, over all compressed models of the audits."""
    found = [c for a in audits for c in a.comparisons]
    if not found:
        return "Nothing was compressed here: these are the rates of the models by themselves."
    paying = [c for c in found if c.verdict in ("harm", "loss")]
    counts = [(v, sum(c.verdict == v for c in found)) for v in WORST_FIRST]
    told = ", ".join(f"{n} {WORD[v]}" for v, n in counts if n)
    many = "compressed model" if len(found) == 1 else f"{len(found)} compressed models"
    uneven = [c.compressed for c in found if c.disparate and c not in paying]
    more = f" With {_listed(uneven)} some groups fare worse than the rest." if uneven else ""
    if not paying:
        start = (
            "No group is shown to pay"
            if any(c.verdict != "no_harm" for c in found)
            else "Nobody is shown to pay"
        )
        return f"{start} for the {many}: {told}.{more}"
    groups = list(dict.fromkeys(group_name(_worst(c).values) for c in paying))
    verb = "pays" if len(groups) == 1 else "pay"
    models = _listed([c.compressed for c in paying])
    gravest = max(paying, key=lambda c: (c.verdict == "harm", worst_loss(_worst(c)).estimate.value or 0.0))
    people = _worst(gravest).sentence
    if len(paying) > 1:
        people = f"With {gravest.compressed}: {people[:1].lower()}{people[1:]}"
    return f"{_listed(groups)} {verb} for {models}. {people} Of the {many}: {told}.{more}"


def glance(audit: Audit) -> list[Line]:
    """Return a line for each comparison of an audit, in its order."""
    return [_line(c, audit) for c in audit.comparisons]


def _line(c: Comparison, audit: Audit) -> Line:
    group = _worst(c) if c.verdict in ("harm", "loss") else c.overall
    loss = worst_loss(group) if group is not c.overall else c.overall.losses[0]
    chance = f"{100 * audit.confidence:g} % sure"
    span = points(loss.estimate).lstrip("+")
    if c.verdict in ("harm", "loss"):
        who = group_name(group.values)
        sure = f"{METRIC[loss.metric]} worse by {span} points; the verdict is corrected for all groups"
    elif c.verdict == "no_harm":
        who, sure = (
            "nobody",
            f"{chance}, group by group, that none loses more than {100 * audit.margin:g} points",
        )
    else:
        who = "not known" if not c.disparate else "not known; some groups fare worse than the rest"
        sure = f"all together {span} points of {METRIC[loss.metric]}; single groups are open"
    flips = group.flips
    return Line(
        c.compressed,
        c.verdict,
        who,
        1000 * flips.right_to_wrong / flips.n if flips.n else 0.0,
        1000 * flips.wrong_to_right / flips.n if flips.n else 0.0,
        sure,
        DO[c.verdict],
    )


def _worst(c: Comparison) -> GroupComparison:
    hit = [g for a in c.attributes for g in a.groups if g.verdict == c.verdict]
    return max(hit, key=lambda g: worst_loss(g).estimate.value or 0.0) if hit else c.overall


def _listed(names: Sequence[str], most: int = 4) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
