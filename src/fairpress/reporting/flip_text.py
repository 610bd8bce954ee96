"""Matched flips and counterfactual pairs in words and rows, which all reports share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairpress.auditing.flip_results import CounterfactualPairs, MatchedFlips, MatchedGroup
from fairpress.auditing.result import Audit, Comparison
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.estimate import Estimate
from fairpress.reporting.formatting import format_p, format_points

MAX_ALSO = 3
MATCHED_HEAD: tuple[str, ...] = (
    "group",
    "n",
    "flips",
    "elsewhere",
    "difference",
    "flips at equal closeness",
    "elsewhere",
    "difference",
    "explained by closeness",
    "adjusted p",
)
PAIRS_HEAD: tuple[str, ...] = (
    "pairs with",
    "pairs",
    "templates",
    "disagree before",
    "after",
    "change",
    "adjusted p",
)


def matched_lines(comparison: Comparison, audit: Audit, *, shown_only: bool = False) -> list[str]:
    """Return a line for each attribute: whether a group flips more than the closeness of its predictions explains.

    With `shown_only`, attributes without a difference that is shown are left out. None of a void comparison, whose models
    have nothing to lose.
    """
    if comparison.verdict == "void":
        return []
    lines = (
        _matched_line(m, audit.confidence)
        for m in comparison.matched_flips
        if not shown_only or any(_is_shown(g.matched, audit.confidence) for g in m.groups)
    )
    return [line for line in lines if line]


def matched_legend(comparison: Comparison, audit: Audit) -> str:
    """Return what is compared at equal closeness; empty without matched flips."""
    if not comparison.matched_flips:
        return ""
    first = comparison.matched_flips[0]
    scores = first.columns[0] if len(first.columns) == 1 else f"{len(first.columns)} scores"
    return (
        f"At equal closeness: among rows that {audit.baseline} decided alike, in {first.strata} strata of how far its score "
        f"({scores}) was from the decision, fixed beforehand; differences in points, p-values corrected over all groups."
    )


def matched_rows(matched: MatchedFlips) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each group, as `MATCHED_HEAD` names them."""
    for g in matched.groups:
        yield (
            group_name(g.values),
            f"{g.n:,.0f}",
            _percent(g.flipped, g.n),
            _percent(g.rest_flipped, g.rest_n),
            _points(g.difference),
            "–" if g.share is None else f"{100 * g.share:.1f} %",
            "–" if g.rest_share is None else f"{100 * g.rest_share:.1f} %",
            _points(g.matched) + _compared(g),
            _points(g.explained),
            format_p(g.matched.p_adjusted),
        )


def counterfactual_lines(comparison: Comparison, audit: Audit) -> list[str]:
    """Return a line for each attribute: how many pairs of rows that differ in identity alone disagree, and the change."""
    return [_pairs_line(c, audit.confidence) for c in comparison.counterfactual]


def counterfactual_rows(pairs: CounterfactualPairs) -> Iterator[tuple[str, ...]]:
    """Yield the cells of all pairs and of those with each identity, as `PAIRS_HEAD` names them."""
    for p in (pairs.all_pairs, *pairs.identities):
        yield (
            group_name(p.values) if p.values else "all pairs",
            f"{p.pairs:,.0f}",
            f"{p.templates:,}",
            _share(p.before),
            _share(p.after),
            _points(p.change),
            format_p(p.change.p_adjusted),
        )


def _matched_line(matched: MatchedFlips, confidence: float) -> str:
    known = [g for g in matched.groups if g.difference.value is not None]
    if not known or not any(g.flipped or g.rest_flipped for g in known):
        return ""
    shown = [g for g in known if _is_shown(g.matched, confidence)]
    group = _leading(shown or known)
    flips = (
        f"{group_name(group.values)} {_percent(group.flipped, group.n)} against "
        f"{_percent(group.rest_flipped, group.rest_n)} elsewhere"
    )
    if group.share is None or group.rest_share is None:
        return f"Flips by {matched.attribute}: {flips}; no other rows are as close to call."
    also = [g for g in shown if g is not group] if len(matched.groups) > 2 else []
    return (
        f"Flips by {matched.attribute}: {flips}; among predictions as close to call {100 * group.share:.1f} % against "
        f"{100 * group.rest_share:.1f} %: {format_points(group.matched)} points, {_finding(group, confidence)}{_also(also)}."
    )


def _finding(group: MatchedGroup, confidence: float) -> str:
    value = group.matched.value or 0.0
    if _is_shown(group.matched, confidence):
        return f"{'more' if value > 0 else 'fewer'} than closeness explains ({_p(group.matched)})"
    low, high = group.difference.low, group.difference.high
    if low is not None and high is not None and (low > 0 or high < 0):
        return f"no difference shown; closeness explains {format_points(group.explained)}"
    return "no difference shown"


def _also(groups: Sequence[MatchedGroup]) -> str:
    """Return the other groups whose difference at equal closeness is shown; empty if there are none."""
    if not groups:
        return ""
    ordered = sorted(groups, key=lambda g: g.matched.p_adjusted or 0.0)
    names = [f"{group_name(g.values)} {format_points(g.matched)}" for g in ordered[:MAX_ALSO]]
    more = f" and {len(groups) - MAX_ALSO} more" if len(groups) > MAX_ALSO else ""
    return f"; shown to differ, too: {', '.join(names)}{more}"


def _leading(groups: Sequence[MatchedGroup]) -> MatchedGroup:
    """Return the group that flips more most clearly: by its difference as it is, in units of the interval's width."""

    def clear(group: MatchedGroup) -> float:
        x = group.difference
        width = (x.high or 0.0) - (x.low or 0.0)
        return (x.value or 0.0) / width if width > 0 else 0.0

    return max(groups, key=clear)


def _pairs_line(pairs: CounterfactualPairs, confidence: float) -> str:
    whole = pairs.all_pairs
    start = f"Counterfactual pairs (same {pairs.column}, other {pairs.attribute}): "
    if whole.before.value is None or whole.after.value is None:
        return f"{start}none; no template has rows of two groups."
    disagree = (
        f"of {whole.pairs:,.0f} pairs in {whole.templates:,} {'template' if whole.templates == 1 else 'templates'}, "
        f"{100 * whole.before.value:.1f} % disagree before and {100 * whole.after.value:.1f} % after"
    )
    if whole.change.low is None:
        return f"{start}{disagree} (one template: no interval)."
    shown = [p for p in pairs.identities if _is_shown(p.change, confidence)]
    finding = (
        f"a change that is shown ({_p(whole.change)})"
        if _is_shown(whole.change, confidence)
        else "no change shown"
    )
    # Pairs of the identity that moved are pairs of the others, too: one name says more than all that are shown.
    most = max(shown, key=lambda p: abs(p.change.value or 0.0), default=None)
    named = (
        ""
        if most is None
        else f"; most in pairs with {group_name(most.values)}, {format_points(most.change)}"
    )
    return f"{start}{disagree}: {format_points(whole.change)} points, {finding}{named}."


def _is_shown(estimate: Estimate, confidence: float) -> bool:
    return estimate.p_adjusted is not None and estimate.p_adjusted <= 1 - confidence


def _p(estimate: Estimate) -> str:
    p = format_p(estimate.p_adjusted)
    return f"p {p}" if p.startswith("<") else f"p = {p}"


def _percent(count: float, n: float) -> str:
    return f"{100 * count / n:.1f} %" if n else "–"


def _compared(group: MatchedGroup) -> str:
    """Return how many rows of the group were compared, where some have no others that are as close to call."""
    return (
        f" ({group.matched.n:,.0f} rows)"
        if group.share is not None and group.matched.n < group.n - 0.5
        else ""
    )


def _points(estimate: Estimate) -> str:
    return format_points(estimate) if estimate.value is not None else "–"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    out = f"{100 * estimate.value:.1f} %"
    if estimate.low is not None and estimate.high is not None:
        out += f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return out
