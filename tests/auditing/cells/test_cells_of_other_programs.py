"""Cells that another program counted are audited as its rows would be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fairpress.auditing.audit import audit


def test_a_group_by_of_another_program_is_audited_as_its_rows(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    a = np.where(rng.random(3000) < 0.1, 1 - y, y)
    b = np.where(rng.random(3000) < 0.05, 1 - a, a)
    table = pd.DataFrame(
        {
            "label": y,
            "sex": rng.choice(["F", "M"], 3000),
            "race": rng.choice(list("ABC"), 3000),
            "fp32": a,
            "int8": b,
        }
    )
    cells = table.groupby(list(table.columns)).size().rename("fairpress.rows").reset_index()
    cells.to_parquet(tmp_path / "cells.parquet")
    options = {"baseline": "fp32", "compressed": ["int8"], "by": ["sex", "race", "sex*race"]}
    rows, counted = audit(table, **options), audit(tmp_path / "cells.parquet", **options)
    assert counted.rows == 3000
    assert counted.models == rows.models
    assert counted.comparisons == rows.comparisons
