"""How close to call the baseline's answers were: strata of its scores, counted with groups and predictions.

The strata are fixed beforehand: rows for which the baseline decided alike, cut by the rank of the distance of their score
from the decision at the squares of 1/20, 2/20, …, so that the closest hold the fewest rows. No other model and no label has
a part in them. Deciles of the distance alone differ within a stratum: where scores move in one direction, groups that are
on different sides of the threshold were called unequal in up to 3 of 4 simulations in which nothing but the scores differed
(``benchmarks/coverage.py --only matched-level``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.counting import decisions
from fairpress.auditing.cells.decision import Decision
from fairpress.auditing.cells.duckdb_source import TableSource, to_cell_counts
from fairpress.auditing.cells.encoding import build
from fairpress.auditing.cells.query_result import numbers as numbers_of
from fairpress.auditing.cells.score_columns import score_columns
from fairpress.auditing.cells.table_readers import text_literal
from fairpress.auditing.options import AuditOptions
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.values import resolve

STRATA = 20
NOT_MATCHED = "Flips are not matched by how close to call the predictions were"
ROUNDED = 1e-6
"""Scores may be on the wrong side of the threshold by rounding."""
MOST_SIDES = 50
DISAGREEING = 0.001
"""Share of rows whose class may differ from that of the largest score: scores are rounded when they are written."""


@dataclass(frozen=True)
class ClosenessCounts:
    """Combinations of groups, predictions and stratum.

    Attributes
    ----------
    cells
        The combinations; `cells.keys` has the subject where people have several rows.
    stratum
        What the baseline decided and how closely, as one number, 0 … [combinations].
    columns
        The baseline's scores.
    """

    cells: Cells
    stratum: np.ndarray
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Scores:
    """The scores behind the baseline's decisions.

    Attributes
    ----------
    columns
        Their columns.
    sql
        The score that a threshold cuts, or the lead of the largest score over the second.
    upper
        Where a threshold cuts: the classes above it, as SQL casts them to text; None for a lead.
    separate
        Whether it must be checked that some threshold separates the classes.
    """

    columns: tuple[str, ...]
    sql: str
    upper: Callable[[str], bool] | None = None
    separate: bool = False


def count_closeness(
    source: TableSource,
    cells: Cells,
    options: AuditOptions,
    models: Sequence[str],
    attributes: Sequence[Attribute],
) -> tuple[ClosenessCounts | None, tuple[str, ...]]:
    """Count groups, predictions and strata of the baseline's scores.

    None where it has none, and for the stacked runs of several seeds, of which each has a baseline of its own. `models` are
    the baseline and the compressed models. Where there are scores that do not say how close a decision was, a note gives the
    reason.
    """
    if len(models) < 2 or options.seed_column is not None or source.holds_cells or not source.counts_scores:
        return None, ()
    decided = decisions(source, models, options.decide)
    scores = _scores(source, models[0], decided[models[0]], cells)
    if scores is None:
        return None, ()
    if missing := max(x.missing for x in source.numbers(list(scores.columns)).values()):
        return None, (f"{NOT_MATCHED}: scores of {models[0]!r} are missing in {missing:,} rows.",)
    if (
        scores.upper is None
        and models[0] in source.columns
        and (other := _disagreeing(source, models[0], scores.columns, cells.classes))
    ):
        return None, (
            f"{NOT_MATCHED}: in {other:,} rows {models[0]!r} does not predict the class with its largest score, so that its "
            "scores do not say how close a decision was.",
        )
    rows = _Rows.of(source, options, decided, attributes, scores)
    stratum = _stratum(source, rows, scores)
    if stratum is None:
        return None, (
            f"{NOT_MATCHED}: no threshold of {scores.columns[0]!r} gives the decisions of {models[0]!r}, so that it "
            "does not say how close they were.",
        )
    return _counted(source, cells, options, decided, attributes, rows, stratum, scores.columns), ()


def _scores(source: TableSource, model: str, decision: Decision, cells: Cells) -> _Scores | None:
    """Return the scores behind a model's decisions; None where there are none."""
    if decision.among:
        return _Scores(decision.among, _lead(source, decision.among))
    if decision.sign:
        if decision.sign == "==" or not source.holds_numbers(decision.column):
            return None
        above = "true" if decision.sign in (">=", ">") else "false"
        return _Scores((decision.column,), source.as_number(decision.column), above.__eq__)
    columns = score_columns(source, model)
    if not columns or not all(map(source.holds_numbers, columns)):
        return None
    if columns != (f"{model}.score",):
        return _Scores(columns, _lead(source, columns)) if len(columns) > 1 else None
    if cells.positive is None or len(cells.classes) > 2:
        return None
    return _Scores(
        columns,
        source.as_number(columns[0]),
        lambda side: resolve(side, cells.classes) == cells.positive,
        separate=True,
    )


def _lead(source: TableSource, columns: Sequence[str]) -> str:
    """Return SQL for the lead of the largest score of a row: minus the ratio of the second largest to it.

    Ratios of probabilities are differences of logits, to which compression adds its noise. The same difference of
    probabilities is a different difference of logits where a third class takes part.
    """
    ordered = f"list_reverse_sort([{', '.join(map(source.as_number, columns))}])"
    return f"coalesce(-{ordered}[2] / nullif({ordered}[1], 0), -1)"


def _disagreeing(source: TableSource, model: str, columns: Sequence[str], classes: Sequence[str]) -> int:
    """Return the rows whose class is not that of the largest score; 0 for a share that rounding explains."""
    names = ", ".join(text_literal(c.removeprefix(f"{model}.score.")) for c in columns)
    scores = ", ".join(map(source.as_number, columns))
    lines = source.read(
        f"SELECT {source.column(model)} AS p, [{names}][list_position([{scores}], greatest({scores}))] AS s, count(*) AS n "
        f"FROM {source.relation} GROUP BY ALL"
    ).to_pylist()
    other = sum(x["n"] for x in lines if resolve(x["p"], classes) != resolve(x["s"], classes))
    return int(other) if other > DISAGREEING * sum(x["n"] for x in lines) else 0


def _stratum(source: TableSource, rows: _Rows, scores: _Scores) -> str | None:
    """Return SQL for the stratum of a row: how many quantiles of the rows of its side its score exceeds.

    A side are the rows for which the baseline predicts one class (all rows where there are more than `MOST_SIDES`). Ranks
    of the score are ranks of its distance from any threshold, so that none needs to be known; equal scores are in one
    stratum. None where no threshold separates the sides.
    """
    shares = ", ".join(repr((k / STRATA) ** 2) for k in range(1, STRATA))
    measures = f"min(m) AS low, max(m) AS high, quantile_disc(m, [{shares}]) AS up, quantile_disc(-m, [{shares}]) AS down"
    side = f"{rows.side}::VARCHAR"
    sides = source.read(
        f"SELECT {side} AS side, {measures} FROM {rows.sql} GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    if scores.upper is None:
        if len(sides) > MOST_SIDES:
            return _exceeded("m", source.read(f"SELECT {measures} FROM {rows.sql}").to_pylist()[0]["up"])
        return _by_side(side, {x["side"]: _exceeded("m", x["up"]) for x in sides})
    upper = {x["side"] for x in sides if scores.upper(x["side"])}
    lowest = min((x["low"] for x in sides if x["side"] in upper), default=np.inf)
    highest = max((x["high"] for x in sides if x["side"] not in upper), default=-np.inf)
    if scores.separate and highest > lowest + ROUNDED:
        return None
    return _by_side(
        side,
        {
            x["side"]: _exceeded("m", x["up"]) if x["side"] in upper else _exceeded("-m", x["down"])
            for x in sides
        },
    )


def _by_side(side: str, strata: Mapping[str, str]) -> str:
    cases = " ".join(f"WHEN {text_literal(name)} THEN {sql}" for name, sql in strata.items())
    return f"CASE {side} {cases} END"


def _exceeded(value: str, quantiles: Sequence[float]) -> str:
    return " + ".join(f"({value} > CAST('{float(q)!r}' AS DOUBLE))::INTEGER" for q in quantiles)


@dataclass(frozen=True)
class _Rows:
    """The rows in SQL: ``k0`` … are `columns`, then the decisions; ``m`` is the score, ``v`` the weight.

    `side` is the baseline's decision, `size` the number of ``k0`` ….
    """

    sql: str
    columns: tuple[str, ...]
    side: str
    size: int

    @classmethod
    def of(
        cls,
        source: TableSource,
        options: AuditOptions,
        decided: Mapping[str, Decision],
        attributes: Sequence[Attribute],
        scores: _Scores,
    ) -> _Rows:
        subject = () if options.subject is None else (options.subject,)
        columns = tuple(dict.fromkeys([options.label, *names_of(attributes), *subject]))
        bins: Mapping[str, Any] = options.bins
        keys = [source.binned(c, bins[c]) if c in bins else source.column(c) for c in columns]
        keys += [source.decision_expression(m, d) for m, d in decided.items()]
        weight = "1::DOUBLE" if options.weight is None else source.as_number(options.weight)
        inner = [*(f"{x} AS k{i}" for i, x in enumerate(keys)), f"{scores.sql} AS m", f"{weight} AS v"]
        return cls(
            f"(SELECT {', '.join(inner)} FROM {source.relation})", columns, f"k{len(columns)}", len(keys)
        )


def _counted(
    source: TableSource,
    cells: Cells,
    options: AuditOptions,
    decided: Mapping[str, Decision],
    attributes: Sequence[Attribute],
    rows: _Rows,
    stratum: str,
    score_names: tuple[str, ...],
) -> ClosenessCounts:
    group = ", ".join(f"k{i}" for i in range(rows.size))
    table = source.read(
        f"SELECT {group}, {stratum} AS stratum, count(*)::DOUBLE AS n, sum(v) AS w, sum(v * v) AS ww, 0 AS bad "
        f"FROM {rows.sql} GROUP BY ALL ORDER BY ALL"
    )
    counts = to_cell_counts(table, source.name, rows.columns, decided, "weight")
    lines = build(
        counts,
        label=options.label,
        attributes=names_of(attributes),
        decision_columns={m: d.column for m, d in decided.items() if d.sign},
        positive=cells.positive,
        recorded=None,
        keys={"subject": options.subject} if options.subject is not None else {},
        missing=options.missing,
        source_name=source.name,
        require_explicit_positive=False,
    )
    level = numbers_of(table["stratum"]).astype(np.int64)
    baseline = next(iter(decided))
    numbers = np.unique(lines.predicted[baseline] * STRATA + level, return_inverse=True)[1]
    return ClosenessCounts(lines, numbers.reshape(-1), score_names)
