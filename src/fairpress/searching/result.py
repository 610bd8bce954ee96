"""What a search found, or why nothing was found, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairpress.audits import AuditReport
from fairpress.core.errors import UserError
from fairpress.runtime.artifact import Artifact
from fairpress.searching.bounds import Bound, JudgingPlan
from fairpress.searching.fixed_sequence import JudgedCandidate
from fairpress.searching.limits import Limits, Objective
from fairpress.searching.trial import Trial

SCHEMA = "fairpress.search/1"


@dataclass(frozen=True)
class SearchTrace:
    """Everything a search did.

    Attributes
    ----------
    base_bytes
        Of the baseline's file.
    trials, failed
        Candidates, and recipe → why there is none.
    sequence
        What was to be tested on the judging rows, in its order; `judged` is what was.
    rows
        ``{"choosing", "judging", "test"}`` → how many.
    latency
        Recipe → milliseconds of a call with one row, for the candidates that were judged and the baseline.
    openings
        Every opening of the judging and the test rows for this baseline on this data in this store, this one's included.
    """

    objective: Objective
    limits: Limits
    asked: JudgingPlan
    base_bytes: int
    trials: Sequence[Trial]
    failed: Mapping[str, str]
    sequence: Sequence[Trial]
    judged: Sequence[JudgedCandidate]
    rows: Mapping[str, int]
    seconds: float
    latency: Mapping[str, float] = field(default_factory=dict)
    openings: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def winner(self) -> JudgedCandidate | None:
        """Return the last of the sequence that keeps every limit; None where not even the first does."""
        return next((j for j in reversed(self.judged) if j.kept), None)

    @property
    def stopped(self) -> JudgedCandidate | None:
        """Return the candidate that ended the sequence; None where all keep their limits."""
        return self.judged[-1] if self.judged and not self.judged[-1].kept else None

    def to_dict(self) -> dict[str, Any]:
        """Return the search as search.json holds it."""
        winner = self.winner
        return {
            "schema": SCHEMA,
            "objective": self.objective,
            "limits": self.limits.said(),
            "confidence": self.asked.confidence,
            "by": list(self.asked.by),
            "rows": dict(self.rows),
            "too_few_rows": [{"who": w, "metric": m, "rows": n} for w, m, n in self.asked.too_few],
            "base_bytes": self.base_bytes,
            "winner": None if winner is None else winner.trial.recipe,
            "candidates": [t.to_dict() for t in self.trials],
            "failed": dict(self.failed),
            "sequence": [t.recipe for t in self.sequence],
            "judged": [j.to_dict() for j in self.judged],
            "latency_ms": dict(self.latency),
            "openings": {k: list(v) for k, v in self.openings.items()},
            "seconds": self.seconds,
        }


class ConstraintNotMet(UserError):
    """No candidate was shown to keep every limit. Nothing was written; what was made stays in the store.

    Attributes
    ----------
    nearest
        Recipe of the candidate that was nearest, None where every recipe failed; `artifact` is its file.
    binding
        The limit it was furthest from, with its bound.
    rows_needed
        Rows of that group which would show the limit to be kept, if its estimate stays; None where more rows would not
        help, because the estimate itself is beyond the limit.
    searched
        The whole search.
    """

    def __init__(
        self, sentence: str, searched: SearchTrace, nearest: Trial | None, binding: Bound | None
    ) -> None:
        super().__init__(sentence)
        self.searched = searched
        self.nearest = None if nearest is None else nearest.recipe
        self.artifact: Artifact | None = None if nearest is None else nearest.artifact
        self.binding = binding
        self.rows_needed = None if binding is None else binding.rows_needed


@dataclass(frozen=True)
class SearchResult:
    """A search that found something: the artifact, its audit on the test rows, and how it came about."""

    artifact: Artifact
    recipe: str
    audit: AuditReport
    searched: SearchTrace
