"""A candidate with its bounds on the choosing rows, its size and its latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from fairpress.runtime.artifact import Artifact
from fairpress.searching.bounds import MODEL_FILE, Bound, risk, worst_bound
from fairpress.searching.limits import Objective

PROMISING = -log(0.25)
"""Largest risk of any limit for a promising candidate: a probability of at least 1/4 to keep it."""
SAFE = -log(0.75)
"""Largest risk of any limit for a safe candidate: a probability of at least 3/4. Larger files are then not worth making."""


@dataclass(frozen=True)
class Trial:
    """An evaluated candidate.

    Attributes
    ----------
    bounds
        Bounds on the choosing rows, and on the file itself (bytes, latency).
    accuracy
        Accuracy on the choosing rows.
    latency_ms
        Median latency of a call with one row; None if it was not measured.
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
        """Whether the file keeps the limits on bytes and latency."""
        return all(b.p == 0 for b in self.bounds if b.who == MODEL_FILE)

    @property
    def worst_loss(self) -> Bound | None:
        """Return the largest estimated loss of a group on the choosing rows; None if losses are not limited."""
        losses = [b for b in self.bounds if b.limit == "max_group_loss" and b.value is not None]
        return max(losses, key=lambda b: b.value or 0.0, default=None)

    def cost(self, objective: Objective) -> float:
        """Return the value that the search minimizes."""
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
    """Return the trials on the Pareto front of objective and risk, the safest first.

    Of several with equal cost the safest remains; trials whose file breaks a limit on bytes or latency are excluded.
    """
    front: list[Trial] = []
    for trial in sorted((t for t in trials if t.fits), key=lambda t: (t.cost(objective), t.risk)):
        if not front or trial.risk < front[-1].risk:
            front.append(trial)
    return front[::-1]
