"""The gate in at most ten lines, for a terminal and for a pull request; every loss has its interval."""

from __future__ import annotations

from collections.abc import Sequence

from fairpress.auditing.result import Audit, Pool
from fairpress.auditing.verdicts.release_gate import DIGITS, Gate, GateLoss, ModelGate
from fairpress.auditing.verdicts.wording import group_name, margin_text, percent, who
from fairpress.reporting.formatting import SYMBOL, WORD, at_most, format_loss
from fairpress.reporting.markdown import escape
from fairpress.reporting.sentences import rows_sentence, warnings

MAX_LINES = 10
MAX_NAMES = 3
MAX_REASON = 120
MAX_MODELS = 3
"""Models with a line of their own."""


def gate_lines(gate: Gate) -> list[str]:
    """Return the gate in at most ten lines: the result, its terms, then a line for each model, those that fail first."""
    head = [_headline(gate), *([policy_line(gate)] if gate.policy is not None else [])]
    models = _failing_first(gate)
    shown = models[:MAX_MODELS]
    rest = [] if len(models) <= MAX_MODELS else [_left_out(models[MAX_MODELS:])]
    details = {m.model: [f"    {line}" for line in _details(m, gate)] for m in shown}
    room = MAX_LINES - len(head) - len(shown) - len(rest)
    lines = []
    for m in shown:
        kept = details[m.model][:room]
        room -= len(kept)
        lines += [f"{_sign(m)} {m.model}: {_bound(m, gate)}", *kept]
    return [*head, *lines, *rest]


def gate_markdown(gate: Gate) -> str:
    """Return the gate as a comment on a pull request: at most ten lines, in which every name is escaped."""
    models = _failing_first(gate)
    policy = [escape(policy_line(gate))] if gate.policy is not None else []
    shown = models[:MAX_MODELS]
    rest = [] if len(models) <= MAX_MODELS else [_left_out(models[MAX_MODELS:])]
    notes = [f"{m.model}: {line}" for m in shown for line in _details(m, gate)]
    lines = [
        f"### Who pays for the compression? {escape(_headline(gate))}",
        "",
        "| model | gate | at most | estimate | who | margin |",
        "|---|---|--:|--:|---|--:|",
        *(_row(m, gate) for m in shown),
    ]
    tail = [*rest, *notes]
    if tail or policy:
        lines.append("")
    room = MAX_LINES - len(lines) - len(policy)
    if len(tail) > room:  # the last line takes what is left over
        tail = [*tail[: max(room - 1, 0)], "; ".join(tail[max(room - 1, 0) :])]
    # Two blanks at the end break the line.
    return "  \n".join(
        ["\n".join(lines)] if not tail and not policy else _joined(lines, [*map(escape, tail), *policy])
    )


def _joined(lines: Sequence[str], tail: Sequence[str]) -> list[str]:
    first = "\n".join([*lines, tail[0]])
    return [first, *tail[1:]]


def policy_line(gate: Gate) -> str:
    """Return which policy holds, who signed it, when, and why."""
    policy = gate.policy
    if policy is None:
        return ""
    signed = policy.content.get("signed")
    reason = str(signed.get("reason", "")) if isinstance(signed, dict) else ""
    return f"policy {policy.digest[:DIGITS]}, signed by {policy.signed_by} on {policy.date}: {_cut(reason)}"


def _headline(gate: Gate) -> str:
    failing = sum(not m.passed for m in gate.models)
    total = len(gate.models)
    result = "gate passed" if gate.passed else "gate failed"
    if total > 1:
        result += f", {failing} of {total} models fail" if failing else f" by {total} models"
    reason = f" ({_cut(gate.margin.reason)})" if gate.margin.reason else ""
    return (
        f"{result}: {gate.measure.name} against {gate.baseline}, margin {margin_text(gate.margin, gate.measure)}{reason}, "
        f"{100 * gate.confidence:g} % confidence"
    )


def _bound(m: ModelGate, gate: Gate) -> str:
    """Return X of the required groups, whose it is, its estimate, and the margin there."""
    if m.void is not None:
        return f"void. {m.void}"
    if m.binding is None:
        return "no required group has enough rows"
    return f"{gate.measure.name} {gate.measure.up} by at most {_loss(m.binding)}, margin {_margin(m.binding, gate)}"


def _details(m: ModelGate, gate: Gate) -> list[str]:
    """Return why a model fails, what was not assessed, and what would settle it."""
    out = []
    if m.shown:
        out.append(f"shown: {_listed([_finding(x, m) for x in _worst(m.shown)])}")
    others = [x for x in _worst(m.uncertain) if m.binding is None or x.group != m.binding.group]
    if others:
        out.append(f"not ruled out either: {_listed([_loss(x) for x in others])}")
    if m.missing:
        out.append(
            f"required and not assessed: {_listed([_rows(x, gate, m) for x in m.missing])}; gather rows"
        )
    if m.too_few_cleared:
        out.append(
            f"cleared: {percent(m.bounds.cleared)} of the people, required {percent(m.min_people_cleared or 0)}"
        )
    settle = _settle(m)
    if settle:
        out.append(settle)
    if m.nothing_assessed and not m.missing:
        out.append(f"no group has enough rows for a verdict of its own; each needs {gate.min_rows:,}")
    lacking = []
    if m.unassessed and not m.nothing_assessed:
        lacking.append(
            f"not assessed, and not required: {_listed([_rows(x, gate, m) for x in m.unassessed])}"
        )
    if m.pools:
        lacking.append(f"judged only together: {_listed([_members(p) for p in m.pools])}")
    return [*out, *(["; ".join(lacking)] if lacking else [])]


def _settle(m: ModelGate) -> str:
    """Return what would settle a model that fails without a loss that is shown."""
    if m.passed or m.void is not None:
        return ""
    if m.shown:
        return "to pass: compress less, or mitigate"
    rows = [x for x in m.uncertain if x.loss.rows_to_decide is not None]
    if not rows:
        return "to settle: more rows, or less compression" if m.uncertain else ""

    def more(x: GateLoss) -> float:
        plan = x.loss.rows_to_decide
        return float("inf") if plan is None or plan.more is None else plan.more

    hardest = max(rows, key=more)
    return f"to settle: {who(hardest.group)}: {rows_sentence(hardest.loss).rstrip('.')}"


def _finding(x: GateLoss, m: ModelGate) -> str:
    """Return a loss that is shown; its numbers are in the line above if it is the binding one."""
    same = m.binding is not None and x.group == m.binding.group and x.loss == m.binding.loss
    return (
        f"{WORD[x.loss.verdict]} for {who(x.group)}"
        if same
        else (f"{WORD[x.loss.verdict]}, {x.loss.measure.name} at most {_loss(x)}")
    )


def _loss(x: GateLoss) -> str:
    estimate = f"{format_loss(x.loss)}, n = {x.loss.estimate.n or 0:,.0f}"
    return f"{at_most(x.loss)}{x.loss.measure.brief_suffix} for {who(x.group)} (estimate {estimate})"


def _margin(x: GateLoss, gate: Gate) -> str:
    """Return the margin in a group, in points and, if it is relative, as its share."""
    if not gate.margin.relative:
        return margin_text(gate.margin, gate.measure)
    m = x.loss.measure
    return f"{m.scale * x.loss.margin:.2g}{m.brief_suffix} ({margin_text(gate.margin)})"


def _row(m: ModelGate, gate: Gate) -> str:
    cells = [m.model, f"{_sign(m)} {'passed' if m.passed else 'failed'}"]
    x = m.binding
    if m.void is not None or x is None:
        cells += ["–", "–", "void" if m.void is not None else "no required group has enough rows", "–"]
    else:
        estimate = f"{format_loss(x.loss)}, n = {x.loss.estimate.n or 0:,.0f}"
        cells += [f"{at_most(x.loss)}{x.loss.measure.brief_suffix}", estimate, who(x.group), _margin(x, gate)]
    return f"| {' | '.join(map(escape, cells))} |"


def _rows(x: GateLoss, gate: Gate, m: ModelGate) -> str:
    """Return a group with its rows in the deciding metric's denominator, those it needs, and whether it is in a pool."""
    if isinstance(x.group, Pool):
        return who(x.group)
    pooled = any(dict(x.group) == dict(member) for p in m.pools for member in p.members)
    together = ", judged only together" if pooled else ""
    return f"{group_name(x.group)} ({x.loss.estimate.n or 0:,.0f} of {gate.min_rows:,} rows{together})"


def _members(pool: Pool) -> str:
    names = [" · ".join(m.values()) for m in pool.members]
    return f"{pool.attribute} ({_listed(names)})"


def _worst(losses: Sequence[GateLoss]) -> list[GateLoss]:
    return sorted(losses, key=lambda x: (x.loss.verdict != "harm", -(x.loss.upper or 0.0)))


def _failing_first(gate: Gate) -> list[ModelGate]:
    return sorted(gate.models, key=lambda m: m.passed)


def _left_out(models: Sequence[ModelGate]) -> str:
    failing = sum(not m.passed for m in models)
    return f"and {len(models)} more models, of which {failing} fail; all with --json"


def _sign(m: ModelGate) -> str:
    return SYMBOL["no_harm"] if m.passed else SYMBOL["harm"]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return "; ".join(names[:MAX_NAMES]) + more


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


def warning_lines(audit: Audit) -> list[str]:
    """Return what must be read before the gate, a line each."""
    return [f"! {line}" for line in warnings(audit)]
