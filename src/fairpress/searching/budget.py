"""The budget of a search: a time, or a number of candidates."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fairpress.core.errors import UserError
from fairpress.core.time_left import describe_seconds

UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


class BudgetExceeded(Exception):
    """The time is up; the candidate in progress is abandoned."""


MAX_BUDGET = 366 * 86_400.0
"""Seconds, or candidates."""


@dataclass
class Budget:
    """A time or a number of candidates, and how much of it is used. `reserve` seconds are kept for judging."""

    seconds: float | None = None
    trials: int | None = None
    clock: Callable[[], float] = time.monotonic
    reserve: float = 0.0
    used: int = 0
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self.began

    @property
    def left(self) -> float:
        """Seconds left for making candidates; infinite if the budget is not a time."""
        return float("inf") if self.seconds is None else self.seconds - self.reserve - self.elapsed

    def describe_rest(self) -> str:
        """Return what is left for candidates, as the end of a sentence; empty without a limit."""
        if self.seconds is not None:
            return f"; at most {describe_seconds(max(self.left, 0.0))} left for more"
        if self.trials is None or self.used == 0:
            return ""
        rest = self.trials - self.used
        seconds = self.elapsed / self.used * rest
        return f"; {rest} more to try, about {describe_seconds(seconds)} left" if rest > 0 else ""

    @property
    def over(self) -> bool:
        return self.left <= 0 or (self.trials is not None and self.used >= self.trials)


def parse_budget(text: str | int | float | None) -> Budget:
    """Read ``30min``, ``90s``, ``2h``, or a number of candidates: ``40 trials``, 40; None means unlimited.

    Raises UserError for anything else.
    """
    if text is None:
        return Budget()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(text).strip().lower())
    number, unit = (float(match[1]), match[2]) if match else (0.0, "")
    if number * UNITS.get(unit, 1.0) > MAX_BUDGET:
        raise UserError(
            f"the budget {str(text)[:40]!r} is too large; use at most a year, such as '30min', or a number of "
            "candidates, such as 40."
        )
    if number > 0 and unit in UNITS:
        return Budget(seconds=number * UNITS[unit])
    if number >= 1 and number.is_integer() and unit in ("", "trial", "trials"):
        return Budget(trials=int(number))
    raise UserError(
        f"the budget {text!r} is neither a time, such as 30min, nor a number of candidates, such as 40."
    )
