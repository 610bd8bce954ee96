"""A synthetic predictions table in which one group pays, for `fairpress demo`. No person stands behind a row."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from fairpress.runtime.predictions_file import TASK_KEY, task_json

if TYPE_CHECKING:
    import pyarrow as pa

BANNER = "Synthetic data: made by a random generator for this demonstration. No real person, no real model."
BY = ("sex", "age_group", "sex*age_group")
BASELINE, COMPRESSED = "fp32", ("int8", "int4")
AGE_GROUPS = ("18-39", "40-64", "65+")

# What the generator does, so that a reader can hold the audit against the truth.
BASELINE_ACCURACY = 0.90
FLIPS = {"int8": 0.004, "int4": 0.015}  # both ways alike, everybody
EXTRA_LOSS = {"int4": 0.09}  # right answers lost by women of 65 and over only


def columns(rows: int = 12_000, seed: int = 20) -> dict[str, np.ndarray]:
    """Return the columns of a predictions table of `rows` made-up people.

    int8 flips few answers, for everybody alike. int4 flips more, and takes a further 9 of 100 right
    answers from women of 65 and over: the group an audit has to find.

    Parameters
    ----------
    rows
        Number of rows.
    seed
        Seed of the generator; equal seeds give equal tables.
    """
    rng = np.random.default_rng(seed)
    female = rng.random(rows) < 0.5
    age = rng.choice(3, size=rows, p=[0.4, 0.38, 0.22])
    label = rng.random(rows) < 0.45
    baseline = np.where(rng.random(rows) < BASELINE_ACCURACY, label, ~label)
    named = {
        "row_id": np.arange(rows),
        "sex": np.where(female, "Female", "Male"),
        "age_group": np.array(AGE_GROUPS)[age],
        "label": np.where(label, "yes", "no"),
        BASELINE: np.where(baseline, "yes", "no"),
    }
    pays = female & (age == 2)
    for name in COMPRESSED:
        flip = rng.random(rows) < FLIPS[name]
        flip |= pays & (baseline == label) & (rng.random(rows) < EXTRA_LOSS.get(name, 0.0))
        named[name] = np.where(baseline ^ flip, "yes", "no")
    return named


def csv_text(rows: int = 12_000, seed: int = 20) -> str:
    """Return the table as CSV; the parameters are those of `columns`."""
    named, text = columns(rows, seed), io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(named)
    writer.writerows(zip(*(column.tolist() for column in named.values()), strict=True))
    return text.getvalue()


def table(rows: int = 12_000, seed: int = 20) -> pa.Table:
    """Return the table with the metadata that `predict` records; the parameters are those of `columns`."""
    import pyarrow as pa

    arrays = {name: pa.array(column) for name, column in columns(rows, seed).items()}
    return pa.table(arrays).replace_schema_metadata({TASK_KEY: task_json("label", ["no", "yes"], "yes")})
