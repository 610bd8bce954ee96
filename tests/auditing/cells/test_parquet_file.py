"""Columns of Parquet files that DuckDB would misread are found without pyarrow, as pyarrow finds them."""

from __future__ import annotations

import base64

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from fairpress.auditing.cells.parquet_file import misread_columns, parquet_schema
from fairpress.core.errors import UserError

TABLE = pa.table(
    {
        "g": [1, 2],
        "G": ["x", "y"],
        "wait": pa.array([1, 2], pa.duration("us")),
        "list": [[1], [2]],
        "both": [{"p": 1, "q": 2}] * 2,
        "long": pa.array([1, 2], pa.decimal256(50, 2)),
        "short": pa.array([1, 2], pa.decimal128(5, 2)),
        "when": pa.array([1, 2], pa.timestamp("ns")),
        "coded": pa.array(["a", "b"]).dictionary_encode(),
    }
)


def schema_of(path):
    return parquet_schema(str(path), duckdb.connect())


def test_names_misread_columns_and_metadata_are_those_of_pyarrow(tmp_path):
    path = tmp_path / "a[1].parquet"
    parquet.write_table(TABLE.replace_schema_metadata({"own": "é"}), path)
    schema = schema_of(path)
    assert list(schema.names) == TABLE.column_names
    assert [schema.names[i] for i in schema.misread] == ["wait", "long"]
    assert schema.metadata == {b"own": "é".encode()}
    assert len(set(schema.types)) > 5


def test_periods_and_intervals_of_pandas_are_found(tmp_path):
    frame = pd.DataFrame(
        {
            "a": [1, 2],
            "month": pd.period_range("2024-01", periods=2, freq="M"),
            "age": pd.interval_range(0, 2),
            "lasts": pd.to_timedelta([1, 2], unit="D"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    schema = schema_of(tmp_path / "t.parquet")
    assert [schema.names[i] for i in schema.misread] == ["month", "age", "lasts"]


def test_a_damaged_schema_of_arrow_hides_nothing_else(tmp_path):
    message = TABLE.schema.serialize().to_pybytes()
    assert misread_columns(base64.b64encode(message)) == (2, 5)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(message)
        for at in rng.integers(0, len(message), 4):
            damaged[at] = rng.integers(256)
        misread_columns(base64.b64encode(bytes(damaged[: rng.integers(1, len(message))])))
    assert misread_columns(b"no base64!") == misread_columns(b"") == ()


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"cannot read .*Is it complete"):
        schema_of(tmp_path / "t.parquet")
