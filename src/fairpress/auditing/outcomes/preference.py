"""Preference of one of a pair, whose share should be ½: sentences with and without a stereotype (CrowS-Pairs, StereoSet).

A row's value is 1 if the model prefers the first of the pair, 0 if the second, ½ for a tie; ties stay in the denominator.
The level of a group is |p − ½|, the distance of the share p from no preference, in points, and the loss its growth.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.to_estimates import to_estimates
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.number import decimals_of
from fairpress.auditing.outcomes.row_table import TOO_FEW, RowTable
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.bounded_means import with_pseudo_units
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import loss_interval
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.unit_means import mean_of_units, unit_sums
from fairpress.auditing.verdicts.margins import NUMBER
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate

PREFERENCE = "preference"
FOLDED_NOTE = (
    "The change of a distance is bounded by four paired contrasts at half of the error each, because a distance that is "
    "nearly 0 has no symmetric error; the excess over the rest adds two such bounds."
)
POINTS = re.compile(rf"{NUMBER}\s*(?:pp|points?|percentage\s+points?)", re.IGNORECASE)


@dataclass(frozen=True)
class PreferenceValues:
    """Preferences minus ½ by model: −½, 0 or ½ for each row."""

    by_model: Mapping[str, Floats]
    table: RowTable
    metrics: tuple[str, ...] = (PREFERENCE,)
    folded: frozenset[str] = frozenset({PREFERENCE})
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    undefined: str = TOO_FEW

    def values(self, model: str, metric: str, grouping: Grouping) -> Floats:
        """Return the preferences minus ½ [rows]."""
        return self.by_model[model]

    def reach(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return 1: a row goes from one to the other."""
        return np.ones(grouping.size)

    def share(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return 1: every row counts."""
        return np.ones(grouping.size)

    def row_losses(self, model: str, baseline: str, metric: str) -> Floats:
        """Return by how much each row moves towards the first of its pair [rows]."""
        return self.by_model[model] - self.by_model[baseline]

    def details(self, model: str, grouping: Grouping, confidence: float) -> Mapping[str, list[Estimate]]:
        """Return the share that prefers the first, and the share of ties.

        The share's interval is the paired score interval of (wins − losses)/n (Tango 1998), halved, about ½; with weights
        or several rows per person, n is divided by the design effect.
        """
        x = self.by_model[model]
        won, lost, n = (self._sums(where, grouping) for where in (x > 0, x < 0, x == x))
        deff, df = self._design_effect(x, grouping, n)
        net = bonett_price(won, lost, n, deff, df)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = loss_interval(net, (won + lost) / np.where(n > 0, n, 1.0), confidence)
        shares = [
            Estimate(0.5 + v / 2, 0.5 + a / 2, 0.5 + b / 2, size, "score")
            if np.isfinite(v)
            else Estimate.not_estimable("no rows in this group")
            for v, a, b, size in zip(*(y.tolist() for y in (net.value, low, high, n)), strict=True)
        ]
        unit = self.table.cells.keys.get("subject")
        sums = unit_sums((x == 0).astype(float), grouping.index, grouping.size, self.table.cells.weight, unit)
        ties = to_estimates(
            with_pseudo_units(mean_of_units(sums), 1.0, (0.0, 1.0)), confidence, self.undefined
        )
        return {"share": shares, "ties": ties}

    def _sums(self, where: np.ndarray, grouping: Grouping) -> Floats:
        inside = grouping.index >= 0
        weight = (self.table.cells.weight * where)[inside]
        return np.asarray(np.bincount(grouping.index[inside], weights=weight, minlength=grouping.size), float)

    def _design_effect(self, x: Floats, grouping: Grouping, n: Floats) -> tuple[Floats, Floats]:
        """Return the robust variance of the mean over that of independent rows, at least 1, and its degrees of freedom."""
        cells, unit = self.table.cells, self.table.cells.keys.get("subject")
        if unit is None and (cells.weight == 1).all():
            return np.ones(grouping.size), np.full(grouping.size, np.inf)
        mean = mean_of_units(unit_sums(x, grouping.index, grouping.size, cells.weight, unit))
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = (self._sums(x != 0, grouping) / 4 / n - mean.value**2) / n
            deff = np.where(plain > 0, mean.se**2 / plain, n / mean.effective_n)
        return np.fmax(np.nan_to_num(deff, nan=1.0), 1.0), mean.df


@dataclass(frozen=True)
class Preference:
    """``preference``: the column of a model holds 1, 0 or 0.5; ``preference=more/less``: columns M.more and M.less, of which
    the larger is preferred."""

    word: str = PREFERENCE
    settings: frozenset[str] = frozenset({"within"})
    needs_margin: bool = True
    linear: bool = False

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the columns of preferences, or of the two scores of each model."""
        if label != "label":
            raise UserError(f"`outcome={str(request)!r}` needs no label; leave `label={label!r}` out.")
        parts = _parts(request)
        if parts is None:
            return {m: f"the preferences of model {m!r}" for m in models}, {}
        return {f"{m}.{part}": f"the score of {part!r} by model {m!r}" for m in models for part in parts}, {}

    def title(self, request: OutcomeRequest) -> str:
        """Return what a value is."""
        parts = _parts(request)
        first = "the first of a pair" if parts is None else f"{parts[0]!r} to {parts[1]!r}"
        return (
            f"The distance from ½ of the share of rows in which a model prefers {first}, ties counting ½; no preference is "
            "best. A row that is worse moved towards the first, one that is better away from it."
        )

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return a margin in percentage points: ``2pp`` is 0.02."""
        return margin_in_points(given)

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measure: points of |p − ½|."""
        refuse_relative(margins, request, "a distance from ½ that is nearly 0")
        decimals = decimals_of(margins, self.word, 100.0)
        return {
            self.word: Measure(
                "distance of the preference from ½",
                "distance from ½",
                "points",
                "percentage points",
                100.0,
                decimals,
            )
        }

    def bind(
        self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str
    ) -> PreferenceValues:
        """Return the preferences of every model; raises UserError for other values than 0, ½ and 1."""
        parts = _parts(request)
        by_model = {}
        for m in models:
            if parts is not None:
                first, second = (table.numbers[f"{m}.{part}"] for part in parts)
                by_model[m] = np.sign(first - second) / 2
                continue
            x = table.numbers[m]
            wrong = ~np.isin(x, (0.0, 0.5, 1.0))
            if wrong.any():
                row = int(np.argmax(wrong))
                raise UserError(
                    f"{table.name}: {m!r} is {x[row]:g} in row {row + 1:,}; a preference is 1 (for the first of the pair), "
                    f"0 or 0.5 (a tie). For the scores of both, write `outcome='{self.word}=first/second'` for the columns "
                    f"{m}.first and {m}.second."
                )
            by_model[m] = x - 0.5
        return PreferenceValues(by_model, table, notes=tuple(_notes(by_model)))


def margin_in_points(given: str) -> Margin | None:
    """Return a margin that is written in percentage points; None if the text is not of this form."""
    match = POINTS.fullmatch(given)
    return None if match is None else Margin(float(f"{float(match['number']) / 100:.12g}"))


def refuse_relative(margins: Mapping[str, Margin], request: OutcomeRequest, what: str) -> None:
    """Raise UserError for a margin that is a share of a quantity whose ideal is 0."""
    if any(m.relative for m in margins.values()):
        raise UserError(
            f"`margin=`: a share of {what} allows nothing; give the margin of {str(request)!r} in points, such as "
            "`margin='2pp'`."
        )


def _parts(request: OutcomeRequest) -> tuple[str, str] | None:
    if not request.columns:
        return None
    first, slash, second = (x.strip() for x in request.columns.partition("/"))
    if not slash or not first or not second or "/" in second or first == second:
        raise UserError(
            f"`outcome={str(request)!r}` compares two scores of each model; write preference=more/less, for columns such as "
            "int8.more and int8.less, or preference alone for columns of 1, 0 and 0.5."
        )
    return first, second


def _notes(by_model: Mapping[str, Floats]) -> Iterator[str]:
    yield FOLDED_NOTE
    ties = {m: float((x == 0).mean()) for m, x in by_model.items() if (x == 0).any()}
    if ties:
        shares = ", ".join(f"{100 * share:.1f} % of {m}" for m, share in ties.items())
        yield f"Ties count ½ and stay in the denominator: {shares}."


KINDS = (Preference(),)
