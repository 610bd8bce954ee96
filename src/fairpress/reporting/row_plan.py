"""A plan of rows as text of at most 80 columns."""

from __future__ import annotations

from fairpress.auditing.planning.row_plan import MAX_ROWS, PlannedGroup, RowPlan
from fairpress.auditing.verdicts.wording import group_name, name_groups

WIDTH = 80
_WIDTHS = (9, 8, 14, 8, 10)
_NAME = WIDTH - sum(_WIDTHS)
_METRIC = {"accuracy": "", "tpr": " (TPR)", "fpr": " (FPR)"}


def render(plan: RowPlan) -> str:
    """Return the assumptions, a line for each group, and what is missing."""
    flips = sorted({g.rows.flips for g in plan.groups})
    share = f"{100 * flips[0]:.3g}" + (f" to {100 * flips[-1]:.3g}" if len(flips) > 1 else "")
    bounded = any(g.flips_bound is not None for g in plan.groups)
    lines = [
        f'Rows for "no harm" at a margin of {100 * plan.margin:.3g} points with {_percent(plan.confidence)} confidence,',
        f"if {share} % of predictions change and the true loss is {100 * plan.loss:.3g} points:",
        "",
        _line(
            "group",
            "rows",
            "chance",
            f"rows for {_percent(plan.assurance)}",
            "margin",
            "by flips" if bounded else "",
        ),
        *(line for g in plan.groups for line in _lines(*_cells(g, bounded))),
        "",
        *_wrapped(
            f"margin: the smallest, in points, that the rows show with {_percent(plan.assurance)} chance."
            + (" By flips: no larger loss of accuracy, whatever the labels are." if bounded else "")
        ),
    ]
    for attribute, metric in dict.fromkeys((g.rows.attribute, g.rows.metric) for g in plan.groups):
        groups = [g for g in plan.groups if (g.rows.attribute, g.rows.metric) == (attribute, metric)]
        if len(groups) > 1:
            every = "Both" if len(groups) == 2 else f"All {len(groups)}"
            lines += _wrapped(
                f"{every} groups of {attribute}{_METRIC[metric]} are cleared with "
                f"{_percent(plan.joint(attribute, metric))} chance."
            )
    return "\n".join([*lines, *_wrapped(_missing(plan))])


def _missing(plan: RowPlan) -> str:
    lacking = [g for g in plan.groups if g.rows_needed is not None and g.rows_needed > g.rows.n]
    never = [g for g in plan.groups if g.rows_needed is None]
    if not lacking and not never:
        return "Every group has the rows."
    names = [f"{_name(g)} {g.rows_needed - g.rows.n:,.0f}" for g in lacking if g.rows_needed is not None]
    texts = [f"More rows are needed of: {name_groups(names)}."] if names else []
    if never:
        texts.append(
            f"No number of rows up to {MAX_ROWS:,} suffices for: {name_groups([_name(g) for g in never])}."
        )
    return " ".join(texts)


def _cells(group: PlannedGroup, bounded: bool) -> tuple[str, str, str, str, str, str]:
    return (
        _name(group),
        f"{group.rows.n:,.0f}",
        _percent(group.chance),
        "–" if group.rows_needed is None else f"{group.rows_needed:,}",
        "–" if group.smallest_margin is None else f"{100 * group.smallest_margin:.1f}",
        f"{100 * group.flips_bound:.2f}" if bounded and group.flips_bound is not None else "",
    )


def _name(group: PlannedGroup) -> str:
    return group_name(group.rows.values) + _METRIC[group.rows.metric]


def _lines(name: str, *figures: str) -> list[str]:
    """Return the line of a group; a long name has a line to itself."""
    return [_line(name, *figures)] if len(name) < _NAME else [name, _line("", *figures)]


def _line(name: str, *figures: str) -> str:
    return (
        f"{name:<{_NAME}}{''.join(f'{text:>{w}}' for text, w in zip(figures, _WIDTHS, strict=True))}".rstrip()
    )


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH) if text else []


def _percent(share: float) -> str:
    """Format a probability; 100 % and 0 % only where nothing is left."""
    points = 100 * share
    if 0 < points < 1:
        return "< 1 %"
    return (
        "> 99 %"
        if 99 < points < 100
        else f"{points:.3g} %"
        if points == round(points, 1)
        else f"{points:.0f} %"
    )
