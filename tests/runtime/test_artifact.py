"""Model folders: whole or not at all, and nothing that can run code."""

from __future__ import annotations

import pytest

from fairpress.core.card import ModelCard
from fairpress.core.errors import MissingExtra, UserError
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.predict import predictions
from fairpress.tokenization import tokenizer
from fairpress.tokenization.tokenizer import TextTokenizer
from tiny_texts import text_artifact, text_dataset

CARD = ModelCard("y", ("no", "yes"), "yes", {"name": "mlp"}, {"name": "x", "shape": [4], "columns": []})


def test_a_folder_round_trips(tmp_path):
    artifact = Artifact(CARD, b"onnx", b"weights")
    artifact.save(tmp_path / "m")
    assert Artifact.load(tmp_path / "m") == artifact
    Artifact(CARD, b"other").save(tmp_path / "m", force=True)
    assert Artifact.load(tmp_path / "m").weights is None


def test_a_folder_with_other_things_is_not_overwritten(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"contains files that fairpress did not write .*thesis\.tex"):
        Artifact(CARD, b"onnx").save(tmp_path / "m")
    assert (tmp_path / "m" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.pt", b"\x80\x04", "pickle"),
        ("absent", None, "no model folder"),
        ("m.onnx", b"x", "is not a model folder"),
    ],
)
def test_what_is_no_model_folder_is_one_sentence(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        Artifact.load(tmp_path / name)


def test_damaged_parts_are_one_sentence(tmp_path):
    Artifact(CARD, b"onnx").save(tmp_path / "m")
    (tmp_path / "m" / "card.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not a fairpress\.card/1 card"):
        Artifact.load(tmp_path / "m")
    with pytest.raises(UserError, match="ONNX Runtime cannot load this model"):
        run(b"not onnx", None)
    with pytest.raises(UserError, match="pickles are refused"):
        from_bytes(b"\x80\x04\x95 a pickle")


def test_a_folder_of_a_text_model_round_trips_with_its_tokenizer(tmp_path):
    made = text_artifact()
    made.save(tmp_path / "m")
    assert (tmp_path / "m" / "tokenizer.json").read_bytes() == made.tokenizer
    loaded = Artifact.load(tmp_path / "m")
    assert loaded == made
    assert loaded.text_tokenizer == made.text_tokenizer


def damage(name, change):
    def apply(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(change(content))

    return apply


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda folder: (folder / "tokenizer.json").unlink(),
            r"lacks tokenizer\.json.*copy the whole folder",
        ),
        (damage("tokenizer.json", lambda d: d[: len(d) // 2]), r"tokenizer\.json is not the one on the card"),
        (damage("tokenizer.json", lambda d: d + b"\n"), r"tokenizer\.json is not the one on the card"),
        (
            damage("card.json", lambda d: d.replace(b'"max_length": 16', b'"max_length": 0')),
            "`inputs.max_length`",
        ),
        (
            damage("card.json", lambda d: d.replace(b'"max_length": 16', b'"maximum": 16')),
            "`max_length` is missing",
        ),
        (damage("card.json", lambda d: d.replace(b'"pad_id": 0', b'"pad_id": -1')), "`inputs.pad_id`"),
        (damage("card.json", lambda d: d.replace(b'"kind": "text"', b'"kind": "table"')), "reads columns"),
    ],
)
def test_a_damaged_folder_of_a_text_model_is_one_sentence(tmp_path, spoil, sentence):
    text_artifact().save(tmp_path / "m")
    spoil(tmp_path / "m")
    with pytest.raises(UserError, match=sentence) as caught:
        predictions({"m": Artifact.load(tmp_path / "m")}, text_dataset())
    assert str(caught.value).count(". ") == 0


def test_a_tokenizer_that_is_on_the_card_and_cannot_be_read_is_one_sentence():
    broken = text_artifact(tokens=TextTokenizer(b'{"model": {}}', 16, 0), data=text_artifact().onnx)
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read .*; save the tokenizer again"):
        predictions({"m": broken}, text_dataset())


def test_without_the_package_tokenizers_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(tokenizer, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"fairpress\[text\]"):
        predictions({"m": text_artifact()}, text_dataset())
