"""Variants of one dataset in one study: what a split by row is worth, seed by seed on the same rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from fairpress.studies.load import load
from fairpress.studies.run import run_study


def accuracy(table, model):
    return (np.array(table[model].to_pylist()) == np.array(table["label"].to_pylist())).mean()


@pytest.mark.slow
def test_the_leak_is_a_paired_difference_on_the_same_rows_and_said_above_everything(data_folder, tmp_path):
    variants = "{by-person: {name: compas-intervals}, by-row: {name: compas-intervals, split: rows}}"
    small = [
        "seeds=2",
        "folds=2",
        "recipes=[int8]",
        "model.widths=[8]",
        "training.max_epochs=2",
        "audit.by=[sex]",
    ]
    contrast = "contrasts=[{of: by-person, against: by-row}]"
    name, config = load("compas-leak", [*small, f"datasets={variants}", contrast])
    done = run_study(name, config, out=tmp_path / "leak", workers=2)
    assert done.outcome.complete
    tables = {
        label: pq.read_table(tmp_path / f"leak/predictions/{label}.parquet")
        for label in ("by-person", "by-row")
    }
    assert {t.num_rows for t in tables.values()} == {2 * 15_201}  # every row once per seed
    gap = accuracy(tables["by-row"], "fp32") - accuracy(tables["by-person"], "fp32")
    audits = dict(zip([p.title for p in done.planned], [s.audit for s in done.sections], strict=True))
    result = audits["The baseline: by-person against by-row"]
    assert (result.rows, result.seeds, result.subjects) == (15_201, 2, 8_732)
    lost = next(x for x in result.comparisons[0].overall.losses if x.metric == "accuracy").estimate
    assert lost.value == pytest.approx(gap, abs=1e-9)
    assert lost.low < gap < lost.high
    # Looking people up is right for all who are in the other fold too, about half of the rows; by person for none.
    known = audits["by-row · The baseline against lookup-by-person"]
    assert known.models[0].overall.rates["accuracy"].value == pytest.approx(
        accuracy(tables["by-row"], "lookup-by-person"), abs=1e-9
    )
    assert (
        accuracy(tables["by-row"], "lookup-by-person")
        > 0.8
        > accuracy(tables["by-person"], "lookup-by-person")
    )
    # It is said, of the variant that it is true of.
    (warning,) = json.loads((tmp_path / "leak/study.json").read_text())["warnings"]
    assert warning.startswith("by-row: fold 0 of 2: LEAK: ")
    page = (tmp_path / "leak/report.html").read_text()
    assert page.index("LEAK") < page.index("<h1")
    assert "on rows many of which are about people in the training data" in page
