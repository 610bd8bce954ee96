"""A study's folder is written whole or not at all."""

from __future__ import annotations

import pytest

from fairpress.core.errors import UserError
from fairpress.studies.output import slug, write


def test_files_take_their_places_and_those_of_an_earlier_run_go(tmp_path):
    write(tmp_path, {"a.json": b"1", "figures/old.svg": b"1", "predictions.parquet": b"1"})
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".a.json").write_text("left by a killed writer")
    write(tmp_path, {"a.json": b"2", "figures/new.svg": b"2", "predictions/x.parquet": b"2"})
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"a.json", "figures/new.svg", "predictions/x.parquet", "notes.txt"}
    assert (tmp_path / "a.json").read_bytes() == b"2"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    write(tmp_path, {"a.json": b"1"})
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*finished work stays"):
        write(tmp_path, {"a.json": b"2", "figures/x.svg": b"2"})
    assert (tmp_path / "a.json").read_bytes() == b"1"
    assert {p.name for p in tmp_path.iterdir()} == {"a.json", "figures"}


def test_names_of_files_are_plain():
    assert slug("by-row, mlp: int4(rows=64) against fp32 tpr") == "by-row-mlp-int4-rows-64-against-fp32-tpr"
