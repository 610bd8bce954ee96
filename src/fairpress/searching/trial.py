"""A candidate with what the choosing rows, its file and the clock say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from fairpress.runtime.artifact import Artifact
from fairpress.searching.bounds import THE_FILE, Bound, risk, worst_bound
from fairpress.searching.limits import Objective

PROMISING = -log(0.25)
"""Largest risk of any limit for a candidate that looks fine: a chance of one in four that it is kept."""
SAFE = -log(0.75)
"""The same of a candidate that others must beat: three in four. What lies above it in bytes is still worth making."""


@dataclass(frozen=True)
class Trial:
    """A finished candidate.

    Attributes
    ----------
    bounds
        By the choosing rows, and of the file itself (bytes, latency).
    accuracy
        Share of the choosing rows that it decides rightly.
    latency_ms
        Median of a call with one row; None where it was not measured.
    """

    recipe: str
    artifact: Artifact
    bounds: tuple[Bound, ...]
    accuracy: float
    latency_ms: float | None
    seconds: float

    @property
    def bytes(self) -> int:
        return self.artifact.size

    @property
    def risk(self) -> float:
        return risk(self.bounds)

    @property
    def promising(self) -> bool:
        return all(b.risk <= PROMISING for b in self.bounds)

    @property
    def safe(self) -> bool:
        return all(b.risk <= SAFE for b in self.bounds)

    @property
    def fits(self) -> bool:
        """Whether the file itself keeps its limits."""
        return all(b.p == 0 for b in self.bounds if b.who == THE_FILE)

    @property
    def worst_loss(self) -> Bound | None:
        """Return the largest estimated loss of a group on the choosing rows; None where losses are not limited."""
        losses = [b for b in self.bounds if b.limit == "max_group_loss" and b.value is not None]
        return max(losses, key=lambda b: b.value or 0.0, default=None)

    def cost(self, objective: Objective) -> float:
        """Return what is minimised."""
        if objective == "bytes":
            return float(self.bytes)
        return -self.accuracy if objective == "accuracy" else float(self.latency_ms or float("inf"))

    def to_dict(self) -> dict[str, Any]:
        loss = self.worst_loss
        return {
            "recipe": self.recipe,
            "bytes": self.bytes,
            "accuracy": self.accuracy,
            "latency_ms": self.latency_ms,
            "worst_loss": None if loss is None else loss.to_dict(),
            "risk": self.risk,
            "seconds": self.seconds,
            "binds": worst_bound(self.bounds).to_dict(),
        }


def pareto_front(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Return the trials that nothing beats in both the objective and the risk, the safest first.

    Of several with equal cost the safest stays; a trial whose file breaks its own limits is none.
    """
    kept: list[Trial] = []
    for trial in sorted((t for t in trials if t.fits), key=lambda t: (t.cost(objective), t.risk)):
        if not kept or trial.risk < kept[-1].risk:
            kept.append(trial)
    return kept[::-1]
