"""A study's folder is written whole or not at all."""

from __future__ import annotations

import pytest

from fairpress.core.errors import UserError
from fairpress.core.output import MANIFEST
from fairpress.studies.report.write_folder import check_out, slug, write
from small_model import make_model


def test_files_take_their_places_and_those_of_an_earlier_run_go(tmp_path):
    write(tmp_path, {"a.json": b"1", "figures/old.svg": b"1", "predictions.parquet": b"1"})
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".a.json.0123abcd.part").write_text("left by a killed writer")
    write(tmp_path, {"a.json": b"2", "figures/new.svg": b"2", "predictions/x.parquet": b"2"})
    result = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert result - {MANIFEST} == {"a.json", "figures/new.svg", "predictions/x.parquet", "notes.txt"}
    assert (tmp_path / "a.json").read_bytes() == b"2"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    write(tmp_path, {"a.json": b"1"})
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*Finished results are kept"):
        write(tmp_path, {"a.json": b"2", "figures/x.svg": b"2"})
    assert (tmp_path / "a.json").read_bytes() == b"1"
    assert {p.name for p in tmp_path.iterdir()} - {MANIFEST} == {"a.json", "figures"}


def test_pictures_and_predictions_of_the_user_stay(tmp_path):
    write(tmp_path, {"figures/a.svg": b"1", "figures/b.svg": b"1"})
    for name in ("figures/mine.png", "figures/mine.svg", "predictions/mine.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / "figures/b.svg").write_text("drawn over by hand")
    write(tmp_path, {"figures/a.svg": b"2"})
    for name in ("figures/mine.png", "figures/mine.svg", "predictions/mine.parquet"):
        assert (tmp_path / name).read_text() == "mine"
    assert (tmp_path / "figures/b.svg").read_text() == "drawn over by hand"


def test_a_name_that_the_user_has_taken_is_not_written_over(tmp_path):
    write(tmp_path, {"a.json": b"1"})
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UserError, match=r"under names it would write .report\.html"):
        write(tmp_path, {"a.json": b"2", "report.html": b"2"})
    assert (tmp_path / "a.json").read_bytes() == b"1"
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_folder_of_other_things_is_refused_before_the_work(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"is not a study's folder and contains other files .thesis\.tex"):
        check_out(tmp_path)
    (tmp_path / "thesis.tex").unlink()
    check_out(tmp_path)
    write(tmp_path, {"study.json": b"{}", "report.html": b"1"})
    check_out(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    check_out(tmp_path)
    (tmp_path / "report.html").write_text("edited")
    with pytest.raises(UserError, match="were edited since fairpress wrote them"):
        check_out(tmp_path)


def test_a_study_from_before_there_was_a_manifest_is_known(tmp_path):
    (tmp_path / "study.json").write_text('{"name": "x", "study": {}, "command": ""}')
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/mine.png").write_text("mine")
    check_out(tmp_path)
    write(tmp_path, {"study.json": b"{}", "report.html": b"new"})
    assert (tmp_path / "report.html").read_text() == "new"
    assert (tmp_path / "figures/mine.png").read_text() == "mine"


def test_names_of_files_are_plain():
    assert slug("by-row, mlp: int4(rows=64) against fp32 tpr") == "by-row-mlp-int4-rows-64-against-fp32-tpr"


def test_a_folder_of_another_kind_that_fairpress_wrote_is_refused(tmp_path):
    make_model(tmp_path).save(tmp_path / "model")
    with pytest.raises(UserError, match=r"is not a study's folder and contains other files .*model\.onnx"):
        check_out(tmp_path / "model")


def test_the_store_is_no_folder_for_a_study(tmp_path):
    for out in (tmp_path / "kept", tmp_path / "kept" / "deep" / "er"):
        with pytest.raises(UserError, match="is or lies in the store"):
            check_out(out, tmp_path / "kept")
    check_out(tmp_path / "out", tmp_path / ".store")
    check_out(tmp_path / "out", "s3://bucket/out")
