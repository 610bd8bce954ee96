"""`fairpress predict`, `bench` and `show` of models that read texts."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from fairpress import cli
from tiny_texts import mean_of_embeddings, text_artifact, text_dataset


@pytest.fixture
def fairpress(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset = text_dataset()
    monkeypatch.setattr("fairpress.runtime.model_reference.data_of", lambda artifact: dataset)
    text_artifact().save("base")
    text_artifact(mean_of_embeddings(dynamic=True)).save("dynamic")

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        shown = capsys.readouterr()
        assert stop.value.code == code, shown.err
        return shown

    return run


def test_predict_prints_who_is_cut_and_what_batches_change(fairpress):
    shown = fairpress("predict", "fp32=base/", "int8=dynamic/", "--out", "p.parquet")
    assert "p.parquet: 100 rows" in shown.out
    assert "fairpress audit p.parquet --baseline fp32 --compressed int8 --by language" in shown.out
    (cut,) = [line for line in shown.err.splitlines() if "maximum length" in line]
    assert cut.startswith("fairpress: 'fp32', 'int8': ")
    (dependent,) = [line for line in shown.err.splitlines() if "ranges of activations" in line]
    assert dependent.startswith("fairpress: 'int8': ")
    runtimes = json.loads(pq.read_schema("p.parquet").metadata[b"fairpress.runtimes"])
    assert runtimes["int8"]["batch_dependence"]["rows"] == 100
    assert "batch_dependence" not in runtimes["fp32"]
    shown = fairpress("predict", "fp32=base/", "--batch-dependence", "--out", "q.csv")
    assert "'fp32': batch size, order and padding change no prediction of 100 texts" in shown.err


def test_a_tokenizer_of_another_model_is_exit_2_and_writes_nothing(fairpress, tmp_path):
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    shown = fairpress("predict", "fp32=base/", "--out", "p.parquet", code=2)
    assert "'fp32': tokenizer.json is not the one on the card" in shown.err
    assert not (tmp_path / "p.parquet").exists()


def test_show_and_bench(fairpress):
    shown = fairpress("show", "dynamic").out
    facts = dict(re.findall(r"^(\w+(?: \w+)?)  +(\S.*?) *$", shown, re.MULTILINE))
    assert "weights, " in facts["embedding table"]
    assert facts["maximum length"].startswith("16 token ids")
    assert json.loads(fairpress("show", "dynamic", "--json").out)["weights"][0]["embedding"] is True
    result = json.loads(
        fairpress("bench", "base", "dynamic", "--length", "8", "--batch", "2", "--rounds", "6", "--json").out
    )
    assert {s["inputs"] for s in result["sizes"]} == {"8 random token ids"}
    shown = fairpress("bench", "base", "--length", "17", code=2)
    assert "model 'base' reads at most 16 token ids" in shown.err


def test_mitigate_keeps_the_tokenizer(fairpress, tmp_path, monkeypatch):
    classes = ("fine", "toxic")
    dataset = text_dataset(400, classes=classes)
    binary = text_artifact(mean_of_embeddings(classes=2), classes=classes)
    replace(binary, card=replace(binary.card, data={"name": "posts"})).save("binary")
    monkeypatch.setattr("fairpress.runtime.model_reference.data_of", lambda artifact: dataset)
    fairpress("mitigate", "binary/", "--by", "language", "--method", "thresholds", "--out", "mitigated/")
    assert (tmp_path / "mitigated" / "tokenizer.json").read_bytes() == binary.tokenizer
    shown = fairpress("predict", "a=binary/", "b=mitigated/", "--out", "p.parquet")
    assert "b: differs from a in" in shown.out
