"""A synthetic predictions table in which one group pays, for `fairpress demo`. No person stands behind a row."""

from __future__ import annotations

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


def table(rows: int = 12_000, seed: int = 20) -> pa.Table:
    """Return a predictions table of `rows` made-up people.

    int8 flips few answers, for everybody alike. int4 flips more, and takes a further 9 of 100 right
    answers from women of 65 and over: the group an audit has to find.

    Parameters
    ----------
    rows
        Number of rows.
    seed
        Seed of the generator; equal seeds give equal tables.
    """
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    female = rng.random(rows) < 0.5
    age = rng.choice(3, size=rows, p=[0.4, 0.38, 0.22])
    label = rng.random(rows) < 0.45
    baseline = np.where(rng.random(rows) < BASELINE_ACCURACY, label, ~label)
    columns: dict[str, pa.Array] = {
        "row_id": pa.array(np.arange(rows)),
        "sex": pa.array(np.where(female, "Female", "Male")),
        "age_group": pa.array(np.array(AGE_GROUPS)[age]),
        "label": pa.array(np.where(label, "yes", "no")),
        BASELINE: pa.array(np.where(baseline, "yes", "no")),
    }
    pays = female & (age == 2)
    for name in COMPRESSED:
        flip = rng.random(rows) < FLIPS[name]
        flip |= pays & (baseline == label) & (rng.random(rows) < EXTRA_LOSS.get(name, 0.0))
        columns[name] = pa.array(np.where(baseline ^ flip, "yes", "no"))
    return pa.table(columns).replace_schema_metadata({TASK_KEY: task_json("label", ["no", "yes"], "yes")})
