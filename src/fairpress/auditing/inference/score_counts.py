"""Count combinations of group, label and the scores of two models.

Small tables keep every score, so that all that follows is exact. Larger ones are cut into bins of equal width on the logit
scale, with the moments of each bin, so that means are exact and only ranks are approximate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import code_like
from fairpress.auditing.cells.query_result import encode, numbers
from fairpress.auditing.inference.group_estimator import Moments
from fairpress.auditing.statistics.t_estimate import Floats

EXACT_ROWS = 500_000
BINS = 1024
MIN_SCORE = float(np.finfo(float).eps)
"""Minimum distance of probabilities from 0 and 1 in logarithms, as in scikit-learn's ``log_loss``."""

VARIABLES = ("score", "log", "log_rest")
SIDES = ("baseline", "compressed", "change")


@dataclass(frozen=True)
class ScoreCounts:
    """Combinations of (groups, label, keys, both scores).

    Attributes
    ----------
    cells
        Groups, labels, keys and rows, numbered as in the audited cells, without predictions.
    scores
        ``"baseline"`` and ``"compressed"`` → the mean score of each combination.
    bins
        The same keys → the rank of the combination's bin (of its score, where exact).
    exact
        Whether a bin is a single score.
    moments
        (side, variable) → moments of s, ln s and ln(1 − s) of either model, and of their differences.
    products
        Mean of s₀², s₁², s₀·s₁ per combination.
    """

    cells: Cells
    scores: Mapping[str, Floats]
    bins: Mapping[str, np.ndarray]
    exact: bool
    moments: Mapping[tuple[str, str], Moments]
    products: tuple[Floats, Floats, Floats]


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
    names = list(dict.fromkeys([label, *cells.attributes, *keys.values()]))
    s = [f"least(greatest({source.as_number(c)}, 0), 1)" for c in columns]
    logits = [f"ln({_clamped(x)} / (1 - {_clamped(x)}))" for x in ("s0", "s1")]
    inner = ", ".join(
        [
            f"{source.binned(n, bins[n]) if n in bins else source.column(n)} AS k{i}"
            for i, n in enumerate(names)
        ]
        + [f"{x} AS s{i}" for i, x in enumerate(s)]
        + [f"{'1::DOUBLE' if weight is None else source.as_number(weight)} AS w"]
    )
    rows = f"(SELECT {inner} FROM {source.relation})"
    exact = float(cells.rows.sum()) <= EXACT_ROWS
    if exact:
        cut = ["s0", "s1"]
    else:
        ends = ", ".join(f"min({x}) AS low{i}, max({x}) AS high{i}" for i, x in enumerate(logits))
        limits = source.read(f"SELECT {ends} FROM {rows}").to_pylist()[0]
        cut = [_bin(x, limits, i) for i, x in enumerate(logits)]
    group = ", ".join(f"k{i}" for i in range(len(names)))
    measures = ", ".join(f"{sql} AS {name}" for name, sql in _measures().items())
    table = source.read(
        f"SELECT {group}, {cut[0]} AS b0, {cut[1]} AS b1, count(*)::DOUBLE AS n, sum(w) AS w, sum(w * w) AS ww, {measures} "
        f"FROM {rows} GROUP BY ALL ORDER BY ALL"
    )
    number = {n: numbers(table[n]) for n in ("n", "w", "ww", *_measures())}
    coded = {n: encode(table[f"k{i}"]) for i, n in enumerate(names)}
    scale = cells.weight_scale
    lines = code_like(
        cells,
        {n: coded[n] for n in cells.attributes},
        coded[label],
        {role: coded[column] for role, column in keys.items()},
        number["n"],
        number["w"] * scale,
        number["ww"] * scale**2,
    )
    moments = {
        (side, variable): Moments(
            number[f"{side}_{variable}_1"] * scale,
            number[f"{side}_{variable}_2"] * scale**2,
            number[f"{side}_{variable}_3"] * scale**2,
        )
        for side in SIDES
        for variable in VARIABLES
    }
    return ScoreCounts(
        lines,
        {
            # A mean of equal scores can differ in the last digit and fall into another calibration bin.
            side: numbers(table[b]) if exact else number[f"{side}_score_1"] / number["w"]
            for side, b in zip(SIDES, ("b0", "b1"), strict=False)
        },
        {
            side: np.unique(numbers(table[b]), return_inverse=True)[1].reshape(-1)
            for side, b in zip(SIDES, ("b0", "b1"), strict=False)
        },
        exact,
        moments,
        (number["p00"] / number["w"], number["p11"] / number["w"], number["p01"] / number["w"]),
    )


def _clamped(score: str) -> str:
    return f"least(greatest({score}, {MIN_SCORE!r}), 1 - {MIN_SCORE!r})"


def _bin(logit: str, limits: Mapping[str, float], i: int) -> str:
    low, step = limits[f"low{i}"], (limits[f"high{i}"] - limits[f"low{i}"]) / BINS
    return "0" if step <= 0 else f"least(floor(({logit} - ({low!r})) / {step!r}), {BINS - 1})"


def _measures() -> dict[str, str]:
    """Return name → SQL expression of each sum per combination."""
    values = {
        "score": ("s0", "s1"),
        "log": tuple(f"ln({_clamped(x)})" for x in ("s0", "s1")),
        "log_rest": tuple(f"ln(1 - {_clamped(x)})" for x in ("s0", "s1")),
    }
    out = {"p00": "sum(w * s0 * s0)", "p11": "sum(w * s1 * s1)", "p01": "sum(w * s0 * s1)"}
    for variable, (before, after) in values.items():
        for side, x in zip(SIDES, (before, after, f"({after} - {before})"), strict=True):
            out[f"{side}_{variable}_1"] = f"sum(w * {x})"
            out[f"{side}_{variable}_2"] = f"sum(w * w * {x})"
            out[f"{side}_{variable}_3"] = f"sum(w * w * {x} * {x})"
    return out
