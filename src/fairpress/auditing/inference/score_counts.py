"""Count combinations of group, label and the scores of two models.

Ranks of small tables are of every score; those of larger ones are of bins of equal width on the logit scale. Means and
calibration come from sums over the rows of each group, label and pair of calibration bins, of which there are few, and are
exact in tables of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import code_like
from fairpress.auditing.cells.query_result import DictionaryColumn, QueryResult, ResultColumn, encode, numbers
from fairpress.auditing.cells.table_readers import text_literal
from fairpress.auditing.inference.group_estimator import Moments, per_group
from fairpress.auditing.metrics.calibration_error import ECE_BINS, calibration_bins
from fairpress.auditing.statistics.t_estimate import Floats

EXACT_ROWS = 500_000
BINS = 1024
MIN_SCORE = float(np.finfo(float).eps)
"""Minimum distance of probabilities from 0 and 1 in logarithms, as in scikit-learn's ``log_loss``."""

VARIABLES = ("score", "log", "log_rest")
SIDES = ("baseline", "compressed", "change")


@dataclass(frozen=True)
class ScoreSums:
    """Sums over the rows of each combination of groups, label, keys and the calibration bins of both scores.

    Attributes
    ----------
    cells
        The combinations, numbered as in the audited cells, without predictions.
    moments
        (side, variable) → moments of s, ln s and ln(1 − s) of either model, and of their differences.
    scores
        ``"baseline"`` and ``"compressed"`` → the mean score of each combination, which is in the combination's bin.
    product
        Σw²·s₀·s₁ of each combination.
    """

    cells: Cells
    moments: Mapping[tuple[str, str], Moments]
    scores: Mapping[str, Floats]
    product: Floats


@dataclass(frozen=True)
class ScoreRanks:
    """Combinations of groups, label, keys and the rank of one model's score: where large tables have bins, few.

    Attributes
    ----------
    cells
        The combinations, numbered as in the audited cells, without predictions.
    bins
        The rank of the bin of each (of its score, where exact).
    index
        The combination of one model's rank to which each of both models' ranks belongs.
    """

    cells: Cells
    bins: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class ScoreCounts:
    """Combinations of groups, label, keys and the ranks of both scores.

    Attributes
    ----------
    cells
        Groups, labels, keys and rows, numbered as in the audited cells, without predictions.
    ranks
        Of the baseline, and of the compressed model.
    exact
        Whether a bin is a single score.
    sums
        Sums over the same rows.
    """

    cells: Cells
    ranks: tuple[ScoreRanks, ScoreRanks]
    exact: bool
    sums: ScoreSums


@dataclass(frozen=True)
class _Rows:
    """The rows in SQL: ``k0`` … are `names`, ``s0`` and ``s1`` the scores, ``w`` the weight.

    Text of `values` is there as codes of these: lines of bins are too many to be read as text.
    """

    source: TableSource
    cells: Cells
    label: str
    keys: Mapping[str, str]
    names: tuple[str, ...]
    values: Mapping[str, Sequence[str]]
    sql: str
    weighted: bool

    def count(self, cut: Mapping[str, str], measures: Mapping[str, str]) -> tuple[Cells, dict[str, Floats]]:
        """Return the combinations of ``k0`` … and `cut` (name → SQL), and these columns with the sums of `measures`."""
        table = self._read(cut, measures, "ORDER BY ALL")
        return self._coded(table), {n: numbers(table[n]) for n in ("n", *cut, *measures)}

    def lines(self, cut: tuple[str, str]) -> tuple[Cells, Floats, Floats]:
        """Return the combinations of ``k0`` … and two values, in no order, with the values.

        There may be as many as rows, which take DuckDB twice the memory to sort.
        """
        table = self._read({"b0": cut[0], "b1": cut[1]}, {}, "")
        return self._coded(table), numbers(table["b0"]), numbers(table["b1"])

    def _read(self, cut: Mapping[str, str], measures: Mapping[str, str], order: str) -> QueryResult:
        group = ", ".join(
            [f"k{i}" for i in range(len(self.names))] + [f"{sql} AS {n}" for n, sql in cut.items()]
        )
        weights = {"w": "sum(w)", "ww": "sum(w * w)"} if self.weighted else {}
        every = {"n": "count(*)::DOUBLE", **weights, **measures}
        summed = ", ".join(f"{sql} AS {name}" for name, sql in every.items())
        return self.source.read(f"SELECT {group}, {summed} FROM {self.sql} GROUP BY ALL {order}")

    def _coded(self, table: QueryResult) -> Cells:
        coded = {
            n: _decoded(table[f"k{i}"], self.values[n]) if n in self.values else encode(table[f"k{i}"])
            for i, n in enumerate(self.names)
        }
        n, scale = numbers(table["n"]), self.cells.weight_scale
        return code_like(
            self.cells,
            {name: coded[name] for name in self.cells.attributes},
            coded[self.label],
            {role: coded[column] for role, column in self.keys.items()},
            n,
            numbers(table["w"]) * scale if self.weighted else n,
            numbers(table["ww"]) * scale**2 if self.weighted else n,
        )


def score_lines(
    source: TableSource,
    cells: Cells,
    *,
    label: str,
    columns: tuple[str, str],
    bins: Mapping[str, Sequence[float]],
    keys: Mapping[str, str],
    weight: str | None,
) -> ScoreCounts:
    """Count the two score columns (which may be the same) over the groups of `cells`, once their range is known.

    Both columns hold probabilities in every row. The other arguments are those of `counting.count`.
    """
    names = tuple(dict.fromkeys([label, *cells.attributes, *keys.values()]))
    column_sql = {n: source.binned(n, bins[n]) if n in bins else source.column(n) for n in names}
    texts = [n for n in (label, *cells.attributes) if n in bins or source.columns[n] == "VARCHAR"]
    values = _values(source, {n: column_sql[n] for n in texts})
    inner = [
        f"{_code(sql, values[n]) if n in values else sql} AS k{i}"
        for i, (n, sql) in enumerate(column_sql.items())
    ]
    inner += [f"least(greatest({source.as_number(c)}, 0), 1) AS s{i}" for i, c in enumerate(columns)]
    if weight is not None:
        inner.append(f"{source.as_number(weight)} AS w")
    sql = f"(SELECT {', '.join(inner)} FROM {source.relation})"
    rows = _Rows(source, cells, label, keys, names, values, sql, weight is not None)
    return _exact(rows) if float(cells.rows.sum()) <= EXACT_ROWS else _binned(rows)


def _values(source: TableSource, texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the sorted values of text columns (name → SQL), of which there are few."""
    if not texts:
        return {}
    lists = ", ".join(
        f"list(DISTINCT {sql}) FILTER (WHERE {sql} IS NOT NULL) AS v{i}"
        for i, sql in enumerate(texts.values())
    )
    distinct = source.read(f"SELECT {lists} FROM {source.relation}").to_pylist()[0]
    return {n: sorted(map(str, v)) for i, n in enumerate(texts) if (v := distinct[f"v{i}"])}


def _code(sql: str, values: Sequence[str]) -> str:
    return f"enum_code(({sql})::ENUM({', '.join(map(text_literal, values))}))::INTEGER"


def _decoded(column: ResultColumn, values: Sequence[str]) -> DictionaryColumn:
    if column.missing is None:
        return DictionaryColumn(list(values), column.values.astype(np.int64))
    codes = np.where(column.missing, len(values), column.values)  # a missing one may be None
    return DictionaryColumn([*values, None], codes.astype(np.int64))


def _exact(rows: _Rows) -> ScoreCounts:
    lines, before, after = rows.lines(("s0", "s1"))
    cells, first, _ = _merged(lines, [_ranks(before), _ranks(after)])
    return exact_counts(cells, before[first], after[first])


def exact_counts(lines: Cells, before: Floats, after: Floats) -> ScoreCounts:
    """Return the counts of combinations that have one score of either model each."""
    every = np.arange(len(before))
    ranks = (ScoreRanks(lines, _ranks(before), every), ScoreRanks(lines, _ranks(after), every))
    return ScoreCounts(lines, ranks, True, sums_of(lines, before, after))


def _binned(rows: _Rows) -> ScoreCounts:
    sums = _sums(rows)
    logits = [f"ln({_clamped(x)} / (1 - {_clamped(x)}))" for x in ("s0", "s1")]
    ends = ", ".join(f"min({x}) AS low{i}, max({x}) AS high{i}" for i, x in enumerate(logits))
    limits = rows.source.read(f"SELECT {ends} FROM {rows.sql}").to_pylist()[0]
    lines, *values = rows.lines((_bin(logits[0], limits, 0), _bin(logits[1], limits, 1)))
    bins = [v.astype(np.int64) for v in values]
    cells, first, _ = _merged(lines, bins)
    del lines
    before, after = (_ranks_of(cells, b[first]) for b in bins)
    return ScoreCounts(cells, (before, after), False, sums)


def _ranks_of(lines: Cells, bins: np.ndarray) -> ScoreRanks:
    cells, first, index = _merged(lines, [bins])
    return ScoreRanks(cells, bins[first], index)


def _merged(lines: Cells, columns: Sequence[np.ndarray]) -> tuple[Cells, np.ndarray, np.ndarray]:
    """Merge combinations that are equal in their groups, label, keys and these columns of codes.

    Returns the merged ones, an original of each, and the merged one to which each original belongs.
    """
    codes = [*(c.codes for c in lines.attributes.values()), lines.label, *lines.keys.values(), *columns]
    flat, size = np.zeros(len(lines.label), dtype=np.int64), 1
    for column in codes:
        values = int(column.max(initial=0)) + 1
        if size * values > 2**62:
            flat = _ranks(flat)
            size = len(flat)
        flat, size = flat * values + column, size * values
    _, first, index = np.unique(flat, return_index=True, return_inverse=True)
    index = np.asarray(index.reshape(-1))
    totals = (per_group(x, index, len(first)) for x in (lines.rows, lines.weight, lines.weight_squares))
    return lines.select(first).with_counts(*totals), first, index


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(-1))


def sums_of(lines: Cells, before: Floats, after: Floats) -> ScoreSums:
    """Return the sums over combinations that have one score of either model each."""
    cells, first, index = _merged(lines, [calibration_bins(before), calibration_bins(after)])
    size, w, ww = len(first), lines.weight, lines.weight_squares

    def total(values: Floats) -> Floats:
        return per_group(values, index, size)

    moments = {}
    for variable in VARIABLES:
        x, y = (_variable(variable, s) for s in (before, after))
        for side, value in zip(SIDES, (x, y, y - x), strict=True):
            moments[side, variable] = Moments(total(w * value), total(ww * value), total(ww * value**2))
    ends = []
    for scores in (before, after):
        low, high = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(low, index, scores)
        np.maximum.at(high, index, scores)
        ends.append((low, high))
    return ScoreSums(cells, moments, _means(cells, moments, ends), total(ww * before * after))


def _variable(variable: str, scores: Floats) -> Floats:
    if variable == "score":
        return scores
    clamped = np.minimum(np.maximum(scores, MIN_SCORE), 1 - MIN_SCORE)
    return np.asarray(np.log(clamped) if variable == "log" else np.log(1 - clamped))


def _sums(rows: _Rows) -> ScoreSums:
    """Return the sums over the rows of the table."""
    sql = {
        "score": ("s0", "s1"),
        "log": tuple(f"ln({_clamped(x)})" for x in ("s0", "s1")),
        "log_rest": tuple(f"ln(1 - {_clamped(x)})" for x in ("s0", "s1")),
    }
    w, ww = ("w * ", "w * w * ") if rows.weighted else ("", "")
    measures = {"product": f"sum({ww}s0 * s1)"}
    measures |= {f"{end}{i}": f"{end}(s{i})" for i in (0, 1) for end in ("min", "max")}
    for variable, (before, after) in sql.items():
        for side, x in zip(SIDES, (before, after, f"({after} - {before})"), strict=True):
            measures[f"{side}_{variable}_1"] = f"sum({w}{x})"
            if rows.weighted:
                measures[f"{side}_{variable}_2"] = f"sum({ww}{x})"
            measures[f"{side}_{variable}_3"] = f"sum({ww}{x} * {x})"
    cut = {f"e{i}": f"least(floor(s{i} * {ECE_BINS}), {ECE_BINS - 1})" for i in (0, 1)}
    cells, columns = rows.count(cut, measures)
    scale = cells.weight_scale
    crossed = 2 if rows.weighted else 1
    moments = {
        (side, variable): Moments(
            columns[f"{side}_{variable}_1"] * scale,
            columns[f"{side}_{variable}_{crossed}"] * scale**2,
            columns[f"{side}_{variable}_3"] * scale**2,
        )
        for side in SIDES
        for variable in VARIABLES
    }
    ends = [(columns[f"min{i}"], columns[f"max{i}"]) for i in (0, 1)]
    return ScoreSums(cells, moments, _means(cells, moments, ends), columns["product"] * scale**2)


def _means(
    cells: Cells, moments: Mapping[tuple[str, str], Moments], ends: Sequence[tuple[Floats, Floats]]
) -> dict[str, Floats]:
    """Return the mean scores, between the smallest and the largest of each combination.

    A mean of equal scores can differ from them in the last digit and fall into another calibration bin. Of rows that all
    weigh nothing, it is the smallest.
    """
    weight, out = cells.weight, {}
    for side, (low, high) in zip(SIDES, ends, strict=False):
        mean = np.divide(moments[side, "score"].first, weight, out=low.copy(), where=weight > 0)
        out[side] = np.clip(mean, low, high)
    return out


def _clamped(score: str) -> str:
    return f"least(greatest({score}, {MIN_SCORE!r}), 1 - {MIN_SCORE!r})"


def _bin(logit: str, limits: Mapping[str, float], i: int) -> str:
    low, step = limits[f"low{i}"], (limits[f"high{i}"] - limits[f"low{i}"]) / BINS
    return "0" if step <= 0 else f"least(floor(({logit} - ({low!r})) / {step!r}), {BINS - 1})::SMALLINT"
