"""Margins of outcomes other than classes, in the outcome's unit: ``0.25``, ``0.25 years``, ``0.5pp``, ``5% of baseline``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fairpress.auditing.measure import Measure
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.protocol import OutcomeKind
from fairpress.auditing.result import Margin
from fairpress.auditing.verdicts.margins import NUMBER, OF_BASELINE, is_number
from fairpress.core.errors import UserError

ALL = "default"
"""The key of the margin of every metric without one of its own."""
_PER_CENT = 100.0
_WITH_UNIT = re.compile(rf"{NUMBER}\s*(?P<unit>[^\d\s].*)?")


def outcome_margins(given: Any, request: OutcomeRequest, kind: OutcomeKind) -> dict[str, Margin]:
    """Return the margins by metric, that of all others under ``"default"``; empty where none is given.

    Parameters
    ----------
    given
        A number, text, a mapping with a reason, a `Margin`, or one of these for each metric; None is none.

    Raises
    ------
    UserError
        It is not a margin in this outcome's unit, or out of range.
    """
    if isinstance(given, (list, tuple)):
        texts = [t for text in given for t in _listed(text)]
        return _merged([_assigned(t) for t in texts], request, kind)
    if isinstance(given, str):
        return _merged([_assigned(t) for t in _listed(given)], request, kind)
    if isinstance(given, Mapping) and not {"margin", "value"} & set(given):
        return _merged([(str(k), v) for k, v in given.items()], request, kind)
    return {} if given is None else {ALL: _margin(given, request, kind)}


def no_margin(request: OutcomeRequest, kind: OutcomeKind) -> UserError:
    """Return the error of an outcome whose margin must be asked for."""
    measure = _deciding(request, kind)
    unit = f" ({measure.long_unit or measure.unit})" if measure.unit else ""
    example = "'1pp'" if _in_points(measure) else "0.25"
    return UserError(
        f"the outcome {str(request)!r} needs a margin: the largest {measure.rise} of the {measure.name} that is acceptable, "
        f"fixed before looking, in the outcome's own unit{unit}, such as `margin={example}`, or as a share of the "
        "baseline's own level, `margin='5% of baseline'`."
    )


def _deciding(request: OutcomeRequest, kind: OutcomeKind) -> Measure:
    return next(iter(kind.measures(request, {}).values()))


def _in_points(measure: Measure) -> bool:
    return measure.scale == _PER_CENT


def _merged(pairs: list[tuple[str, Any]], request: OutcomeRequest, kind: OutcomeKind) -> dict[str, Margin]:
    margins: dict[str, Margin] = {}
    for name, value in pairs:
        if name in margins:
            raise UserError(f"the margin{f' of {name}' if name != ALL else ''} is given twice; give it once.")
        margins[name] = _margin(value, request, kind)
    return margins


def _listed(text: Any) -> list[Any]:
    return [t for t in map(str.strip, text.split(",")) if t] if isinstance(text, str) else [text]


def _assigned(text: Any) -> tuple[str, Any]:
    if isinstance(text, str) and "=" in text:
        name, _, value = text.partition("=")
        return name.strip(), value.strip()
    return ALL, text


def _margin(given: Any, request: OutcomeRequest, kind: OutcomeKind) -> Margin:
    if isinstance(given, Mapping):
        if "margin" not in given and set(given) == {"value", "relative", "reason"}:
            return _checked(Margin(float(given["value"]), bool(given["relative"]), str(given["reason"])))
        unknown = [str(key) for key in given if key not in ("margin", "reason")]
        if unknown or "margin" not in given:
            raise UserError(
                f"a margin has the keys margin and reason, not {', '.join(unknown) or 'only a reason'}."
            )
        plain = _margin(given["margin"], request, kind)
        return Margin(plain.value, plain.relative, str(given.get("reason", "")).strip())
    if isinstance(given, Margin):
        return _checked(given)
    if is_number(given):
        return _plain(float(given), f"{given:g}", request, kind)
    if not isinstance(given, str):
        raise UserError(f"the margin is a number such as 0.25, in the outcome's unit, not {given!r}.")
    text = given.strip()
    if match := OF_BASELINE.fullmatch(text):
        return _checked(Margin(float(match["number"]) / (100 if match["unit"] else 1), relative=True), text)
    if (margin := kind.margin_of(text, request)) is not None:
        return _checked(margin, text)
    match = _WITH_UNIT.fullmatch(text)
    unit = request.settings.get("unit", "")
    if match is None or (match["unit"] or unit).strip() not in (unit, unit.removesuffix("s")):
        in_unit = f" in {unit}" if unit else ""
        raise UserError(
            f"{given!r} is not a margin of {str(request)!r}; write a number{in_unit} such as 0.25, or "
            "'5% of baseline', a share of the baseline's own mean."
        )
    return _plain(float(match["number"]), text, request, kind)


def _plain(number: float, text: str, request: OutcomeRequest, kind: OutcomeKind) -> Margin:
    """Return the margin that is a number; one that was meant as points is refused, as in an audit of classes."""
    if number >= 1 and _in_points(_deciding(request, kind)):
        raise UserError(
            f"the margin must be below 1, not {text}; for {number:g} percentage point{'s' * (number != 1)} write "
            f"{number / 100:g} or {number:g}pp."
        )
    return _checked(Margin(number), text)


def _checked(margin: Margin, text: str = "") -> Margin:
    shown = text or f"{margin.value:g}"
    if not 0 < margin.value < float("inf"):
        raise UserError(f"the margin must be greater than 0 and finite, not {shown}.")
    if margin.relative and margin.value >= 1:
        raise UserError(
            f"a margin relative to the baseline is below 100 %, not {shown}; write '5% of baseline'."
        )
    return margin
