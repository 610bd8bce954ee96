"""Sentences that report the findings of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairpress.auditing.result import Flips, GroupComparison, Values, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST

_DENOMINATOR = {"tpr": "positives", "fpr": "negatives"}
MAX_NAMES = 12
MAX_LISTED = 5
MIN_ROWS_FOR_ADVICE, MAX_ROWS_NEEDED = 30, 100_000


def group_name(values: Values) -> str:
    """Return the name of a group for reports: ``sex = Female and race = Asian``."""
    return " and ".join(f"{k} = {v}" for k, v in values.items()) if values else "everybody"


def verdict_sentence(values: Values, flips: Flips) -> str:
    """Return the changes of a group as people per 1,000."""
    people = f"people with {group_name(values)}" if values else "people"
    lost, gained = (round(1000 * x / flips.n) for x in (flips.right_to_wrong, flips.wrong_to_right))
    return f"Of 1,000 {people}, {lost} lose a correct answer and {gained} gain one."


def name_groups(names: Sequence[str]) -> str:
    """Return the names as a list in text; of many, only the first."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def lacks_rows(group: GroupComparison) -> bool:
    """Return whether a group has too few rows in at least one of the judged metrics."""
    return any(x.verdict == "not_estimable" for x in group.losses)


def headline(
    verdict: Verdict, overall: GroupComparison, groups: Sequence[GroupComparison], void: str | None = None
) -> str:
    """Return the number of groups per finding, and the names of the groups that were not assessed."""
    parts = [f"Void: {void}"] if verdict == "void" else []
    by_verdict = {v: [g for g in groups if g.verdict == v] for v in WORST_FIRST}
    assessed = len(groups) - len(by_verdict["not_estimable"])
    if overall.verdict in ("harm", "loss"):
        parts.append(f"{_DEMONSTRATED[overall.verdict]} over all people together.")
    elif overall.verdict == "inconclusive" and assessed and len(by_verdict["no_harm"]) == assessed:
        parts.append("Inconclusive over all people together.")
    if verdict == "void":
        parts.append("No verdict by group has a meaning here.")
    elif not assessed:
        parts.append("Too few rows for any verdict by group.")
    elif len(by_verdict["no_harm"]) == assessed:
        parts.append(f"No harm in {_assessed_groups(assessed, len(groups))}.")
    else:
        findings = [
            f"{word.lower()} in {len(by_verdict[v])} ({name_groups([group_name(g.values) for g in by_verdict[v]])})"
            for v, word in _DEMONSTRATED.items()
            if by_verdict[v]
        ]
        few = 0 < len(by_verdict["inconclusive"]) <= MAX_LISTED
        names = f" ({name_groups([group_name(g.values) for g in by_verdict['inconclusive']])})" if few else ""
        findings += [
            f"{word} in {len(by_verdict[v])}{names * (v == 'inconclusive')}"
            for v, word in _OTHER.items()
            if by_verdict[v]
        ]
        scope = (
            f"Of {len(groups)} groups"
            if assessed == len(groups)
            else f"Of the {assessed} of {len(groups)} groups that could be assessed"
        )
        parts.append(f"{scope}: {'; '.join(findings)}.")
    if verdict == "void":  # more rows would not help; the table shows the groups
        lacking = [group_name(g.values) for g in by_verdict["not_estimable"]]
        return " ".join([*parts, *([f"Not assessed: {name_groups(lacking)}."] if lacking else [])])
    if by_verdict["not_estimable"]:
        parts.append(
            f"Not assessed, too few people: {name_groups([_name_with_rows(g) for g in by_verdict['not_estimable']])}."
        )
    partly = [g for g in groups if lacks_rows(g) and g.verdict != "not_estimable"]
    if len(partly) > MAX_LISTED:
        parts.append(f"In {len(partly)} groups some rates were not assessed: too few positives or negatives.")
    elif partly:
        partly_names = name_groups([f"{group_name(g.values)} ({_lacking_rows(g)})" for g in partly])
        parts.append(f"Not assessed in every rate: {partly_names}.")
    if void is not None:
        parts.append(void)
    return " ".join(parts)


_DEMONSTRATED: Mapping[Verdict, str] = {"harm": "Harm", "loss": "A loss"}
_OTHER: Mapping[Verdict, str] = {"inconclusive": "inconclusive", "no_harm": "no harm"}


def _assessed_groups(assessed: int, groups: int) -> str:
    if assessed == groups:
        return {1: "the only group", 2: "both groups"}.get(groups, f"all {groups} groups")
    return f"the {assessed} of {groups} groups that could be assessed"


def _name_with_rows(group: GroupComparison) -> str:
    """Return a group with its rows and those that are too few: ``sex = Female (461, of which 68 negatives)``."""
    lacking = [x for x in group.losses if x.verdict == "not_estimable"]
    rows = f"{group.n:,.0f}"
    if lacking and all(x.metric != "accuracy" for x in lacking):
        rows += f", of which {_lacking_rows(group)}"
    # An extrapolation from a handful of people is not useful advice.
    if (
        group.rows_needed is not None
        and group.n >= MIN_ROWS_FOR_ADVICE
        and group.rows_needed <= MAX_ROWS_NEEDED
    ):
        rows += f", about {group.rows_needed:,} needed"
    return f"{group_name(group.values)} ({rows})"


def _lacking_rows(group: GroupComparison) -> str:
    """Return the rows of which a group has too few: ``68 negatives``."""
    return " and ".join(
        f"{x.estimate.n:,.0f} {_DENOMINATOR.get(x.metric, 'rows')}"
        for x in group.losses
        if x.verdict == "not_estimable"
    )
