"""A table in a database is counted there, and its audit is that of the same rows in a file."""

from __future__ import annotations

import json
import shutil
import sys

import duckdb
import pytest

from fairpress import cli
from fairpress.api import audit
from fairpress.auditing.cells.ibis_source import is_address
from fairpress.core.errors import UserError
from fairpress.core.urls import credentials_in, first_line, redact_url
from fairpress.demo_data import table as demo_table
from pages import ROOT

pytest.importorskip("ibis", reason="the extra `warehouse` is not installed")
# Ibis uses a method that newer versions of DuckDB call old.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
AUDIT = {"baseline": "fp32", "compressed": ["int8", "int4"], "by": ["sex", "sex*age_group"]}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    rows = demo_table().to_pandas()  # DuckDB finds it by its name
    rows["weight"] = [1.0 + (i % 5) for i in range(len(rows))]
    rows["age"] = [18.0 + i % 60 for i in range(len(rows))]
    path = tmp_path_factory.mktemp("db") / "w.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE predictions AS SELECT * FROM rows")
        connection.execute(f"COPY predictions TO '{path.parent / 'rows.parquet'}'")
    return path


def same(report, expected):
    """Compare two audits, but for scores, notes and where the table is."""
    a, b = report.to_dict(), expected.to_dict()
    scores = ("auc", "log_loss", "calibration_error", "generalized_fpr", "generalized_fnr")

    def bare(value):
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if k not in (*scores, "notes", "provenance")}
        return [bare(v) for v in value] if isinstance(value, list) else value

    return bare(a) == bare(b)


def test_the_audit_is_that_of_the_rows(database):
    rows = database.parent / "rows.parquet"
    address = f"duckdb://{database}/predictions"
    assert same(audit(address, **AUDIT), audit(rows, **AUDIT))
    assert same(audit(address, **AUDIT, weight="weight"), audit(rows, **AUDIT, weight="weight"))
    binned = {**AUDIT, "by": ["sex", "age"], "bins": {"age": [25, 45]}, "decide": {"int4": "weight>=3"}}
    assert same(audit(address, **binned), audit(rows, **binned))
    assert "for a table in a database, only predicted classes" in " ".join(audit(address, **AUDIT).notes)


def test_a_table_of_ibis_is_audited_as_it_is(database):
    import ibis

    table = ibis.duckdb.connect(database, read_only=True).table("predictions")
    assert same(audit(table, **AUDIT), audit(database.parent / "rows.parquet", **AUDIT))
    women = table.filter(table.sex == "Female")
    assert audit(women, **{**AUDIT, "by": ["age_group"]}).rows < 12_000


def test_no_secret_is_told_and_what_is_wrong_is_one_sentence(database, capsys, tmp_path):
    assert (
        redact_url("snowflake://who:secret-word@account/db/schema/t?token=secret-word")
        == "snowflake://account/db/schema/t"
    )
    assert is_address("postgres://x/y")
    assert not is_address("C:/x/y.csv")
    for address in ("postgres://me:secret/word@host/db/t", "postgres://me:secret#word@host/db/t"):
        with pytest.raises(UserError, match="the postgres address cannot be read; write") as error:
            audit(address, **AUDIT)
        assert "secret" not in str(error.value)
    raised = ValueError(f"{'x' * 190} s@cret-word dapi123")
    hidden = credentials_in("postgres://me:s%40cret-word@host/db/t?http_path=/x&access_token=dapi123")
    assert first_line(raised, hidden) == f": {'x' * 190} … …"
    cases = {
        "duckdb:///": "end the address with the table's name",
        f"duckdb://{database}/absent": "has no table 'absent' that can be read",
        f"duckdb://{tmp_path}/no/folder/x.db/t": "cannot connect to duckdb://",
        "nosuch://who:secret-word@host/db/t": "nosuch://host/db/t",
    }
    for address, sentence in cases.items():
        with pytest.raises(UserError) as error:
            audit(address, **AUDIT)
        assert sentence in str(error.value), address
        assert "secret-word" not in str(error.value)
    with pytest.raises(UserError, match="has no column 'height'"):
        audit(f"duckdb://{database}/predictions", **{**AUDIT, "by": ["height"]})
    with pytest.raises(SystemExit) as stop:
        cli.main(
            ["audit", f"duckdb://{database}/predictions", "--baseline", "fp32", "--compressed", "int4", "--by", "sex",
             "--json", "--html", str(tmp_path / "r.html")]
        )  # fmt: skip
    assert stop.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["provenance"]["table"] == f"duckdb://{database}/predictions"
    assert (tmp_path / "r.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Spark, about threads and its host's name
def test_spark_counts_the_cells_that_duckdb_counts(tmp_path, monkeypatch):
    """Missing groups, bins and weights included; the query is one, the engines are two."""
    pytest.importorskip("pyspark", reason="PySpark is not installed; `pip install 'ibis-framework[pyspark]'`")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import warehouse_cells

    monkeypatch.chdir(tmp_path)  # Spark leaves folders where it runs
    path = tmp_path / "predictions.parquet"
    warehouse_cells.make(path, 5000)
    where = warehouse_cells.addresses(path)
    result = {name: warehouse_cells.cells(address) for name, address in where.items()}
    assert result["DuckDB"] == result["Spark"]
    assert sum(n for n, _, _ in result["Spark"].values()) == 5000
    assert any("(missing)" in key for key in result["Spark"])
    with pytest.raises(UserError, match=r"pyspark://.* has no table 'absent\.parquet' that can be read"):
        audit(f"pyspark://{tmp_path}/absent.parquet", **AUDIT)
    from pyspark.sql import SparkSession

    SparkSession.getActiveSession().stop()
