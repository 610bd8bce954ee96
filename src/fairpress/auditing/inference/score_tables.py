"""Count the score columns of the audited models, a pair at a time, and make estimators of the pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.score_columns import score_columns, unequal_sums
from fairpress.auditing.inference.score_counts import ScoreCounts, score_lines
from fairpress.auditing.inference.score_metrics import ScorePair
from fairpress.auditing.options import AuditOptions
from fairpress.core.values import resolve


@dataclass(frozen=True)
class ScoredModels:
    """`sides`: model → a pair and the model's side in it; `pairs`: compressed model → its pair with the baseline."""

    sides: Mapping[str, tuple[ScorePair, int]]
    pairs: Mapping[str, ScorePair]


@dataclass(frozen=True)
class ScoreTables:
    """The counted scores of models.

    `pairs`: compressed model → its scores with those of the baseline. `single`: model → its scores, where it has no pair.
    """

    pairs: Mapping[str, ScoreCounts]
    single: Mapping[str, ScoreCounts]
    notes: tuple[str, ...] = ()


def score_pairs(tables: ScoreTables, cells: Cells, baseline: str, source_name: str) -> ScoredModels:
    """Return the estimators of the counted scores over the groups of `cells`; the baseline takes its side in some pair."""
    pairs = {m: ScorePair.build(counts, cells, source_name) for m, counts in tables.pairs.items()}
    sides = {m: (pair, 1) for m, pair in pairs.items()}
    sides |= {m: (ScorePair.build(c, cells, source_name, paired=False), 0) for m, c in tables.single.items()}
    if pairs:
        sides[baseline] = (next(iter(pairs.values())), 0)
    return ScoredModels(sides, pairs)


def count_scores(
    source: TableSource, cells: Cells, options: AuditOptions, baseline: str, compressed: Sequence[str]
) -> ScoreTables:
    """Count the columns ``M.score`` (or ``M.score.<positive>``) of all models that have one.

    A column with a missing score, or of thresholded numbers that are not probabilities, is left out with a note. The
    baseline is counted with each compressed model, because changes are paired.
    """
    if cells.positive is None or source.holds_cells:
        return ScoreTables({}, {})
    if not source.counts_scores:
        return ScoreTables(
            {}, {}, ("No score metrics: for a table in a database, only predicted classes are counted.",)
        )
    columns: dict[str, str] = {}
    notes: list[str] = []
    for model in (baseline, *compressed):
        score_names = score_columns(source, model)
        name = _positive_score_column(model, score_names, cells.positive)
        if len(score_names) > 1 or (score_names and score_names[0] != f"{model}.score"):
            notes += _incomplete_scores(source, model, score_names, cells.classes)
        if name is None or not source.holds_numbers(name):
            continue
        summary = source.numbers([name])[name]
        if summary.outside:
            notes.append(
                f"No score metrics of {model!r}: {name!r} ranges from {summary.low:.6g} to {summary.high:.6g}, so it "
                "does not hold probabilities."
            )
        elif summary.missing:
            notes.append(
                f"No score metrics of {model!r}: its scores are missing in {summary.missing:,} of {summary.rows:,} "
                "rows."
            )
        else:
            columns[model] = name

    def counted(first: str, second: str) -> ScoreCounts:
        return score_lines(
            source,
            cells,
            label=options.label,
            columns=(columns[first], columns[second]),
            bins=options.bins,
            keys=options.keys,
            weight=options.weight,
        )

    pairs = {m: counted(baseline, m) for m in compressed if m in columns and baseline in columns}
    unpaired = [m for m in columns if m not in pairs and not (m == baseline and pairs)]
    return ScoreTables(pairs, {m: counted(m, m) for m in unpaired}, tuple(notes))


def _positive_score_column(model: str, columns: Sequence[str], positive: str) -> str | None:
    """Return the column that holds the probability of the positive class."""
    if f"{model}.score" in columns:
        return f"{model}.score"
    by_class = {c.removeprefix(f"{model}.score."): c for c in columns}
    class_name = resolve(positive, by_class)
    return None if class_name is None else by_class[class_name]


def _incomplete_scores(
    source: TableSource, model: str, columns: Sequence[str], classes: Sequence[str]
) -> Iterator[str]:
    """Yield notes where the scores per class are not a distribution over all classes."""
    scored_classes = [c.removeprefix(f"{model}.score.") for c in columns]
    lacking = [c for c in classes if resolve(c, scored_classes) is None]
    if lacking:
        name = f"{model}.score.{lacking[0]}"
        yield f"{model!r} has no column {name!r}, so it never predicts {lacking[0]!r}."
        return
    rows = unequal_sums(source, columns)
    if rows:
        yield f"The scores of {model!r} do not sum to 1 over the classes in {rows:,} rows; are they probabilities?"
