"""An audit's findings as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairpress.auditing.result import Flips, GroupComparison, Values, Verdict
from fairpress.auditing.verdict import WORST_FIRST

_HEADLINE: Mapping[Verdict, str] = {
    "harm": "harm",
    "loss": "loss shown",
    "inconclusive": "inconclusive",
    "no_harm": "no harm",
}

_KIND = {"tpr": "positives", "fpr": "negatives"}
MOST_NAMES = 12


def group_name(values: Values) -> str:
    """Return a group as people read it: ``sex = Female and race = Asian``."""
    return " and ".join(f"{k} = {v}" for k, v in values.items()) if values else "everybody"


def sentence(values: Values, flips: Flips) -> str:
    """Say what changed for a group in people, per 1,000."""
    who = f"people with {group_name(values)}" if values else "people"
    lost, gained = (round(1000 * x / flips.n) for x in (flips.right_to_wrong, flips.wrong_to_right))
    return f"Of 1,000 {who}, {lost} lose a correct answer and {gained} gain one."


def headline(groups: Sequence[GroupComparison]) -> str:
    """List how many groups are where; harmed groups and groups with too few rows by name."""
    parts = []
    for verdict in WORST_FIRST:
        found = [g for g in groups if g.verdict == verdict]
        if not found:
            continue
        if verdict == "not_estimable":
            parts.append(f"too few rows: {_named([f'{group_name(g.values)} ({_rows(g)})' for g in found])}")
        elif verdict in ("harm", "loss"):
            parts.append(
                f"{_HEADLINE[verdict]} {len(found)} ({_named([group_name(g.values) for g in found])})"
            )
        else:
            parts.append(f"{_HEADLINE[verdict]} {len(found)}")
    return "; ".join(parts)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _rows(group: GroupComparison) -> str:
    """Say how many rows a group has, and of which kind there are too few: ``461, of which 68 negatives``."""
    lacking = [x for x in group.losses if x.verdict == "not_estimable"]
    if not lacking or any(x.metric == "accuracy" for x in lacking):
        return f"{group.n:,.0f}"
    kinds = [f"{x.estimate.n:,.0f} {_KIND[x.metric]}" for x in lacking]
    return f"{group.n:,.0f}, of which {' and '.join(kinds)}"
