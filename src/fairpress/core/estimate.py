"""One estimated number: a value with its interval and its n, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with a confidence interval, or *not estimable* with the reason.

    Attributes
    ----------
    value
        The point estimate; ``None`` when it cannot be estimated. Never 0 or NaN for "unknown".
    low, high
        Bounds of the two-sided interval at the audit's confidence; ``None`` when no interval exists.
    n
        Rows in the metric's own denominator (for a TPR the rows with a positive label).
    method
        The name of the method that made the interval, such as ``"wilson"``.
    p, p_adjusted
        p-value of the test named by the producer, and the same after the multiplicity correction.
    reason
        Why there is no value; set exactly when ``value`` is ``None``.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: float = 0
    method: str = ""
    p: float | None = None
    p_adjusted: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) != (self.reason is not None):
            raise ValueError("an estimate has either a value or a reason why there is none")
        if self.value == 0:
            object.__setattr__(self, "value", 0.0)  # a change of -0.0 is none

    @classmethod
    def not_estimable(cls, reason: str, n: float = 0) -> Estimate:
        """Return an estimate without a value, with the reason."""
        return cls(None, n=n, reason=reason)

    @property
    def estimable(self) -> bool:
        return self.value is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as in audit.json: absent parts are left out."""
        if self.value is None:
            return {"value": None, "reason": self.reason, "n": self.n}
        out: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        if self.method:
            out["method"] = self.method
        if self.p is not None:
            out["p"] = self.p
        if self.p_adjusted is not None:
            out["p_adjusted"] = self.p_adjusted
        return out
