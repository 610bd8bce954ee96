"""The result of a search, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairpress.core.errors import UserError
from fairpress.reporting.audit_report import AuditReport
from fairpress.runtime.artifact import Artifact
from fairpress.searching.bounds import Bound, JudgingPlan
from fairpress.searching.fixed_sequence import JudgedCandidate
from fairpress.searching.limits import Limits, Objective
from fairpress.searching.trial import Trial

SCHEMA = "fairpress.search/1"


@dataclass(frozen=True)
class SearchTrace:
    """The complete record of a search.

    Attributes
    ----------
    base_bytes
        Size of the baseline's file.
    trials, failed
        Candidates, and recipe → reason why it failed.
    sequence
        Candidates planned for testing on the judging rows, in order; `judged` holds those that were tested.
    rows
        ``{"choosing", "judging", "test"}`` → number of rows.
    latency
        Recipe → milliseconds of a call with one row, for the candidates that were judged and the baseline.
    openings
        Every recorded use of the judging and test rows for this baseline and dataset in this store, including this search's.
    """

    objective: Objective
    limits: Limits
    plan: JudgingPlan
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
        """Return the last candidate of the sequence that keeps every limit; None if not even the first does."""
        return next((j for j in reversed(self.judged) if j.passed), None)

    @property
    def stopped(self) -> JudgedCandidate | None:
        """Return the candidate that ended the sequence; None if all keep their limits."""
        return self.judged[-1] if self.judged and not self.judged[-1].passed else None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of search.json."""
        winner = self.winner
        return {
            "schema": SCHEMA,
            "objective": self.objective,
            "limits": self.limits.given(),
            "confidence": self.plan.confidence,
            "by": list(self.plan.by),
            "rows": dict(self.rows),
            "too_few_rows": [{"who": w, "metric": m, "rows": n} for w, m, n in self.plan.too_few],
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
    """No candidate was demonstrated to keep every limit. No model is written; the candidates stay in the store.

    Attributes
    ----------
    nearest
        Recipe of the nearest candidate, None if every recipe failed; `artifact` is its model.
    binding
        The limit that it was furthest from keeping, with its bound.
    rows_needed
        Rows of that group with which the limit would be demonstrated if the estimate stays; None if more rows would not
        help, because the estimate itself violates the limit.
    searched
        The complete search.
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
    """A successful search: the artifact, its audit on the test rows, and the complete record."""

    artifact: Artifact
    recipe: str
    audit: AuditReport
    searched: SearchTrace
