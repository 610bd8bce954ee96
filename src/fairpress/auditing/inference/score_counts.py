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
from fairpress.auditing.cells.query_result import encode, numbers
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
class ScoreCounts:
    """Combinations of groups, label, keys and the ranks of both scores.

    Attributes
    ----------
    cells
        Groups, labels, keys and rows, numbered as in the audited cells, without predictions.
    bins
        ``"baseline"`` and ``"compressed"`` → the rank of the combination's bin (of its score, where exact).
    exact
        Whether a bin is a single score.
    sums
        Sums over the same rows.
    """

    cells: Cells
    bins: Mapping[str, np.ndarray]
    exact: bool
    sums: ScoreSums


@dataclass(frozen=True)
class _Rows:
    """The rows in SQL: ``k0`` … are `names`, ``s0`` and ``s1`` the scores, ``w`` the weight."""

    source: TableSource
    cells: Cells
    label: str
    keys: Mapping[str, str]
    names: tuple[str, ...]
    sql: str
    weighted: bool

    def count(self, cut: Mapping[str, str], measures: Mapping[str, str]) -> tuple[Cells, dict[str, Floats]]:
        """Return the combinations of ``k0`` … and `cut` (name → SQL), and these columns with the sums of `measures`."""
        group = ", ".join(
            [f"k{i}" for i in range(len(self.names))] + [f"{sql} AS {n}" for n, sql in cut.items()]
        )
        every = {
            "n": "count(*)::DOUBLE",
            **({"w": "sum(w)", "ww": "sum(w * w)"} if self.weighted else {}),
            **measures,
        }
        summed = ", ".join(f"{sql} AS {name}" for name, sql in every.items())
        # Sorted, so that the order of summation is independent of the number of threads.
        table = self.source.read(f"SELECT {group}, {summed} FROM {self.sql} GROUP BY ALL ORDER BY ALL")
        columns = {n: numbers(table[n]) for n in (*cut, *every)}
        coded = {n: encode(table[f"k{i}"]) for i, n in enumerate(self.names)}
        scale = self.cells.weight_scale
        w, ww = (columns["w"], columns["ww"]) if self.weighted else (columns["n"], columns["n"])
        lines = code_like(
            self.cells,
            {n: coded[n] for n in self.cells.attributes},
            coded[self.label],
            {role: coded[column] for role, column in self.keys.items()},
            columns["n"],
            w * scale,
            ww * scale**2,
        )
        return lines, columns


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
    inner = [
        f"{source.binned(n, bins[n]) if n in bins else source.column(n)} AS k{i}" for i, n in enumerate(names)
    ]
    inner += [f"least(greatest({source.as_number(c)}, 0), 1) AS s{i}" for i, c in enumerate(columns)]
    if weight is not None:
        inner.append(f"{source.as_number(weight)} AS w")
    sql = f"(SELECT {', '.join(inner)} FROM {source.relation})"
    rows = _Rows(source, cells, label, keys, names, sql, weight is not None)
    return _exact(rows) if float(cells.rows.sum()) <= EXACT_ROWS else _binned(rows)


def _exact(rows: _Rows) -> ScoreCounts:
    lines, columns = rows.count({"b0": "s0", "b1": "s1"}, {})
    before, after = columns["b0"], columns["b1"]
    bins = {"baseline": _ranks(before), "compressed": _ranks(after)}
    return ScoreCounts(lines, bins, True, sums_of(lines, before, after))


def _binned(rows: _Rows) -> ScoreCounts:
    sums = _sums(rows)
    logits = [f"ln({_clamped(x)} / (1 - {_clamped(x)}))" for x in ("s0", "s1")]
    ends = ", ".join(f"min({x}) AS low{i}, max({x}) AS high{i}" for i, x in enumerate(logits))
    limits = rows.source.read(f"SELECT {ends} FROM {rows.sql}").to_pylist()[0]
    lines, columns = rows.count({f"b{i}": _bin(x, limits, i) for i, x in enumerate(logits)}, {})
    bins = {"baseline": _ranks(columns["b0"]), "compressed": _ranks(columns["b1"])}
    return ScoreCounts(lines, bins, False, sums)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(-1))


def sums_of(lines: Cells, before: Floats, after: Floats) -> ScoreSums:
    """Return the sums over combinations that have one score of either model each."""
    codes = [*(c.codes for c in lines.attributes.values()), lines.label, *lines.keys.values()]
    codes += [calibration_bins(before), calibration_bins(after)]
    index = np.zeros(len(lines.label), dtype=np.int64)
    for column in codes:  # renumbered at every step: the product of all numbers of values may overflow
        index = _ranks(index * (int(column.max(initial=0)) + 1) + column)
    size = int(index.max(initial=-1)) + 1
    first = np.zeros(size, dtype=np.int64)
    first[index] = np.arange(len(index))
    w, ww = lines.weight, lines.weight_squares

    def total(values: Floats) -> Floats:
        return per_group(values, index, size)

    moments = {}
    for variable in VARIABLES:
        x, y = (_variable(variable, s) for s in (before, after))
        for side, value in zip(SIDES, (x, y, y - x), strict=True):
            moments[side, variable] = Moments(total(w * value), total(ww * value), total(ww * value**2))
    cells = lines.select(first).with_counts(total(lines.rows), total(w), total(ww))
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

    A mean of equal scores can differ from them in the last digit and fall into another calibration bin.
    """
    return {
        side: np.clip(moments[side, "score"].first / cells.weight, low, high)
        for side, (low, high) in zip(SIDES, ends, strict=False)
    }


def _clamped(score: str) -> str:
    return f"least(greatest({score}, {MIN_SCORE!r}), 1 - {MIN_SCORE!r})"


def _bin(logit: str, limits: Mapping[str, float], i: int) -> str:
    low, step = limits[f"low{i}"], (limits[f"high{i}"] - limits[f"low{i}"]) / BINS
    return "0" if step <= 0 else f"least(floor(({logit} - ({low!r})) / {step!r}), {BINS - 1})::SMALLINT"
