"""bench of models that read texts: real texts of one length, the same for files without a tokenizer, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress import api
from fairpress.core.errors import UserError
from fairpress.runtime.benchmark import run as run_module
from fairpress.runtime.benchmark.inputs import input_of
from fairpress.runtime.benchmark.token_rows import choose_length, token_rows
from tiny_networks import artifact, linear
from tiny_texts import mean_of_embeddings, text_artifact, text_dataset, tokenizer

SPEC = input_of(mean_of_embeddings(), "m")


def test_texts_are_cut_and_joined_to_one_length():
    dataset, tokens = text_dataset(), tokenizer()
    ids, source = token_rows(SPEC, mean_of_embeddings(), tokens, dataset, 12)
    assert source == "12 token ids of validation texts of posts"
    assert ids.shape == (100, 12)
    assert ids.dtype == np.int64
    assert (ids != tokens.pad_id).all()
    long = next(i for i in range(100) if len(dataset.texts[dataset.parts["validation"][i]].split()) > 12)
    own = tokens.encode([dataset.texts[dataset.parts["validation"][long]]]).ids[0, :12]
    assert ids[long].tolist() == own.tolist()
    assert token_rows(SPEC, mean_of_embeddings(), tokens, dataset, 200)[0].shape == (100, 200)


def test_without_texts_ids_are_random_and_within_the_embedding():
    ids, source = token_rows(SPEC, mean_of_embeddings(size=40), tokenizer(), None, 64)
    assert source == "64 random token ids"
    assert (ids.min(), ids.max()) == (1, 39)  # 0 is padding
    assert token_rows(SPEC, mean_of_embeddings(size=40), None, None, 9)[0].min() == 0


@pytest.mark.parametrize(
    ("length", "longest", "expected"),
    [(None, {"a": 16, "b": None}, 16), (None, {"a": 512}, 64), (None, {}, 64), (100, {"a": 512}, 100)],
)
def test_the_length_is_64_or_what_models_read(length, longest, expected):
    assert choose_length(length, longest) == expected


@pytest.mark.parametrize(
    ("length", "sentence"), [(0, "too small"), (17, "model 'a' reads at most 16 token ids of a text")]
)
def test_a_length_that_no_text_can_have_is_one_sentence(length, sentence):
    with pytest.raises(UserError, match=sentence):
        api.bench({"a": text_artifact()}, length=length)


def test_a_length_is_for_models_that_read_texts():
    with pytest.raises(UserError, match=r"`length=` is for models that read texts"):
        api.bench({"a": artifact(linear(), [4])}, length=8)


def test_models_and_bare_files_run_on_the_same_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "available_data", lambda card: text_dataset() if card else None)
    (tmp_path / "peer.onnx").write_bytes(mean_of_embeddings(dynamic=True))
    (tmp_path / "small.onnx").write_bytes(mean_of_embeddings(size=40))
    measured = []
    monkeypatch.setattr(run_module, "measure", lambda runs, batch, **_: measured.append((batch, runs)) or [])
    models = {"a": text_artifact(), "peer": tmp_path / "peer.onnx", "small": tmp_path / "small.onnx"}
    result = api.bench(models)
    assert [batch for batch, _ in measured] == [1, 32]
    ours, peer, small = (r.rows for r in measured[0][1])
    np.testing.assert_array_equal(ours, peer)
    assert small.max() < 40
    assert [s.inputs for s in result.sizes] == [
        *["16 token ids of validation texts of posts"] * 2,
        "16 random token ids",
    ]


def test_a_bench_of_texts_measures_and_says_that_tokenizers_differ():
    other = tokenizer(max_length=20, vocabulary=300)
    result = api.bench(
        {"a": text_artifact(), "b": text_artifact(mean_of_embeddings(other.size), other)},
        batch=2,
        length=6,
        rounds=6,
    )
    assert [(m.model, m.batch) for m in result.measurements] == [("a", 2), ("b", 2)]
    assert all(m.median > 0 for m in result.measurements)
    assert any("different tokenizers" in note for note in result.notes)
