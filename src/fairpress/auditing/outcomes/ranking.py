"""Ranking: a number for each query and model, of which more is better: top-k hits, reciprocal ranks, NDCG, exposure.

The query is the row, and with `subject=` the person who asks it. ``ranking=ndcg`` reads ``M.ndcg``; a name of the form
``rank`` reads ``M.rank``, the position of the first relevant result, as reciprocal rank or hits: ``ranking=rank,top=10``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.number import column_of, decimals_of
from fairpress.auditing.outcomes.preference import margin_in_points
from fairpress.auditing.outcomes.row_table import TOO_FEW, RowTable
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate

RANKING = "ranking"
RANK = "rank"
NO_HIT = 0.0
"""The rank of a query without a relevant result."""


@dataclass(frozen=True)
class RankingValues:
    """Values of queries between 0 and 1 by model; the level of a group is their mean."""

    by_model: Mapping[str, Floats]
    notes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = (RANKING,)
    warnings: tuple[str, ...] = ()
    undefined: str = TOO_FEW
    folded: frozenset[str] = frozenset()

    def values(self, model: str, metric: str, grouping: Grouping) -> Floats:
        """Return the values of a model [rows]."""
        return self.by_model[model]

    def reach(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return 1: a query goes from the best to the worst value."""
        return np.ones(grouping.size)

    def share(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return 1: every row counts."""
        return np.ones(grouping.size)

    def row_losses(self, model: str, baseline: str, metric: str) -> Floats:
        """Return by how much each query is worse [rows]."""
        return self.by_model[baseline] - self.by_model[model]

    def details(self, model: str, grouping: Grouping, confidence: float) -> Mapping[str, list[Estimate]]:
        """Return nothing more."""
        return {}


@dataclass(frozen=True)
class Ranking:
    """``ranking=ndcg``: columns M.ndcg between 0 and 1; ``ranking=rank``: positions from 1 on, 0 where nothing was found, as
    reciprocal ranks, or with ``top=10`` as hits among the first ten."""

    word: str = RANKING
    settings: frozenset[str] = frozenset({"top"})
    needs_margin: bool = True
    linear: bool = False

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the column of each model."""
        if label != "label":
            raise UserError(f"`outcome={str(request)!r}` needs no label; leave `label={label!r}` out.")
        if "top" in request.settings:
            if request.columns != RANK:
                raise UserError(
                    f"`outcome={str(request)!r}`: top is about positions; write ranking=rank,top=10 for columns such as "
                    "int8.rank."
                )
            _top(request)
        return {
            column_of(m, request): f"the {request.columns or 'values'} of model {m!r}" for m in models
        }, {}

    def title(self, request: OutcomeRequest) -> str:
        """Return what a value is."""
        return f"The {_name(request)} of a query, averaged over queries; higher is better."

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return a margin in percentage points: ``2pp`` is 0.02."""
        return margin_in_points(given)

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measure: points of hits, or a mean between 0 and 1."""
        name = _name(request)
        if "top" in request.settings:
            decimals = decimals_of(margins, self.word, 100.0)
            return {self.word: Measure(name, "hits", "points", "percentage points", 100.0, decimals, True)}
        return {
            self.word: Measure(
                f"mean {name}", name, decimals=decimals_of(margins, self.word), higher_is_better=True
            )
        }

    def bind(
        self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str
    ) -> RankingValues:
        """Return the values of every model; raises UserError for numbers that are none of the kind."""
        by_model = {}
        for m in models:
            column = column_of(m, request)
            x = table.numbers[column]
            if request.columns == RANK:
                wrong, allowed = (
                    (x < 0) | (x != np.round(x)),
                    "a position is 1, 2, 3 …, or 0 where nothing was found",
                )
            else:
                wrong, allowed = (
                    (x < 0) | (x > 1),
                    "a value is between 0 and 1; audit others as score,better=higher",
                )
            if wrong.any():
                row = int(np.argmax(wrong))
                raise UserError(f"{table.name}: {column!r} is {x[row]:g} in row {row + 1:,}; {allowed}.")
            if request.columns != RANK:
                by_model[m] = x
            elif "top" in request.settings:
                by_model[m] = ((x >= 1) & (x <= _top(request))).astype(float)
            else:
                by_model[m] = np.where(x >= 1, 1 / np.maximum(x, 1), NO_HIT)
        return RankingValues(by_model)


def _top(request: OutcomeRequest) -> int:
    text = request.settings["top"]
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"`outcome={str(request)!r}`: top is a number of results such as 10, not {text!r}.")
    return int(text)


def _name(request: OutcomeRequest) -> str:
    if request.columns == RANK:
        return f"hit among the first {_top(request)}" if "top" in request.settings else "reciprocal rank"
    return request.columns or "value"


KINDS = (Ranking(),)
