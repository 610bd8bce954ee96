"""Gates: which findings of an audit fail a release, and which groups must have been assessed for it to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairpress.auditing.result import Audit, Comparison, GroupComparison, Values
from fairpress.auditing.verdicts.rules import decides
from fairpress.auditing.verdicts.wording import group_name, lacks_rows, name_groups, who
from fairpress.core.attribute import SEPARATOR, Attribute
from fairpress.core.errors import UserError, did_you_mean

GATES = ("harm", "loss", "inconclusive", "not-assessed")
"""``harm`` fails on harm alone, ``loss`` on loss or harm, ``inconclusive`` where any group is, ``not-assessed`` where any
group lacks the rows for any judged metric. A void comparison fails every gate."""

_FAILS: Mapping[str, tuple[str, ...]] = {
    "harm": ("harm",),
    "loss": ("harm", "loss"),
    "inconclusive": ("inconclusive",),
}


def gates_of(fail_on: str | Sequence[str]) -> tuple[str, ...]:
    """Parse gates, ``"harm,inconclusive"`` or a list; raise UserError for an unknown gate."""
    words = fail_on.split(",") if isinstance(fail_on, str) else fail_on
    gates = tuple(dict.fromkeys(w.strip() for w in words if w.strip()))
    for word in gates:
        if word not in GATES:
            hint = (
                did_you_mean(word.replace("_", "-"), GATES)
                if word != "not_estimable"
                else " Did you mean 'not-assessed'?"
            )
            raise UserError(
                f"`fail_on=` must name some of {', '.join(GATES)}, not {word!r}."
                + (hint if "mean" in hint else "")
            )
    return gates


def require_comparison(audit: Audit) -> None:
    """Raise UserError where there is no comparison, because a gate would always pass."""
    if not audit.comparisons:
        raise UserError(
            f"a gate has nothing to test, because no compressed model is compared with {audit.baseline}; name one, "
            "such as `compressed=['int8']`."
        )


def required_groups(required: Sequence[str], audit: Audit) -> list[Values]:
    """Return the groups that must be assessed.

    ``race=Black,sex=Female`` names two groups, ``race=Black,White`` too; ``sex*race=Female,Black`` an intersection, and
    ``sex*race=Female,Black|Male,White`` two. A text that matches a group exactly names that group, even if the name
    contains commas. Raises UserError for an attribute that is not audited and for a group that is not in the table.
    """
    groups_by_attribute = {
        a.attribute: [g.values for g in a.groups] for c in audit.comparisons[:1] for a in c.attributes
    }
    groups: list[Values] = []
    for text in required:
        groups += _parse_groups(text.strip(), groups_by_attribute)
    return groups


def failures(audit: Audit, gates: Sequence[str], required: Sequence[Values] = ()) -> list[str]:
    """Return a sentence for each reason why the audit fails; none where it passes."""
    return [reason for c in audit.comparisons for reason in _failures(c, gates, required)]


def _failures(c: Comparison, gates: Sequence[str], required: Sequence[Values]) -> list[str]:
    groups = [c.overall, *(g for a in c.attributes for g in a.groups)]
    pools = [p for a in c.attributes for p in a.pools]
    out = []
    if (gates or required) and c.void is not None:
        out.append(f"{c.compressed}: void. {c.void}")
    for gate in gates:
        if gate == "not-assessed":
            hit = [("not assessed in full", group_name(g.values)) for g in groups if lacks_rows(g)]
        else:
            verdicts = [(g.verdict, group_name(g.values)) for g in groups]
            verdicts += [(p.loss.verdict, who(p)) for p in pools if decides(p, groups[0].losses[0].metric)]
            hit = [(verdict, name) for verdict, name in verdicts if verdict in _FAILS[gate]]
        if hit:
            word = " or ".join(dict.fromkeys(verdict for verdict, _ in hit))
            out.append(f"{c.compressed}: {word}: {name_groups([name for _, name in hit])}.")
    missing = [g for g in groups if lacks_rows(g) and dict(g.values) in [dict(r) for r in required]]
    if missing:
        out.append(
            f"{c.compressed}: required and not assessed: {name_groups([_name_with_rows(g) for g in missing])}."
        )
    return out


def _name_with_rows(group: GroupComparison) -> str:
    return f"{group_name(group.values)} ({group.n:,.0f})"


def _parse_groups(text: str, groups_by_attribute: Mapping[str, Sequence[Values]]) -> list[Values]:
    attribute, rest = _parse_attribute(text, groups_by_attribute)
    if attribute is None:
        name = text.partition("=")[0].strip()
        if "=" not in text or not name:
            raise UserError(
                f"`require=`: {text!r} does not name a group; write attribute=group, such as race=Black or "
                "'sex*race=Female,Black'."
            )
        raise UserError(
            f"`require=`: in {text!r}, {name!r} is not audited; add it to `by=`."
            + did_you_mean(name, groups_by_attribute)
        )
    groups = groups_by_attribute[attribute]
    order = [p.strip() for p in text.partition("=")[0].split(SEPARATOR)]
    exact = [g for g in groups if ",".join(g[p] for p in order) == rest]
    if exact:
        return exact
    matched: list[Values] = []
    values: list[str] = []
    tokens = [token for side in rest.split("|") for token in side.split(",")]
    for i, token in enumerate(tokens):
        other, _ = _parse_attribute(token.strip(), groups_by_attribute)
        if other is not None and not values:
            # The rest of the text belongs to a new attribute.
            return matched + _parse_groups(_skip_tokens(rest, i), groups_by_attribute)
        values.append(token.strip())
        if len(values) == len(order):
            matched.append(_require_group(attribute, order, values, groups, f"`require=`: {text!r}"))
            values = []
    if values or not matched:
        raise UserError(
            f"`require=`: {text!r}: a group of {Attribute(tuple(order))} has {len(order)} value(s), separated by commas; "
            f"{', '.join(values) or 'none'} cannot be matched."
        )
    return matched


def _parse_attribute(text: str, attributes: Mapping[str, Sequence[Values]]) -> tuple[str | None, str]:
    """Return the audited attribute at the start of a text, and the text after the equals sign."""
    name, equals, rest = text.partition("=")
    parts = {p.strip() for p in name.split(SEPARATOR)}
    match = next((a for a in attributes if set(Attribute.from_text(a).names) == parts), None)
    return (match, rest.strip()) if equals else (None, text)


def _skip_tokens(text: str, tokens: int) -> str:
    """Return a text without its first `tokens` values."""
    position = 0
    for _ in range(tokens):
        position = min(i for i in (text.find(",", position), text.find("|", position)) if i >= 0) + 1
    return text[position:].strip()


def _require_group(
    attribute: str, order: Sequence[str], values: Sequence[str], groups: Sequence[Values], context: str
) -> Values:
    requested = dict(zip(order, values, strict=True))
    if requested in [dict(g) for g in groups]:
        return {name: requested[name] for name in Attribute.from_text(attribute).names}
    spelled = [",".join(g[p] for p in order) for g in groups]
    raise UserError(
        f"{context}: the table has no group {','.join(values)!r}." + did_you_mean(",".join(values), spelled)
    )
