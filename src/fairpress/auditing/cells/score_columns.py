"""Score columns of models: find them, check that they hold probabilities, and of which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairpress.auditing.cells.duckdb_source import Decision, Numbers, TableSource, parse_decision
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


def orientation(
    source: TableSource, model: str, column: str, positive: str, classes: Sequence[str]
) -> Orientation | None:
    """Compare a model's scores with its predicted classes; None where only one side occurs."""
    x, d = source.as_number(column), source.column(model)
    by_decision = source.read(
        f"SELECT {d} AS d, count(x) AS n, sum(x) AS s, count(*) FILTER (WHERE x >= 0.5) AS above FROM "
        f"(SELECT {d}, CASE WHEN isnan({x}) THEN NULL ELSE {x} END AS x FROM {source.relation}) GROUP BY {d} ORDER BY {d}"
    ).to_pylist()
    sides = {True: [0.0, 0.0, 0.0], False: [0.0, 0.0, 0.0]}
    for line in by_decision:
        side = sides[resolve(line["d"], classes) == positive]
        for i, key in enumerate(("n", "s", "above")):
            side[i] += line[key] or 0
    (n, s, above), (m, t, other) = sides[True], sides[False]
    if not n or not m:
        return None
    return Orientation(column, s / n, t / m, (above + m - other) / (n + m))


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
    for model, decision in decided.items():
        column = f"{model}.score"
        if decision.sign or decision.among or column not in source.columns:
            continue
        scores = orientation(source, model, column, positive.name, classes)
        if scores is None or not scores.reversed:
            continue
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
    return int(source.read(query)["n"][0].as_py())
