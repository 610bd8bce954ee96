"""How the predictions of two models in a predictions table differ, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.runtime.predictions_file import OUTCOME_KEY, TASK_KEY

if TYPE_CHECKING:
    import pyarrow as pa

# The margin of an example command, by the outcome that a predictions table records.
EXAMPLE_MARGINS = {"abs_error": "5% of baseline", "multilabel": "2pp"}


def recorded_outcome(table: pa.Table) -> str | None:
    """Return the outcome by which the predictions of a table are judged; None for classes."""
    recorded = (table.schema.metadata or {}).get(OUTCOME_KEY.encode())
    return None if recorded is None else recorded.decode()


def differences(table: pa.Table, model: str, first: str, outcome: str | None) -> str:
    """Return how a model's predictions differ from the first model's, as the rest of a sentence.

    Of classes the rows that flip; of numbers the mean and the largest absolute change, in the label's unit; of several
    labels how many of all labels of all rows flip, and which most.
    """
    rows = table.num_rows
    if outcome == "abs_error":
        change = np.abs(table[model].to_numpy() - table[first].to_numpy())
        return (
            f"differs from {first} by {change.mean():.4g} on average and by {change.max():.4g} at most, in the unit of the "
            f"label ({rows:,} rows)"
        )
    if outcome == "multilabel":
        names = [c.removeprefix("label.") for c in table.column_names if c.startswith("label.")]
        flips = {x: _flips(table, f"{model}.{x}", f"{first}.{x}") for x in names}
        most = max(names, key=lambda x: flips[x])
        total = sum(flips.values())
        where = f", most of {most!r} ({flips[most]:,})" if total and len(names) > 1 else ""
        return f"differs from {first} in {total:,} of {rows * len(names):,} labels of {rows:,} rows{where}"
    return f"differs from {first} in {_flips(table, model, first):,} of {rows:,} rows"


def _flips(table: pa.Table, column: str, other: str) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.not_equal(table[column], table[other])).as_py() or 0


def tie_text(table: pa.Table, facts: Mapping[str, Any], count: int) -> str:
    """Return who decides the rows that are exactly at a model's threshold, or equally probable as two classes."""
    rows = f"{count:,} of {table.num_rows:,} rows {'is' if count == 1 else 'are'}"
    if "thresholds" in facts:
        return f"{count:,} probabilities are exactly at the threshold of their label, which counts as present"
    if facts.get("threshold") is None:
        return f"{rows} equally probable as two classes, and go to the first of them"
    positive = json.loads((table.schema.metadata or {})[TASK_KEY.encode()])["positive"]
    return f"{rows} exactly at the threshold {facts['threshold']:g}, which counts as {positive!r}"
