"""Model folders: whole or not at all, and nothing that can run code."""

from __future__ import annotations

import pytest

from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run

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
