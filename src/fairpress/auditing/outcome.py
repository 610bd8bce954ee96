"""What an audit judges instead of a class, as users write it: ``abs_error=age``, ``score,better=higher``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairpress.auditing.measure import Measure
from fairpress.core.errors import UserError

FORM = "KIND=COLUMNS, such as abs_error=age or wer=edits/words"
_NAME = re.compile(r"[a-z][a-z_0-9]*")
_BETTER = ("higher", "lower")


@dataclass(frozen=True)
class OutcomeRequest:
    """The outcome that an audit was given, not yet compared with a table.

    Attributes
    ----------
    kind
        A kind of `outcomes.registry.KINDS`.
    columns
        The columns that the kind asks for, as text: ``age``, ``edits/words``; empty if it needs none.
    settings
        Further settings by name: ``better``, ``unit`` and those of the kind.
    """

    kind: str
    columns: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the text that `outcome_request` reads."""
        first = f"{self.kind}={self.columns}" if self.columns else self.kind
        return ",".join([first, *(f"{k}={v}" for k, v in self.settings.items())])


@dataclass(frozen=True)
class AuditedOutcome:
    """What an audit judged instead of a class.

    Attributes
    ----------
    kind, columns, settings
        As in `OutcomeRequest`.
    title
        One sentence that says what a value is.
    measures
        Judged metric → what it is measured in.
    """

    kind: str
    columns: str
    title: str
    measures: Mapping[str, Measure]
    settings: Mapping[str, str] = field(default_factory=dict)


def outcome_request(given: Any) -> OutcomeRequest | None:
    """Return the outcome that is given as text, or as a mapping such as ``{"abs_error": "age", "unit": "years"}``.

    None, and ``"class"``, is a class. Raises UserError for anything else.
    """
    if given is None or isinstance(given, OutcomeRequest) or given == "class":
        return given if isinstance(given, OutcomeRequest) else None
    if isinstance(given, Mapping) and given:
        pairs = [(str(k).strip(), "" if v is None else str(v).strip()) for k, v in given.items()]
    elif isinstance(given, str) and given.strip():
        first, *rest = given.split(",")
        pairs = [_pair(first, with_value=False), *(_pair(text, with_value=True) for text in rest)]
    else:
        raise UserError(f"`outcome=` is text, {FORM}, not {given!r}.")
    (kind, columns), settings = pairs[0], dict(pairs[1:])
    if len(settings) < len(pairs) - 1:
        raise UserError(f"`outcome={given!r}` has one setting twice; give it once.")
    for direction in _BETTER:  # higher=better, as well as better=higher
        if settings.get(direction) == "better":
            del settings[direction]
            settings["better"] = direction
    if not _NAME.fullmatch(kind):
        raise UserError(f"`outcome={given!r}`: write {FORM}.")
    if settings.get("better", "higher") not in _BETTER:
        raise UserError(f"`outcome={given!r}`: better is higher or lower, such as better=higher.")
    return OutcomeRequest(kind, columns, settings)


def _pair(text: str, *, with_value: bool) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name.strip() or (equals and not value.strip()) or (with_value and not equals):
        raise UserError(
            f"`outcome=`: {text.strip()!r} is not name=value; write {FORM}, and settings after commas, such as "
            "abs_error=age,unit=years. A column whose name has a comma is given in Python as a dict."
        )
    return name.strip(), value.strip()
