"""`data list`, `study list` and `show` are read by people, and with --json by programs."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fairpress import cli, datasets
from fairpress.core.card import ModelCard
from fairpress.datasets.catalogue import DESCRIPTIONS
from fairpress.runtime.artifact import Artifact
from fairpress.studies.load import bundled_studies
from pages import ROOT


@pytest.fixture
def fairpress(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        assert stop.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def model(tmp_path):
    """A model folder of one matrix product, with a long training curve on its card."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 12])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.eye(12, 2, dtype=np.float32), "w")],
    )
    onnx_model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    card = ModelCard(
        "income",
        ("<=50K", ">50K"),
        ">50K",
        {"name": "linear"},
        {"name": "x", "shape": [12], "columns": [f"column_{i}" for i in range(12)]},
        data={"name": "adult", "config": {"fold": 1, "folds": 5}, "fingerprint": "ab" * 32},
        recipe="prune-80+int8",
        seed=3,
        baseline="cd" * 32,
        provenance={
            "epochs": 40,
            "best_epoch": 12,
            "validation_accuracy": 0.8471,
            "curve": [[0.1, 0.2, 0.3]] * 40,
            "details": {"sparsity": 0.8},
        },
    )
    return Artifact(card, onnx_model.SerializeToString()).save(tmp_path / "m")


def facts(shown):
    """Return label → text of what `show` prints, with wrapped lines joined."""
    joined = re.sub(r" *\n {5,}", " ", shown)
    return {line[:10].strip(): line[10:].strip() for line in joined.splitlines()}


def test_show_says_in_a_few_lines_what_a_model_is(fairpress, model):
    shown = fairpress("show", str(model))
    assert len(shown.splitlines()) <= 15
    assert all(len(line) <= 100 for line in shown.splitlines())
    found = facts(shown)
    assert found["model"].startswith("linear, 0.")
    assert found["recipe"].startswith("prune-80+int8, compressed from the model with sha256 cdcdcdcdcdcd…")
    assert found["recipe"].endswith("80 % of the weights are 0")
    assert found["predicts"] == "income: <=50K, >50K; positive class >50K, from a score of 0.5 on"
    assert found["reads"].startswith("12 columns: column_0, ")
    assert found["reads"].endswith("column_7 and 4 more")
    assert found["data"] == "adult, fold 1 of 5, fingerprint abababababab…"
    assert found["training"] == "seed 3; 40 epochs, the best was 12; accuracy on validation rows 84.7 %"
    assert found["weights"].startswith("24 in 32 bits")
    assert "fairpress audit --embed" in found["audit"]
    assert "{" not in shown


def test_show_as_json_has_the_whole_card(fairpress, model):
    content = json.loads(fairpress("show", str(model), "--json"))
    assert sorted(content) == ["audit", "card", "weights"]
    assert content["card"] == json.loads((model / "card.json").read_text(encoding="utf-8"))


def test_every_dataset_has_a_description_that_agrees_with_the_data_statements():
    assert sorted(DESCRIPTIONS) == datasets.names()
    page = (ROOT / "docs" / "data-statements.md").read_text(encoding="utf-8")
    for name, described in DESCRIPTIONS.items():
        (row,) = re.findall(rf"^\|[^|]*\(`{name}`\) \|(.*)$", page, re.MULTILINE)
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[0] == ("what you have" if described.rows is None else f"{described.rows:,}"), name
        if name != "compas-intervals":  # "as above"
            assert cells[4].startswith(described.license), name


def test_the_list_of_datasets_says_what_they_are_and_whether_they_are_here(fairpress, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path))
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    shown = fairpress("data", "list")
    (compas,) = [line for line in shown.splitlines() if line.startswith("compas ")]
    assert "6,172" in compas
    entries = {e["name"]: e for e in json.loads(fairpress("data", "list", "--json"))}
    assert list(entries) == datasets.names()
    assert entries["compas"]["state"] == "fetched at first use"
    assert entries["celeba"]["state"] == entries["compas-intervals"]["state"] == "by hand"
    (tmp_path / "compas").mkdir()
    (tmp_path / "compas" / "compas-scores-two-years.csv").write_text("here")
    entries = {e["name"]: e for e in json.loads(fairpress("data", "list", "--json"))}
    assert entries["compas"] == {
        "name": "compas",
        "state": "here",
        "title": "defendants in Broward County, Florida",
        "kind": "table",
        "rows": 6172,
        "label": "re-arrest within two years",
        "groups": ["sex", "race", "age_group"],
        "license": "public court records",
    }


def test_words_of_the_list_of_datasets_stay_whole_in_80_columns(fairpress, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = fairpress("data", "list")
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    words = {word.rstrip(",") for word in shown.split()}
    for described in DESCRIPTIONS.values():
        for cell in (described.title, described.license, *described.groups):
            assert {word.rstrip(",") for word in cell.split()} <= words


def test_the_list_of_studies_says_what_they_cost_and_ask(fairpress):
    shown = fairpress("study", "list")
    entries = {e["name"]: e for e in json.loads(fairpress("study", "list", "--json"))}
    assert list(entries) == bundled_studies()
    compas = entries["compas"]
    assert compas["networks"] == compas["seeds"] * compas["folds"] == 50
    assert compas["datasets"] == ["compas"]
    assert entries["architectures"]["networks"] == len(entries["architectures"]["models"]) == 6
    words = " ".join(shown.split())
    assert "Next: fairpress study plan NAME" in words
    for name in entries:
        assert re.search(rf"^{name} ", shown, re.MULTILINE)


def test_the_check_of_data_names_options_and_not_parameters(fairpress, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{i % 150},{rng.integers(20, 70)},{'FM'[i % 2]},{('no', 'yes')[i % 150 % 3 > 0]}" for i in range(600)
    ]
    (tmp_path / "t.csv").write_text("person,age,sex,repaid\n" + "\n".join(rows) + "\n")
    (tmp_path / "t.yaml").write_text(
        "path: t.csv\nlabel: repaid\npositive: yes\nsubject: person\nfeatures: [age]\nsensitive: [sex]\n"
    )
    shown = fairpress("data", "check", str(tmp_path / "t.yaml"))
    assert "audit with `--subject subject`" in shown
    assert "`subject=" not in shown
