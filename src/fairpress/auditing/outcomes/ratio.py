"""Ratios of sums: word error rate (edits/words), errors per hour, cost per item. A long row weighs more than a short one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.number import decimals_of
from fairpress.auditing.outcomes.row_table import RowTable
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.linear_values import ratio_values
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.verdicts.margins import NUMBER
from fairpress.core.errors import UserError

_POINTS = re.compile(rf"{NUMBER}\s*(?:pp|points?|percentage\s+points?)", re.IGNORECASE)


@dataclass(frozen=True)
class RatioValues:
    """Σ numerators / Σ denominators by model; denominators can be common to all models.

    `higher_is_better` orients the losses of single rows.
    """

    metrics: tuple[str, ...]
    numerators: Mapping[str, Floats]
    denominators: Mapping[str, Floats]
    weight: Floats
    undefined: str
    higher_is_better: bool = False
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def values(self, model: str, metric: str, grouping: Grouping) -> Floats:
        """Return the linearised ratio of each row [rows]."""
        a, b = self.numerators[model], self.denominators[model]
        return ratio_values(a, b, grouping.index, grouping.size, self.weight)

    def row_losses(self, model: str, baseline: str, metric: str) -> Floats:
        """Return by how much the ratio of each row is worse [rows]; 0 where a row has no denominator."""
        before, after = (_ratios(self.numerators[m], self.denominators[m]) for m in (baseline, model))
        return before - after if self.higher_is_better else after - before


@dataclass(frozen=True)
class RatioOfSums:
    """``wer=edits/words``: columns ``M.edits`` for every model M; ``words`` for all, or ``M.words``."""

    word: str
    name: str = ""
    short: str = ""
    in_points: bool = False
    settings: frozenset[str] = frozenset()
    needs_margin: bool = True
    linear: bool = False

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the columns of numerators and denominators."""
        above, below = self._parts(request)
        if label != "label":
            raise UserError(f"`outcome={str(request)!r}` needs no label; leave `label={label!r}` out.")
        numbers = {f"{m}.{above}": f"the {above} of model {m!r}" for m in models}
        numbers |= {_denominator(m, below, present): f"the {below} of model {m!r}" for m in models}
        if below in numbers:
            numbers[below] = f"the {below} of every model"
        return numbers, {}

    def title(self, request: OutcomeRequest) -> str:
        """Return what a value is."""
        above, below = self._parts(request)
        return f"Sum of {above} over sum of {below} in each group: rows with more {below} weigh more."

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return a margin in percentage points: ``0.5pp`` is 0.005."""
        match = _POINTS.fullmatch(given)
        return None if match is None else Margin(float(f"{float(match['number']) / 100:.12g}"))

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measure: points of a rate, or numerators per denominator."""
        above, below = self._parts(request)
        higher = request.settings.get("better") == "higher"
        unit = request.settings.get("unit", "")
        if self.in_points and unit in ("", "points", "pp"):
            decimals = decimals_of(margins, self.word, 100.0)
            measure = Measure(self.name, self.short, "points", "percentage points", 100.0, decimals, higher)
        else:
            decimals = decimals_of(margins, self.word)
            measure = Measure(
                self.name or f"{above} per {below}", self.short or "ratio", unit, unit, 1.0, decimals, higher
            )
        return {self.word: measure}

    def bind(
        self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str
    ) -> RatioValues:
        """Return the sums of every model. Raises UserError for negative numbers, and denominators that sum to 0."""
        above, below = self._parts(request)
        numerators = {m: table.numbers[f"{m}.{above}"] for m in models}
        columns = {m: _denominator(m, below, table.numbers) for m in models}
        for name in dict.fromkeys([*columns.values(), *(f"{m}.{above}" for m in models)]):
            negative = table.numbers[name] < 0
            if negative.any():
                raise UserError(
                    f"{table.name}: {name!r} is negative in row {int(np.argmax(negative)) + 1:,}; {above} and {below} are "
                    "numbers of at least 0."
                )
            if name in columns.values() and not table.numbers[name].sum() > 0:
                raise UserError(f"{table.name}: {name!r} sums to 0, and nothing can be divided by it.")
        return RatioValues(
            (self.word,),
            numerators,
            {m: table.numbers[columns[m]] for m in models},
            table.cells.weight,
            f"{below} that sum to 0, or fewer than two rows (or people)",
            request.settings.get("better") == "higher",
            notes=tuple(_no_denominator(table, columns.values(), below)),
        )

    def _parts(self, request: OutcomeRequest) -> tuple[str, str]:
        above, slash, below = request.columns.partition("/")
        if not slash or not above.strip() or not below.strip() or "/" in below:
            raise UserError(
                f"`outcome={str(request)!r}` is a ratio of two sums; write {self.word}=edits/words, for columns such as "
                "int8.edits and words."
            )
        return above.strip(), below.strip()


def _denominator(model: str, below: str, present: Collection[str]) -> str:
    """Return ``M.words`` where the table has it, else ``words``."""
    return f"{model}.{below}" if f"{model}.{below}" in present or below not in present else below


def _ratios(numerator: Floats, denominator: Floats) -> Floats:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), 0.0)


def _no_denominator(table: RowTable, columns: Collection[str], below: str) -> Sequence[str]:
    empty = np.logical_or.reduce([table.numbers[name] == 0 for name in columns])
    if not empty.any():
        return ()
    return (f"{int(empty.sum()):,} rows have no {below}; what they add to the sums counts in their groups.",)


KINDS = (
    RatioOfSums("wer", "word error rate", "WER", in_points=True),
    RatioOfSums("cer", "character error rate", "CER", in_points=True),
    RatioOfSums("ratio", settings=frozenset({"better"})),
)
