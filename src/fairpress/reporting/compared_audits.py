"""Audits of several releases beside each other, as text of at most 80 columns."""

from __future__ import annotations

import math
import textwrap

from fairpress.auditing.monitoring.compare_audits import AuditsCompared, ReleaseGroup
from fairpress.auditing.verdicts.wording import group_name
from fairpress.reporting.formatting import SYMBOL, WORD, format_signed

WIDTH = 80
_METRIC = {"accuracy": "accuracy lost", "tpr": "TPR lost", "fpr": "FPR gained"}
_WIDTHS = 9, 24, 15, 9
_NAME = WIDTH - sum(_WIDTHS) - 2


def render(compared: AuditsCompared) -> str:
    """Return a block for each group, with a line for each release, and the combined statement."""
    shows_e = any(g is not None and g.log_e is not None for o in compared.groups for g in o.releases)
    head = _line(
        "",
        "n",
        f"{_METRIC.get(compared.metric, compared.metric)} (points)",
        "verdict",
        "e-value" if shows_e else "",
    )
    lines = [head]
    for group in compared.groups:
        lines.append(group_name(group.values))
        for name, entry in zip(compared.releases, group.releases, strict=True):
            lines.append(_line(f"  {name}", *_cells(entry)))
    return "\n".join([*lines, "", *(part for s in sentences(compared) for part in textwrap.wrap(s, WIDTH))])


def sentences(compared: AuditsCompared) -> list[str]:
    """Return the combined statement and its conditions."""
    confidence = f"{compared.confidence:.0%}".replace("%", " %")
    points = f"{100 * compared.margin:.3g} points"
    names = compared.releases
    out = []
    if all(c is None for c in compared.cleared):
        out.append(
            "No e-values: they need accuracy, and rows that count once (without weights, subjects or seeds). The verdicts "
            "are those of audits of one look each; over several releases they err more often than stated."
        )
    else:
        cleared = [n for n, c in zip(names, compared.cleared, strict=True) if c]
        out.append(
            f"With {confidence} confidence for all {len(names)} releases together, a loss of {points} or more is ruled out "
            f"in every group of: {', '.join(cleared) or 'none'}."
        )
        by_rate = [n for n, c in zip(names, compared.cleared_by_rate, strict=True) if c]
        if by_rate != cleared:
            rate = f"{1 - compared.confidence:.0%}".replace("%", " %")
            out.append(
                f"If {rate} of the cleared releases may be wrong (e-BH): {', '.join(by_rate) or 'none'}."
            )
    out.append(
        f"If these audits used the same test set, it has judged {len(names)} releases; that a release was made without "
        "looking at its rows cannot be verified."
    )
    return out


def e_value(log_e: float) -> str:
    """Format an e-value given as its logarithm."""
    if log_e > math.log(1e6):
        return "> 10⁶"
    return f"{math.exp(log_e):,.0f}" if log_e >= math.log(10) else f"{math.exp(log_e):.2g}"


def _cells(entry: ReleaseGroup | None) -> tuple[str, str, str, str]:
    if entry is None:
        return "–", "–", "–", ""
    loss = "–"
    if entry.loss is not None and entry.low is not None and entry.high is not None:
        estimate, low, high = (100 * x for x in (entry.loss, entry.low, entry.high))
        loss = (
            f"{format_signed(estimate, '+.1f')} [{format_signed(low, '.1f')}, {format_signed(high, '.1f')}]"
        )
    verdict = next((f"{SYMBOL[v]} {WORD[v]}" for v in WORD if v == entry.verdict), entry.verdict)
    return f"{entry.n:,.0f}", loss, verdict, "" if entry.log_e is None else e_value(entry.log_e)


def _line(name: str, n: str, loss: str, verdict: str, e: str) -> str:
    shown = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
    a, b, c, d = _WIDTHS
    return f"{shown:<{_NAME}}{n:>{a}}{loss:>{b}}  {verdict:<{c}}{e:>{d}}".rstrip()
