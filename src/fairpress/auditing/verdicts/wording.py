"""An audit's findings as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairpress.auditing.result import Flips, GroupComparison, Values, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST

_KIND = {"tpr": "positives", "fpr": "negatives"}
MAX_NAMES = 12
MAX_PARTLY_ASSESSED = 5
FEW, MOST_NEEDED = 30, 100_000


def group_name(values: Values) -> str:
    """Return a group as people read it: ``sex = Female and race = Asian``."""
    return " and ".join(f"{k} = {v}" for k, v in values.items()) if values else "everybody"


def verdict_sentence(values: Values, flips: Flips) -> str:
    """Say what changed for a group in people, per 1,000."""
    who = f"people with {group_name(values)}" if values else "people"
    lost, gained = (round(1000 * x / flips.n) for x in (flips.right_to_wrong, flips.wrong_to_right))
    return f"Of 1,000 {who}, {lost} lose a correct answer and {gained} gain one."


def name_groups(names: Sequence[str]) -> str:
    """List names; of many, the first."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def lacks_rows(group: GroupComparison) -> bool:
    """Return whether a group has too few rows in at least one of the judged metrics."""
    return any(x.verdict == "not_estimable" for x in group.losses)


def headline(
    verdict: Verdict, everybody: GroupComparison, groups: Sequence[GroupComparison], void: str | None = None
) -> str:
    """Say in how many groups what was found, and name the groups that were not assessed: never "no harm" without them."""
    parts = [f"Void: {void}"] if verdict == "void" else []
    found = {v: [g for g in groups if g.verdict == v] for v in WORST_FIRST}
    assessed = len(groups) - len(found["not_estimable"])
    if everybody.verdict in ("harm", "loss"):
        parts.append(f"{_FOUND[everybody.verdict]} over all people together.")
    elif everybody.verdict == "inconclusive" and assessed and len(found["no_harm"]) == assessed:
        parts.append("Inconclusive over all people together.")
    if verdict == "void":
        parts.append("No verdict by group has a meaning here.")
    elif not assessed:
        parts.append("Too few rows for any verdict by group.")
    elif len(found["no_harm"]) == assessed:
        parts.append(f"No harm in {_of(assessed, len(groups))}.")
    else:
        told = [
            f"{word.lower()} in {len(found[v])} ({name_groups([group_name(g.values) for g in found[v]])})"
            for v, word in _FOUND.items()
            if found[v]
        ]
        few = 0 < len(found["inconclusive"]) <= MAX_PARTLY_ASSESSED
        who = f" ({name_groups([group_name(g.values) for g in found['inconclusive']])})" if few else ""
        told += [
            f"{word} in {len(found[v])}{who * (v == 'inconclusive')}" for v, word in _OPEN.items() if found[v]
        ]
        whole = (
            f"Of {len(groups)} groups"
            if assessed == len(groups)
            else f"Of the {assessed} of {len(groups)} groups that could be assessed"
        )
        parts.append(f"{whole}: {'; '.join(told)}.")
    if verdict == "void":  # rows would not help; who lacks them stands in the table
        lacking = [group_name(g.values) for g in found["not_estimable"]]
        return " ".join([*parts, *([f"Not assessed: {name_groups(lacking)}."] if lacking else [])])
    if found["not_estimable"]:
        parts.append(
            f"Not assessed, too few people: {name_groups([_lacking(g) for g in found['not_estimable']])}."
        )
    partly = [g for g in groups if lacks_rows(g) and g.verdict != "not_estimable"]
    if len(partly) > MAX_PARTLY_ASSESSED:
        parts.append(f"In {len(partly)} groups some rates were not assessed: too few positives or negatives.")
    elif partly:
        found_in = name_groups([f"{group_name(g.values)} ({_kinds(g)})" for g in partly])
        parts.append(f"Not assessed in every rate: {found_in}.")
    if void is not None:
        parts.append(void)
    return " ".join(parts)


_FOUND: Mapping[Verdict, str] = {"harm": "Harm", "loss": "A loss"}
_OPEN: Mapping[Verdict, str] = {"inconclusive": "inconclusive", "no_harm": "no harm"}


def _of(assessed: int, groups: int) -> str:
    if assessed == groups:
        return {1: "the only group", 2: "both groups"}.get(groups, f"all {groups} groups")
    return f"the {assessed} of {groups} groups that could be assessed"


def _lacking(group: GroupComparison) -> str:
    """Name a group, its rows, and of which kind there are too few: ``sex = Female (461, of which 68 negatives)``."""
    lacking = [x for x in group.losses if x.verdict == "not_estimable"]
    rows = f"{group.n:,.0f}"
    if lacking and all(x.metric != "accuracy" for x in lacking):
        rows += f", of which {_kinds(group)}"
    # What a handful of people would have to become is no advice.
    if group.rows_needed is not None and group.n >= FEW and group.rows_needed <= MOST_NEEDED:
        rows += f", about {group.rows_needed:,} needed"
    return f"{group_name(group.values)} ({rows})"


def _kinds(group: GroupComparison) -> str:
    """Name the rows of which a group has too few: ``68 negatives``."""
    return " and ".join(
        f"{x.estimate.n:,.0f} {_KIND.get(x.metric, 'rows')}"
        for x in group.losses
        if x.verdict == "not_estimable"
    )
