"""Score columns of models: find them, check that they hold probabilities, and of which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairpress.auditing.cells.column_inspection import Numbers
from fairpress.auditing.cells.decision import Decision, parse_decision
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.positive_class import PositiveClass
from fairpress.core.errors import UserError
from fairpress.core.values import resolve

SUM_SLACK = 0.02
"""Tolerance for the sum of a row's probabilities; rounding to two digits stays below it."""


def score_columns(source: TableSource, model: str) -> tuple[str, ...]:
    """Return the columns of a model's scores: ``M.score``, else all ``M.score.<class>``."""
    if f"{model}.score" in source.columns:
        return (f"{model}.score",)
    return tuple(c for c in source.columns if c.startswith(f"{model}.score."))


def check_scores(source: TableSource, models: Sequence[str], decide: Mapping[str, str]) -> None:
    """Raise UserError where a score column of a model does not hold probabilities.

    A column that `decide` thresholds may hold any numbers.
    """
    if source.holds_cells:
        return
    unchecked = {parse_decision(text, m).column for m, text in decide.items() if isinstance(text, str)}
    columns = {c: m for m in models for c in score_columns(source, m) if c not in unchecked}
    for column, model in columns.items():
        source.require(column, f"scores of model {model!r}")
    text = [c for c in columns if source.columns[c] == "VARCHAR"]
    source.numbers(text)  # parsed in one pass, and remembered
    for column, model in columns.items():
        source.number(column, f"scores of model {model!r}")
    for column, summary in source.numbers(list(columns)).items():
        if summary.outside:
            raise UserError(
                _outside(source.name, column, summary, column == f"{columns[column]}.score", columns[column])
            )


def _outside(source_name: str, column: str, summary: Numbers, single: bool, model: str) -> str:
    low, high = summary.low or 0.0, summary.high or 0.0
    problem = (
        f"{source_name}: the scores {column!r} range from {low:.6g} to {high:.6g} and are outside 0 to 1 in "
        f"{summary.outside:,} of {summary.rows:,} rows"
    )
    if low >= 0 and 1 < high <= 100 and high > 20:
        return f"{problem}; if they are percentages, divide them by 100."
    convert = "the sigmoid" if single else "the softmax over all classes"
    threshold = f", or set a threshold with `decide={{{model!r}: {column + '>=0'!r}}}`" if single else ""
    return (
        f"{problem}; if they are logits or margins, convert them to probabilities with {convert}{threshold}."
    )


@dataclass(frozen=True)
class Orientation:
    """How a model's scores agree with its predicted classes.

    `high`, `low`: the mean score where the positive class is predicted, and elsewhere. `agreeing`: the share of rows in
    which thresholding the score at .5 gives the predicted class.
    """

    column: str
    high: float
    low: float
    agreeing: float

    @property
    def reversed(self) -> bool:
        """Whether the scores clearly belong to the other class."""
        return self.high < self.low and self.agreeing < 0.5


def orientations(
    source: TableSource, columns: Mapping[str, str], positive: str, classes: Sequence[str]
) -> dict[str, Orientation]:
    """Compare the scores of models (model → score column) with their predicted classes, in one pass over the table.

    Models that predict the positive class everywhere or nowhere are left out.
    """
    if not columns:
        return {}
    numbers = [source.as_number(column) for column in columns.values()]
    scores = [f"CASE WHEN isnan({x}) THEN NULL ELSE {x} END AS x{i}" for i, x in enumerate(numbers)]
    classes_of = [f"{source.column(model)} AS d{i}" for i, model in enumerate(columns)]
    every = range(len(columns))
    measures = [
        f"count(x{i}) AS n{i}, sum(x{i}) AS s{i}, count(*) FILTER (WHERE x{i} >= 0.5) AS above{i}"
        for i in every
    ]
    # GROUPING is 0 in the lines that are grouped by this column.
    grouped = ", ".join(f"d{i}, GROUPING(d{i}) AS g{i}" for i in every)
    lines = source.read(
        f"SELECT {grouped}, {', '.join(measures)} FROM (SELECT {', '.join([*classes_of, *scores])} FROM {source.relation}) "
        f"GROUP BY GROUPING SETS ({', '.join(f'(d{i})' for i in every)}) ORDER BY ALL"
    ).to_pylist()
    result = {}
    for i, (model, column) in enumerate(columns.items()):
        sides = {True: [0.0, 0.0, 0.0], False: [0.0, 0.0, 0.0]}
        for line in lines:
            if line[f"g{i}"] == 0:
                side = sides[resolve(line[f"d{i}"], classes) == positive]
                for j, key in enumerate(("n", "s", "above")):
                    side[j] += line[f"{key}{i}"] or 0
        (n, s, above), (m, t, other) = sides[True], sides[False]
        if n and m:
            result[model] = Orientation(column, s / n, t / m, (above + m - other) / (n + m))
    return result


def check_orientation(
    source: TableSource,
    decided: Mapping[str, Decision],
    positive: PositiveClass,
    classes: Sequence[str],
) -> list[str]:
    """Return warnings about scores that seem to belong to a class other than the positive one.

    Raises UserError where the positive class was chosen by convention and the scores belong to the other class.
    """
    warnings: list[str] = []
    if positive.name is None or source.holds_cells or not source.counts_scores:
        return warnings
    columns = {
        model: f"{model}.score"
        for model, decision in decided.items()
        if not decision.sign and not decision.among and f"{model}.score" in source.columns
    }
    for model, scores in orientations(source, columns, positive.name, classes).items():
        if not scores.reversed:
            continue
        column = scores.column
        others = [c for c in classes if c != positive.name]
        other_class = f"{others[0]!r}" if len(others) == 1 else "another class"
        observation = (
            f"the scores {column!r} are higher where {model!r} predicts {other_class} (mean {scores.low:.2f}) than where it "
            f"predicts {positive.name!r} (mean {scores.high:.2f})"
        )
        if positive.doubtful(classes):
            raise UserError(
                f"{source.name}: {observation}, so they seem to be the probability of {other_class}; name the positive "
                f"class: `positive={others[0]!r}`."
            )
        warnings.append(
            f"T{observation[1:]}, although the positive class is {positive.name!r}: AUC, calibration and all other score "
            f"metrics are wrong unless {column!r} is the probability of {positive.name!r}."
        )
    return warnings


def unequal_sums(source: TableSource, columns: Sequence[str]) -> int:
    """Return the number of rows in which the probabilities of all classes do not sum to 1."""
    total = " + ".join(source.as_number(c) for c in columns)
    query = f"SELECT count(*) AS n FROM {source.relation} WHERE abs({total} - 1) > {SUM_SLACK!r}"
    return int(source.read(query).value())
