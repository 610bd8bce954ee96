"""The reading phase: what an audit takes from a table, in how many passes over it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from fairpress.auditing.audit_table import audit_input
from fairpress.auditing.cells import table_readers
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.read_table import read_table
from fairpress.core.errors import UserError


def predictions(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    columns = {"label": y, "sex": rng.choice(["F", "M"], rows), "race": rng.choice(["x", "y"], rows)}
    for name in ("fp32", "int8"):
        score = np.clip(0.3 + 0.4 * y + 0.2 * rng.standard_normal(rows), 0, 1)
        columns |= {name: (score >= 0.5).astype(int), f"{name}.score": score}
    return pa.table(columns)


MODELS = {"baseline": "fp32", "compressed": ["int8"], "positive": "1"}


@pytest.mark.parametrize(("suffix", "passes"), [("csv", 1), ("parquet", 8)])
def test_a_file_is_described_once_and_read_in_few_passes(tmp_path, monkeypatch, suffix, passes):
    path = tmp_path / f"t.{suffix}"
    csv.write_csv(predictions(), path) if suffix == "csv" else parquet.write_table(predictions(), path)
    calls: Counter[str] = Counter()
    execute = TableSource._execute

    def counted(function, name):
        def call(*arguments):
            calls[name] += 1
            return function(*arguments)

        return call

    def executed(self, query, fetch):
        # What is kept in memory is no pass over the file.
        if "DESCRIBE" in query:
            calls["describe"] += 1
        elif f"read_{suffix}" in self._narrowed(query):
            calls["pass"] += 1
        return execute(self, query, fetch)

    monkeypatch.setattr(TableSource, "_execute", executed)
    for name in ("open_text", "parquet_schema"):
        monkeypatch.setattr(table_readers, name, counted(getattr(table_readers, name), name))
    read_table(path, AuditOptions(by=["sex", "race", "sex*race"], **MODELS))
    described = {"open_text": 3} if suffix == "csv" else {"parquet_schema": 1, "describe": 1}
    # A short CSV file is read once. Its header is read three times: for its columns, and before the first values.
    assert calls == {"pass": passes, **described}


def test_an_audit_of_the_input_needs_no_table(tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(predictions(), path)
    data = read_table(path, AuditOptions(by="sex", **MODELS))
    path.unlink()
    report = audit_input(data)
    assert report.rows == 400
    assert "auc" in report.comparisons[0].overall.changes
    assert report.provenance["table"] == str(path)


def test_recorded_models_runtimes_and_digests_are_read_with_the_table():
    runtimes = {"fp32": {"runtime": "onnxruntime 1.22", "digest": "ab"}, "int8": {"threshold": 0.4}}
    metadata = {"fairpress.models": "fp32\nint8", "fairpress.runtimes": json.dumps(runtimes)}
    table = predictions().replace_schema_metadata(metadata)
    data = read_table(table, AuditOptions(by="sex"))
    assert data.models == ("fp32", "int8")
    assert (data.runs["fp32"].runtime, data.runs["int8"].threshold) == ("onnxruntime 1.22", 0.4)
    assert data.digests == {"fp32": "ab"}
    assert read_table(table, AuditOptions(by="sex", baseline="int8")).compressed == ("fp32",)
    assert read_table(table, AuditOptions(by="sex", compressed=())).models == ("fp32",)


def test_several_tables_record_no_models():
    table = predictions().replace_schema_metadata({"fairpress.models": "fp32\nint8"})
    with pytest.raises(UserError, match="name the column of the baseline"):
        read_table([table, table.slice(0)], AuditOptions(by="sex"))


def test_an_open_source_is_not_opened_again(tmp_path):
    csv.write_csv(predictions(), tmp_path / "t.csv")
    source = open_source(tmp_path / "t.csv")
    assert open_source(source) is source
    assert read_table(source, AuditOptions(by="sex", **MODELS)).provenance["table"] == source.name
    with pytest.raises(UserError, match="regresses to the mean"):
        read_table(source, AuditOptions(by="sex", pairs_from=tmp_path / "t.csv", **MODELS))
