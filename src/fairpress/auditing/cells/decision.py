"""How a model's predicted class follows from the columns of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairpress.core.errors import UserError

_DECIDE = re.compile(
    r"\s*(?P<column>.+?)\s*(?P<sign>>=|<=|>|<|==)\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True)
class Decision:
    """How a model's class follows from a column: directly, or by ``column sign number``.

    `among`: columns ``M.score.<class>``, of which the largest determines the class (the first of equal ones).
    """

    column: str
    sign: str = ""
    number: float = 0.0
    among: tuple[str, ...] = ()


def parse_decision(text: str, model: str) -> Decision:
    """Parse ``decile_score>=5``. Raises UserError for anything else; the text is never evaluated as code."""
    match = _DECIDE.fullmatch(text) if isinstance(text, str) else None
    try:
        if match:
            return Decision(match["column"], match["sign"], float(match["number"]))
    except ValueError:
        match = None
    raise UserError(
        f"`decide=`: cannot parse {text!r} for {model!r}; write column>=number, such as decile_score>=5."
    )
