"""Margins as users write them: ``0.02``, ``2pp``, ``fnr=5% of baseline``, with their reasons."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fairpress.auditing.class_recall import RECALL
from fairpress.auditing.result import Margin
from fairpress.core.errors import UserError, did_you_mean

HARMS = {"error": "accuracy", "fnr": "tpr", "fpr": "fpr"}
"""The error that harms → the judged metric whose loss is its rise."""
MARGINS = {**HARMS, RECALL: RECALL}
"""The error that has a margin → the judged metric: also the error rate of each class, its recall."""
DEFAULT = "default"
"""The name of the margin of the errors that have none of their own."""
DEFAULT_MARGIN = Margin(0.02)
FORMS = "0.02 or 2pp (2 percentage points) or '5% of baseline'"

NUMBER = r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
_POINTS = re.compile(rf"{NUMBER}\s*(?:pp|points?|percentage\s+points?)", re.IGNORECASE)
OF_BASELINE = re.compile(
    rf"{NUMBER}\s*(?P<unit>%|percent)?\s*(?:of)\s+(?:the\s+)?baseline(?:'s)?(?:\s+(?:own\s+)?error)?",
    re.IGNORECASE,
)
_PERCENT = re.compile(rf"{NUMBER}\s*(?:%|percent)", re.IGNORECASE)
_PLAIN = re.compile(NUMBER)
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+)(\s*(?:pp|points?|%.*)?)", re.IGNORECASE)


def margin_of(given: Any) -> Margin:
    """Return one margin.

    Parameters
    ----------
    given
        A share of the people (0.02), text (``"2pp"``, ``"2 points"``, ``"5% of baseline"``), a `Margin`, or a mapping
        ``{"margin": "2pp", "reason": "…"}``.

    Raises
    ------
    UserError
        It is not a margin, is ambiguous (``"2%"``), or is out of range.
    """
    if isinstance(given, Margin):
        return _checked(given)
    if isinstance(given, Mapping):
        return _with_reason(given)
    if is_number(given):
        return _checked(Margin(float(given)))
    if not isinstance(given, str):
        raise UserError(f"the margin is a number such as 0.02, or text such as '2pp', not {given!r}.")
    text = given.strip()
    if comma := _DECIMAL_COMMA.fullmatch(text):
        raise UserError(f"write a decimal point: `margin={comma[1] or 0}.{comma[2]}{comma[3]}`.")
    if match := _POINTS.fullmatch(text):
        return _checked(Margin(_scaled(match, 100)), text)
    if match := OF_BASELINE.fullmatch(text):
        return _checked(Margin(_scaled(match, 100 if match["unit"] else 1), relative=True), text)
    if match := _PERCENT.fullmatch(text):
        number = match["number"]
        raise UserError(
            f"a margin of {text!r} has two readings; write {number}pp for {number} percentage points, or "
            f"'{number}% of baseline' for {number} % of the baseline's own error."
        )
    if match := _PLAIN.fullmatch(text):
        return _checked(Margin(float(match["number"])))
    raise UserError(f"{given!r} is not a margin; write {FORMS}.")


def margins_of(given: Any) -> dict[str, Margin]:
    """Return the margins by error (`HARMS`), with the one of all other errors under ``"default"``.

    Parameters
    ----------
    given
        What `margin_of` takes, for all errors; text for several, ``"error=1pp,fnr=5% of baseline"``, or a sequence of such
        texts; or a mapping of errors to margins.

    Raises
    ------
    UserError
        An error is unknown or has two margins, or a margin is none.
    """
    if isinstance(given, Mapping) and not set(given) & {"margin", "value"}:
        pairs = [(str(name), value) for name, value in given.items()]
    elif isinstance(given, (str, list, tuple)):
        pairs = [pair for text in ([given] if isinstance(given, str) else given) for pair in _assigned(text)]
        if not pairs:
            raise UserError(f"the margin is empty; write {FORMS}.")
    else:
        pairs = [(DEFAULT, given)]
    margins: dict[str, Margin] = {}
    for name, value in pairs:
        if name not in (*MARGINS, DEFAULT):
            raise UserError(_unknown(name))
        if name in margins:
            which = "the default margin" if name == DEFAULT else f"the margin of {name}"
            raise UserError(f"{which} is given twice; give it once.")
        margins[name] = margin_of(value)
    return {DEFAULT: DEFAULT_MARGIN} | margins


def by_metric(margins: Mapping[str, Margin], metrics: Iterable[str]) -> dict[str, Margin]:
    """Return the margin of each judged metric. Raises UserError where one is given for an error that is not judged."""
    judged = {error: metric for error, metric in MARGINS.items() if metric in tuple(metrics)}
    unused = [name for name in margins if name != DEFAULT and name not in judged]
    if unused:
        raise UserError(
            f"`margin=`: {' and '.join(unused)} {'is' if len(unused) == 1 else 'are'} not judged (only "
            f"{', '.join(judged)}); leave the margin out, or name the positive class with `positive=`."
        )
    by_name = {metric: margins.get(error, margins[DEFAULT]) for error, metric in judged.items()}
    return {metric: by_name[metric] for metric in metrics}


def min_rows_of(given: Any) -> dict[str, int]:
    """Return the rows that a group needs to be assessed, by error; under ``"default"`` for all others, if given.

    Raises UserError for an unknown error and for what is not a whole number of at least 1.
    """
    if given is None:
        return {}
    if isinstance(given, (str, list, tuple)):
        texts = [given] if isinstance(given, str) else given
        given = dict(pair for text in texts for pair in _assigned(text))
    pairs = given.items() if isinstance(given, Mapping) else [(DEFAULT, given)]
    rows = {}
    for name, value in pairs:
        if name not in (*MARGINS, DEFAULT):
            raise UserError(_unknown(str(name)))
        whole = _whole(value)
        if whole is None or whole < 1:
            raise UserError(
                f"`min_rows=` is a number of rows such as 200, or one for each error, not {value!r}."
            )
        rows[str(name)] = whole
    return rows


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.complexfloating))


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if is_number(value) and float(value).is_integer():
        return int(value)
    return None


def _assigned(text: Any) -> list[tuple[str, Any]]:
    """Return (error, margin) of each part of a text; a part without an equals sign is the default."""
    if not isinstance(text, str):
        return [(DEFAULT, text)]
    if _DECIMAL_COMMA.fullmatch(text.strip()):
        return [(DEFAULT, text)]
    pairs: list[tuple[str, Any]] = []
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        pairs.append((name.strip(), value.strip()) if equals else (DEFAULT, part))
    return pairs


def _with_reason(given: Mapping[Any, Any]) -> Margin:
    if set(given) == {"value", "relative", "reason"}:  # a margin as audit.json holds it
        return _checked(Margin(float(given["value"]), bool(given["relative"]), str(given["reason"])))
    unknown = [str(key) for key in given if key not in ("margin", "reason")]
    if unknown or "margin" not in given:
        raise UserError(
            f"a margin has the keys margin and reason, not {', '.join(unknown) or 'only a reason'}."
        )
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise UserError(f"the reason for a margin is text, not {reason!r}.")
    plain = margin_of(given["margin"])
    return Margin(plain.value, plain.relative, reason.strip() or plain.reason)


def _checked(margin: Margin, text: str = "") -> Margin:
    value, shown = margin.value, text or f"{margin.value:g}"
    if not math.isfinite(value) or not value > 0:
        raise UserError(f"the margin must be greater than 0, not {shown}; 0.02 means 2 percentage points.")
    if margin.relative and value >= 1:
        raise UserError(
            f"a margin relative to the baseline is below 100 %, not {shown}; write '5% of baseline'."
        )
    if not margin.relative and value >= 1:
        meant = (
            f"for {value:g} percentage points write {value / 100:g} or {value:g}pp"
            if value < 100 and not text
            else "0.02 means 2 percentage points"
        )
        raise UserError(f"the margin must be below 1, not {shown}; {meant}.")
    return margin


def _scaled(match: re.Match[str], divisor: int) -> float:
    """Return the number divided, as the nearest decimal: 2.3pp is 0.023."""
    return float(f"{float(match['number']) / divisor:.12g}")


def _unknown(name: str) -> str:
    known = {metric: error for error, metric in HARMS.items()}
    hint = f" Did you mean {known[name]!r}?" if name in known else did_you_mean(name, MARGINS)
    return f"there is no error {name!r}." + hint
