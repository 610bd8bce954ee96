"""`fairpress train text`, and what a user does with the model next."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fairpress.cli import main
from learnable_texts import CLASSES, learnable_texts

SIZES = ["--layers", "1", "--width", "32", "--vocabulary", "400", "--max-length", "48"]
TRAIN = [
    "train",
    "text",
    "--data",
    "posts.yaml",
    "--epochs",
    "6",
    "--learning-rate",
    "0.005",
    "--batch-size",
    "16",
]


def run(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert (stop.value.code or 0) == code


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A table of texts and the YAML that describes it."""
    made = tmp_path_factory.mktemp("posts")
    dataset = learnable_texts(600)
    assert dataset.texts is not None
    with (made / "posts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["comment", "language", "tone"])
        for text, language, label in zip(
            dataset.texts, dataset.attributes["language"], dataset.labels, strict=True
        ):
            writer.writerow([text, language, CLASSES[label]])
    (made / "posts.yaml").write_text("path: posts.csv\ntext: comment\nlabel: tone\nsensitive: [language]\n")
    return made


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(*TRAIN, *SIZES, "--by", "language", "--out", "base")
    return folder / "base"


def test_the_model_folder_has_all_it_needs(base: Path) -> None:
    files = {p.name for p in base.iterdir() if not p.name.startswith(".")}
    assert files == {"model.onnx", "model.safetensors", "card.json", "tokenizer.json"}
    assert not (base.parent / ".base.training").exists()
    card = json.loads((base / "card.json").read_text())
    assert card["architecture"]["layers"] == 1
    assert card["inputs"]["max_length"] == 48


def test_predictions_of_the_folder_are_right(base: Path, monkeypatch) -> None:
    monkeypatch.chdir(base.parent)
    run("compress", "base", "--recipe", "w8", "--out", "w8", "--force")
    run("predict", "fp32=base", "w8=w8", "--out", "preds.parquet", "--force")
    table = pq.read_table("preds.parquet")
    truth, fp32, w8 = (np.array(table[name].to_pylist()) for name in ("label", "fp32", "w8"))
    assert (fp32 == truth).mean() > 0.9
    assert (w8 == fp32).mean() > 0.98


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--width", "33"], "not a multiple of 4 heads; take width=32"),
        (["--max-length", "2"], "max_length"),
        (["--by", "langage"], "Did you mean 'language'"),
        (["--backbone", "absent", "--layers", "2"], "--layers does not apply with --backbone"),
        (["--backbone", "absent"], "absent"),
        (["--weights", "posts.csv"], "weights"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(
    folder: Path, monkeypatch, capsys, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(folder)
    before = {p.name for p in folder.iterdir()}
    run(*TRAIN, "--out", "other", *arguments, code=2)
    output = capsys.readouterr().err
    assert sentence in output
    assert "Traceback" not in output
    assert {p.name for p in folder.iterdir()} == before


def test_a_backbone_is_for_text_models(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    run("train", "mlp", "--data", "posts.yaml", "--backbone", "my-bert", "--out", "other", code=2)
    assert "fairpress train text --backbone my-bert" in capsys.readouterr().err


def test_a_network_of_another_kind_is_refused_with_one_that_can_be_trained(
    folder: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(folder)
    run("train", "mlp", "--data", "posts.yaml", "--out", "other", code=2)
    assert capsys.readouterr().err.strip().endswith("is text; take text.")


@pytest.mark.slow
def test_a_pretrained_encoder_is_fine_tuned_with_its_own_tokenizer(folder: Path, monkeypatch, capsys) -> None:
    pytest.importorskip("transformers")
    from tiny_transformers import save_folder

    monkeypatch.chdir(folder)
    save_folder(folder / "my-bert", head="encoder")
    capsys.readouterr()
    run("train", "text", "--data", "posts.yaml", "--epochs", "1", "--backbone", "my-bert", "--out", "tuned")
    assert "_pytree" not in capsys.readouterr().err
    card = json.loads((folder / "tuned" / "card.json").read_text())
    saved = json.loads((folder / "my-bert" / "tokenizer.json").read_text())
    assert json.loads((folder / "tuned" / "tokenizer.json").read_text())["model"] == saved["model"]
    assert card["provenance"]["started_from"]
    assert card["provenance"]["training"]["learning_rate"] == 5e-5
    run("predict", "fp32=tuned", "--out", "tuned.parquet")
    assert pq.read_table("tuned.parquet").num_rows > 0
