"""What a table says about itself is taken into the audit, in every form in which it can be stored."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fairpress as fp
from fairpress.auditing.table_metadata import TableDescription

DESCRIPTION = TableDescription(
    ("base", "q4"),
    ("A", "B"),
    subject="who",
    sources={"base": "a.jsonl", "q4": "b.jsonl"},
    warnings=("3 items are left out.", "A second\nwarning."),
    notes=("Assumed.",),
)


def described(description=DESCRIPTION):
    n = 80
    columns = {
        "label": ["A", "B"] * (n // 2),
        "base": ["A", "B"] * (n // 2),
        "q4": ["A", "A", "B", "B"] * (n // 4),
        "g": ["x"] * (n // 2) + ["y"] * (n // 2),
        "who": [f"w{i // 2}" for i in range(n)],
    }
    return pa.table(columns).replace_schema_metadata(dict(description.metadata()))


@pytest.mark.parametrize("form", ["arrow", "parquet", "cells"])
def test_models_subject_warnings_and_notes(tmp_path, form):
    table = described()
    if form == "parquet":
        pq.write_table(table, tmp_path / "t.parquet")
        table = tmp_path / "t.parquet"
    if form == "cells":
        table = fp.export_cells(table, baseline="base", compressed="q4", by="g")
    report = fp.audit(table, by="g", **({"baseline": "base", "compressed": "q4"} if form == "cells" else {}))
    assert (report.baseline, report.comparisons[0].compressed) == ("base", "q4")
    assert report.warnings[:2] == ("3 items are left out.", "A second warning.")
    assert report.notes[0] == "Assumed."
    assert report.provenance["logs"] == "base=a.jsonl, q4=b.jsonl"
    assert report.subjects == (None if form == "cells" else 40)
    assert (report.positive, report.metrics) == (None, ("accuracy",))


def test_an_option_comes_before_what_a_table_records():
    report = fp.audit(described(), by="g", subject="g", positive="B")
    assert (report.subjects, report.positive) == (2, "B")


def test_a_table_that_describes_nothing_is_audited_as_before():
    plain = described().replace_schema_metadata(None)
    report = fp.audit(plain, by="g", baseline="base", compressed="q4")
    assert report.positive == "B"
    assert not [n for n in report.notes if n == "Assumed."]


def test_answers_may_never_be_right_or_never_be_chosen():
    classes = ("A", "B", "C", "D")
    table = described(TableDescription(("base", "q4"), classes))
    table = table.set_column(2, "q4", pa.array(["A", "D"] * 40))
    report = fp.audit(table, by="g")
    assert report.classes == ("A", "B", "D")
    assert report.models[1].overall.rates["accuracy"].value == 0.5


def test_notes_of_predict_are_sentences_with_their_models():
    columns = {
        "label": ["a", "b"] * 20,
        "x": ["a", "b"] * 20,
        "y": ["a", "a"] * 20,
        "group": ["s"] * 20 + ["t"] * 20,
    }
    table = pa.table(columns)
    notes = {"x": ["9 % are cut", "rows are unknown"], "y": ["rows are unknown"]}
    table = table.replace_schema_metadata({"fairpress.notes": json.dumps(notes)})
    audit = fp.audit(table, baseline="x", compressed="y", by="group", positive="b")
    assert audit.notes[:2] == ("'x': 9 % are cut.", "'x', 'y': rows are unknown.")


def test_notes_of_readers_have_the_form_of_notes_of_predict():
    """Tables of earlier releases had a note a line; both are read."""
    columns = {"label": ["a", "b"] * 20, "x": ["a", "b"] * 20, "group": ["s"] * 20 + ["t"] * 20}
    said = ('Assumed: "1" is right.', "Two lines\n are one.")
    metadata = TableDescription(("x",), ("a", "b"), notes=said).metadata()
    assert json.loads(metadata["fairpress.notes"]) == {"": [said[0], "Two lines are one."]}
    for recorded in (metadata["fairpress.notes"], 'Assumed: "1" is right.\nTwo lines are one.'):
        table = pa.table(columns).replace_schema_metadata({**metadata, "fairpress.notes": recorded})
        audit = fp.audit(table, by="group")
        assert audit.notes[:2] == (said[0], "Two lines are one.")
