"""What a loss is measured in, and the words for it: points of an error rate, years of an age, errors per word."""

from __future__ import annotations

import math
from dataclasses import dataclass

MARGIN_STEPS = 20
"""A value is written in steps of at most this part of the margin: 0.1 points at a margin of 2 points."""
DIGITS, MAX_DECIMALS = 4, 8
"""Decimals where no margin is known, and at most."""


@dataclass(frozen=True)
class Measure:
    """A quantity that a model is judged by, as reports name and write it.

    Attributes
    ----------
    name
        The quantity: ``error rate``, ``mean absolute error``, ``mean score``.
    short
        The same for narrow cells.
    unit
        The unit in tables, such as ``points`` or ``years``; empty for a pure number.
    long_unit
        The unit in sentences, such as ``percentage points``.
    scale
        What a value is multiplied by when it is written: 100 for points.
    decimals
        Decimals of a written value.
    higher_is_better
        Whether a fall of the quantity is a loss. A loss is always positive where it is worse.
    """

    name: str
    short: str
    unit: str = ""
    long_unit: str = ""
    scale: float = 1.0
    decimals: int = 1
    higher_is_better: bool = False

    @property
    def rises(self) -> str:
        """The verb of a loss: ``rises`` or ``falls``."""
        return "falls" if self.higher_is_better else "rises"

    @property
    def rise(self) -> str:
        """The noun and infinitive of a loss: ``rise`` or ``fall``."""
        return "fall" if self.higher_is_better else "rise"

    @property
    def up(self) -> str:
        """The direction of a loss: ``up`` or ``down``."""
        return "down" if self.higher_is_better else "up"

    @property
    def suffix(self) -> str:
        """The unit in sentences, after a blank; empty for a pure number."""
        return f" {self.long_unit or self.unit}" if self.long_unit or self.unit else ""

    @property
    def brief_suffix(self) -> str:
        """The unit in tables and short sentences, after a blank; empty for a pure number."""
        return f" {self.unit}" if self.unit else ""

    def plain(self, value: float) -> str:
        """Write a value with a true minus sign."""
        rounded = round(self.scale * value, self.decimals) + 0.0
        return f"{rounded:,.{self.decimals}f}".replace("-", "−")

    def signed(self, value: float) -> str:
        """Write a value with its sign; one that rounds to zero has none."""
        rounded = round(self.scale * value, self.decimals) + 0.0
        form = f"+,.{self.decimals}f" if rounded else f",.{self.decimals}f"
        return format(rounded, form).replace("-", "−")

    def rounded_up(self, value: float) -> str:
        """Write an upper bound, rounded up: a bound above the margin is never shown as the margin."""
        factor = 10**self.decimals
        up = math.ceil(round(factor * self.scale * value, 9)) / factor + 0.0
        return f"{up:,.{self.decimals}f}".replace("-", "−")

    def rounded_down(self, value: float) -> str:
        """Write a lower bound, rounded down; with up to two more decimals if a positive one would be 0."""
        scaled = self.scale * value
        more = (self.decimals, self.decimals + 1, self.decimals + 2)
        decimals = next((d for d in more if scaled <= 0 or scaled * 10**d >= 1), more[-1])
        factor = 10**decimals
        down = math.floor(round(factor * scaled, 9)) / factor + 0.0
        return f"{down:,.{decimals}f}".replace("-", "−")

    def exact(self, value: float) -> str:
        """Write a number that the user gave, such as a margin, with its unit: ``2 points``, ``0.25 years``."""
        scaled = self.scale * value
        number = f"{scaled:g}" if abs(scaled) < 1e6 else f"{scaled:,.0f}"
        plural = self.unit.isalpha() and len(self.unit) > 3 and self.unit.endswith("s")
        unit = self.unit[:-1] if number == "1" and plural else self.unit
        return f"{number} {unit}".strip()


def decimals_for(margin: float) -> int:
    """Return the decimals that show a loss in steps of a twentieth of the margin, both as they are written."""
    return max(0, math.ceil(-math.log10(margin / MARGIN_STEPS) - 1e-9))


_POINTS = {"unit": "points", "long_unit": "percentage points", "scale": 100.0}
CLASS_MEASURES = {
    "accuracy": Measure("error rate", "error", **_POINTS),  # type: ignore[arg-type]
    "tpr": Measure("false negative rate", "FNR", **_POINTS),  # type: ignore[arg-type]
    "fpr": Measure("false positive rate", "FPR", **_POINTS),  # type: ignore[arg-type]
}
"""Judged metric of classes → the error whose rise is its loss."""
