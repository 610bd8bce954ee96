"""A Hugging Face folder where a model folder is taken, on the command line and in Python."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import fairpress as fp
from fairpress.cli import main
from fairpress.core.errors import ModelWarning, UserError
from tiny_transformers import logits_of, reviews, save_folder, word_tokenizer


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, a table, and the YAML that describes it."""
    folder = tmp_path_factory.mktemp("hf")
    model = save_folder(folder / "m")
    data = reviews()
    table = pd.DataFrame(
        {
            "comment": data.texts,
            "opinion": np.array(data.task.classes)[data.labels],
            "group": data.attributes["group"],
        }
    )
    table.to_csv(folder / "reviews.csv", index=False)
    lines = ["path: reviews.csv", "text: comment", "label: opinion", "positive: for", "sensitive: [group]"]
    (folder / "reviews.yaml").write_text("\n".join(lines) + "\n")
    return folder, model, table


@pytest.mark.slow
def test_folder_is_compressed_predicted_and_audited(saved, capsys):
    folder, model, _ = saved
    data = ["--data", str(folder / "reviews.yaml")]
    assert exit_code("compress", str(folder / "m"), "--recipe", "w8", *data, "--out", str(folder / "w8")) == 0
    assert "rows of the test part may be among them" in capsys.readouterr().err
    table = folder / "p.parquet"
    assert (
        exit_code("predict", f"fp32={folder / 'm'}", f"w8={folder / 'w8'}", *data, "--out", str(table)) == 0
    )
    assert "'fp32', 'w8': which rows the model was trained on is not recorded" in capsys.readouterr().err
    predicted = pq.read_table(table).to_pandas()
    dataset = fp.load_dataset(str(folder / "reviews.yaml"))
    texts = dataset.texts[dataset.parts["test"]]
    logits = logits_of(model, word_tokenizer(), texts)
    expected = np.exp(logits[:, 1]) / np.exp(logits).sum(1)
    np.testing.assert_allclose(predicted["fp32.score"], expected, atol=1e-4)
    assert np.abs(predicted["w8.score"] - expected).max() < 0.1
    assert exit_code("audit", str(table), "--baseline", "fp32", "--compressed", "w8", "--by", "group") in (
        0,
        1,
    )


def test_a_folder_becomes_a_model_folder_without_compression(saved, capsys):
    folder, _, _ = saved
    data = ["--data", str(folder / "reviews.yaml")]
    assert (
        exit_code("compress", str(folder / "m"), "--recipe", "fp32", *data, "--out", str(folder / "fp32"))
        == 0
    )
    assert "bytes, the size of" in capsys.readouterr().out
    assert exit_code("show", str(folder / "fp32")) == 0


def test_a_file_within_a_folder_is_refused_by_its_cause(saved, capsys):
    folder, _, _ = saved
    file = str(folder / "m" / "model.safetensors")
    data = ["--data", str(folder / "reviews.yaml")]
    assert exit_code("compress", file, "--recipe", "w8", *data, "--out", str(folder / "no")) == 2
    assert "name the folder that contains it" in capsys.readouterr().err


@pytest.mark.slow
def test_model_with_its_tokenizer_in_memory(saved):
    folder, model, table = saved
    tokenizer = word_tokenizer()
    data = fp.load_dataset(
        "text",
        path=str(folder / "reviews.csv"),
        text="comment",
        label="opinion",
        positive="for",
        sensitive=["group"],
    )
    fp32 = fp.compress(model, "fp32", tokenizer=tokenizer, data=data)
    w4 = fp.compress(
        model,
        "w4",
        tokenizer=tokenizer,
        data=folder / "reviews.csv",
        text="comment",
        label="opinion",
        by="group",
    )
    framed = fp.compress(model, "fp32", tokenizer=tokenizer, data=table, text="comment", label="opinion")
    assert framed.onnx == fp32.onnx
    assert fp32.card.positive == w4.card.positive == "for"
    assert w4.size < 0.45 * fp32.size
    with pytest.warns(ModelWarning, match="rows of the test part may be among them"):
        predictions = fp.predict({"fp32": fp32, "w4": w4}, data)
    report = fp.audit(predictions, baseline="fp32", compressed="w4", by=["group"])
    assert report.comparisons


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not recorded:fairpress.core.errors.ModelWarning")
def test_folder_with_the_columns_of_a_table(saved):
    folder, model, table = saved
    columns = {"text": "comment", "label": "opinion", "positive": "for", "by": "group"}
    artifact = fp.compress(folder / "m", "fp32", data=folder / "reviews.csv", **columns)
    predicted = fp.predict({"fp32": artifact}, fp.load_dataset(str(folder / "reviews.yaml")), part="all")
    logits = logits_of(model, word_tokenizer(), table["comment"].to_numpy())
    expected = np.exp(logits[:, 1]) / np.exp(logits).sum(1)
    np.testing.assert_allclose(predicted.to_pandas()["fp32.score"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give the texts with `data=`"),
        ({"data": "reviews.csv"}, "name the columns of the table: `text=`"),
        ({"data": 3, "text": "comment", "label": "opinion"}, "`data=` is int; with `tokenizer=`"),
        (
            {"data": reviews(), "text": "comment"},
            "`text=` names a column of a table, and `data=` is a dataset",
        ),
    ],
)
def test_data_of_a_model_in_memory_is_named_in_full(saved, options, sentence):
    with pytest.raises(UserError, match=sentence):
        fp.compress(saved[1], "w4", tokenizer=word_tokenizer(), **options)


def test_columns_without_a_tokenizer_are_refused(saved):
    with pytest.raises(
        UserError, match="`text=` names a column for a transformers model; give its tokenizer too"
    ):
        fp.compress(saved[1], "w4", data="reviews.csv", text="comment")
    with pytest.raises(UserError, match="there is no model folder"):
        fp.compress(saved[0] / "other", "w4", data="reviews.csv", text="comment")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["compress", "M", "--recipe", "w8", "--out", "o"],
            "Hugging Face folder, which does not record its data",
        ),
        (["predict", "a=M", "--out", "p.parquet"], "Hugging Face folder, which does not record its data"),
        (["bench", "M"], "make a model folder of it with its data: fairpress compress"),
    ],
)
def test_folder_without_data_exits_with_one_sentence(
    saved, arguments, sentence, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = [a.replace("M", str(saved[0] / "m")) if a in ("M", "a=M") else a for a in arguments]
    assert exit_code(*given) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_causal_model_exits_with_one_sentence(saved, capsys, tmp_path):
    folder = tmp_path / "writer"
    save_folder(folder, "gpt2", head="causal", names=None)
    data = str(saved[0] / "reviews.yaml")
    assert (
        exit_code("compress", str(folder), "--recipe", "w8", "--data", data, "--out", str(tmp_path / "o"))
        == 2
    )
    assert "is a language model that writes text" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_changed_model_is_not_taken_for_the_one_of_its_config(saved):
    import torch

    model = save_folder(saved[0] / "changed")
    model.classifier = torch.nn.Sequential(torch.nn.Linear(32, 2), torch.nn.Identity())
    with pytest.raises(UserError, match="is not the network that its config describes"):
        fp.compress(model, "w4", tokenizer=word_tokenizer(), data=reviews())


def test_labels_that_the_model_does_not_have_are_refused(saved):
    model = saved[1]
    with pytest.raises(UserError, match=r"no output is named so-so"):
        fp.compress(
            model, "w4", tokenizer=word_tokenizer(), data=reviews(classes=("against", "for", "so-so"))
        )
    assert json.loads((saved[0] / "m" / "config.json").read_text())["id2label"] == {
        "0": "against",
        "1": "for",
    }


@pytest.mark.parametrize(
    "command",
    [("mitigate", "--by", "group"), ("search", "--by", "group", "--max-group-loss", "0.1", "--budget", "1")],
)
def test_what_works_on_the_command_line_is_named_there(saved, tmp_path, capsys, command):
    folder, _, _ = saved
    name, *options = command
    assert exit_code(name, str(folder / "m"), *options, "--out", str(tmp_path / "out")) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "name the dataset with `--data`" in error
    assert "data=" not in error


def test_a_folder_is_mitigated_for_the_data_that_are_named(saved, tmp_path, capsys):
    folder, _, table = saved
    many = pd.concat([table.assign(comment=table.comment + f" {i}") for i in range(20)])
    many.to_csv(tmp_path / "reviews.csv", index=False)
    (tmp_path / "reviews.yaml").write_text((folder / "reviews.yaml").read_text())
    data = ["--data", str(tmp_path / "reviews.yaml")]
    fair = tmp_path / "fair"
    assert exit_code("mitigate", str(folder / "m"), "--by", "group", *data, "--out", str(fair)) == 0
    assert f"fair={fair} --data {data[1]}" in capsys.readouterr().out
    predicted = tmp_path / "p.parquet"
    assert exit_code("predict", f"fair={fair}", *data, "--out", str(predicted)) == 0
    assert "fair" in pq.read_table(predicted).column_names
