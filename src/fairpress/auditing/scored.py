"""Find the score columns of the audited models and count them, a pair at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairpress.auditing.cells import Cells
from fairpress.auditing.score_lines import score_lines, unusable
from fairpress.auditing.score_metrics import ScorePair
from fairpress.auditing.source import Source


@dataclass(frozen=True)
class Scored:
    """`sides`: model → a pair and its side in it. `pairs`: compressed model → its pair with the baseline."""

    sides: Mapping[str, tuple[ScorePair, int]]
    pairs: Mapping[str, ScorePair]
    notes: tuple[str, ...]


def score_pairs(
    source: Source,
    cells: Cells,
    baseline: str,
    compressed: Sequence[str],
    *,
    label: str,
    bins: Mapping[str, Sequence[float]],
    keys: Mapping[str, str],
    weight: str | None,
) -> Scored:
    """Count the columns ``M.score`` (or ``M.score.<positive>``) of all models that have one.

    A column with anything but a probability in some row is left out, and a note says so. The baseline is counted beside
    every compressed model, because their changes are paired.
    """
    if cells.positive is None or source.counted_already:
        return Scored({}, {}, ())
    if not source.scored:
        return Scored({}, {}, ("No score metrics: of a table in a warehouse decisions alone are counted.",))
    columns, notes = {}, []
    for model in (baseline, *compressed):
        name = next(
            (c for c in (f"{model}.score", f"{model}.score.{cells.positive}") if source.holds_numbers(c)),
            None,
        )
        if name is None:
            continue
        bad = unusable(source, name)
        if bad:
            notes.append(
                f"No score metrics of {model!r}: its scores are missing, or no probabilities, in {bad:,} rows."
            )
        else:
            columns[model] = name

    def pair(first: str, second: str) -> ScorePair:
        lines = score_lines(
            source,
            cells,
            label=label,
            columns=(columns[first], columns[second]),
            bins=bins,
            keys=keys,
            weight=weight,
        )
        return ScorePair.of(lines, cells, source.name)

    pairs = {m: pair(baseline, m) for m in compressed if m in columns and baseline in columns}
    sides = {m: (p, 1) for m, p in pairs.items()}
    alone = [m for m in columns if m not in sides and not (m == baseline and pairs)]
    sides |= {m: (pair(m, m), 0) for m in alone}
    if pairs:
        sides[baseline] = (next(iter(pairs.values())), 0)
    return Scored(sides, pairs, tuple(notes))
