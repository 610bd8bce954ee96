"""An output never takes the place of what the command reads, however far from the command line that is named."""

from __future__ import annotations

import onnx
import pytest

from fairpress.cli import main
from fairpress.runtime.artifact import Artifact
from small_model import make_model, network


def run(*line: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(line))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_table_that_a_card_names_is_an_input_of_predict(tmp_path, monkeypatch, capsys):
    make_model(tmp_path).save(tmp_path / "m")
    before = (tmp_path / "t.csv").read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked.csv").hardlink_to("t.csv")
    for path in ("t.csv", "linked.csv"):
        assert run("predict", "m=m", "--out", path, "--force") == 2
        assert f"--out {path} is an input of this command" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "t.csv").read_bytes() == before
    assert run("predict", "m=m", "--out", "p.csv") == 0


def test_the_weights_beside_an_onnx_file_are_an_input_of_compress(tmp_path, monkeypatch, capsys):
    make_model(tmp_path)  # the table
    model = onnx.load_model_from_string(network())
    options = {"save_as_external_data": True, "location": "weights.onnx", "size_threshold": 0}
    onnx.save_model(model, tmp_path / "x.onnx", **options)
    before = (tmp_path / "weights.onnx").read_bytes()
    monkeypatch.chdir(tmp_path)
    line = ("compress", "x.onnx", "--data", "t.yaml", "--recipe", "int8", "--out")
    assert run(*line, "weights.onnx", "--force") == 2
    assert "--out weights.onnx is an input of this command" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "weights.onnx").read_bytes() == before
    assert run(*line, "small.onnx") == 0


def test_a_model_stays_where_the_demonstration_is_written_beside_it(tmp_path):
    model = make_model(tmp_path)
    model.save(tmp_path / "m")
    assert run("demo", "--out", str(tmp_path / "m")) == 0
    assert Artifact.load(tmp_path / "m").digest == model.digest


def test_the_files_of_a_study_are_inputs_of_its_report(tmp_path, capsys):
    (tmp_path / "study.json").write_text("{}")
    assert run("report", str(tmp_path), "--latex", str(tmp_path / "study.json"), "--force") == 2
    assert "is an input of this command" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "study.json").read_text() == "{}"
