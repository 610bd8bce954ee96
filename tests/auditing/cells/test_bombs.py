"""Tables of some bytes that unpack to gigabytes, of one endless line, of too many columns, and what takes long is shown."""

from __future__ import annotations

import gzip
import os
import time

import pyarrow as pa
import pytest

import fairpress as fp
from fairpress.auditing.cells import table_readers
from fairpress.core import slow
from fairpress.core.errors import UserError

LINES = "label,fp32,sex\n" + "1,1,f\n0,0,f\n1,0,m\n0,1,m\n" * 5


def audit(path):
    return fp.audit(str(path), baseline="fp32", by="sex")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_what_unpacks_out_of_all_proportion_is_refused(tmp_path, monkeypatch, packing):
    monkeypatch.setattr(table_readers, "_MAX_UNPACKED_BYTES", 2**22)
    path = tmp_path / f"t.csv.{packing}"
    with (
        gzip.open(path, "wb") if packing == "gz" else pa.output_stream(str(path), compression="zstd") as file
    ):
        file.write(b"label,fp32,sex\n" + b"1,1,f\n0,0,m\n" * 500_000)
    with pytest.raises(UserError, match=r"unpacks to more than 200 times its size .* unpack it first"):
        audit(path)


def test_what_is_packed_as_usual_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(table_readers, "_MAX_UNPACKED_BYTES", 10)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(LINES.encode()))
    assert audit(tmp_path / "t.csv.gz").models[0].groups[0].n == 10


def test_a_line_without_an_end_is_refused_before_it_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(table_readers, "MAX_LINE_LENGTH", 1000)
    (tmp_path / "t.csv").write_text(LINES + "1" * 1001 + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 22: there is no line break within 1,000 characters"):
        audit(tmp_path / "t.csv")


def test_ten_thousand_columns_are_read_and_a_hundred_thousand_named(tmp_path):
    lines = LINES.split()
    (tmp_path / "t.csv").write_text(
        "\n".join([lines[0] + "".join(f",x{i}" for i in range(10**5)), *lines[1:]])
    )
    started = time.monotonic()
    with pytest.raises(UserError, match="has 100,003 columns, but at most 20,000 are supported"):
        audit(tmp_path / "t.csv")
    assert time.monotonic() - started < 20


def test_a_pipe_that_nobody_writes_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(UserError, match="not a regular file"):
        audit(tmp_path / "t.csv")


def test_only_the_columns_that_are_needed_are_bound(tmp_path):
    (tmp_path / "t.csv").write_text(LINES, encoding="utf-8")
    from fairpress.auditing.cells.duckdb_source import TableSource

    source = TableSource(str(tmp_path / "t.csv"))
    # A text of the query that looks like a column is none.
    query = source._narrowed(f"SELECT c2, 'c77' AS t FROM {source.relation}")
    assert "(SELECT c2 FROM read_csv" in query
    assert source.read(f"SELECT count(*) AS n FROM {source.relation}").value() == 20


def test_what_takes_long_is_shown(capsys, monkeypatch):
    monkeypatch.setattr(slow, "PATIENCE", 0.05)
    monkeypatch.setattr(slow, "INTERVAL", 0.05)
    with slow.show_progress("reading t.csv", lambda: 40.0):
        time.sleep(0.5)
    assert "reading t.csv: 40 %, 0 seconds so far\n" in capsys.readouterr().err
    monkeypatch.setattr(slow, "PATIENCE", 10)
    with slow.show_progress("reading t.csv"):
        pass
    assert capsys.readouterr().err == ""
