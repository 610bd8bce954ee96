"""Models that read texts: encoded by their own tokenizers, run in batches that change no answer, and what is cut is said."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from importlib import util

import numpy as np
import pytest

from fairpress import api
from fairpress.core.errors import ModelWarning, UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import choose, open_session
from fairpress.runtime.backends.text_batches import length_batches, outputs_of_texts
from fairpress.runtime.onnx.per_call_ranges import computes_ranges_per_call
from fairpress.runtime.predict import notes_of, predictions
from fairpress.runtime.probabilities import score
from fairpress.runtime.text_predictions import measure_batch_dependence
from fairpress.runtime.truncation import percent, truncation_note
from fairpress.tokenization.encoded_dataset import encode_dataset
from fairpress.tokenization.padding import text_lengths
from tiny_networks import artifact as table_artifact
from tiny_networks import images, linear
from tiny_texts import (
    logits_alone,
    mean_of_embeddings,
    text_artifact,
    text_dataset,
    tokenizer,
)

openvino = pytest.mark.skipif(
    util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def facts_of(table, name):
    return json.loads(table.schema.metadata[b"fairpress.runtimes"])[name]


@pytest.mark.parametrize("runtime", ["onnxruntime", pytest.param("openvino", marks=openvino)])
def test_scores_are_those_of_each_text_alone(runtime):
    dataset = text_dataset()
    table = predictions({"m": text_artifact()}, dataset, runtimes={"m": choose(runtime)})
    index = dataset.parts["test"]
    expected = softmax(logits_alone(mean_of_embeddings(), dataset.texts[index], tokenizer()))
    scores = np.stack([table[f"m.score.{c}"] for c in dataset.task.classes], axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert table["m"].to_pylist() == [dataset.task.classes[i] for i in expected.argmax(1)]
    assert table["row_id"].to_pylist() == [f"t{i}" for i in index]
    assert facts_of(table, "m")["rows_per_call"] == 32


def test_an_encoded_dataset_is_encoded_again_by_each_models_own_tokenizer():
    other = tokenizer(max_length=40, vocabulary=300)
    other_file = mean_of_embeddings(other.size, seed=3)
    dataset = text_dataset()
    models = {"a": text_artifact(), "b": text_artifact(other_file, other)}
    raw = predictions(models, dataset)
    encoded = predictions(models, encode_dataset(dataset, tokenizer()))
    assert raw.equals(encoded)
    expected = softmax(logits_alone(other_file, dataset.texts[dataset.parts["test"]], other))
    np.testing.assert_allclose(raw["b.score.neutral"], expected[:, 1], atol=1e-6)


def test_a_text_is_encoded_once_for_models_that_share_a_tokenizer(monkeypatch):
    encoded = []
    from fairpress.tokenization.tokenizer import TextTokenizer

    encode = TextTokenizer.encode
    monkeypatch.setattr(
        TextTokenizer, "encode", lambda self, texts: encoded.append(len(texts)) or encode(self, texts)
    )
    predictions({"a": text_artifact(), "b": text_artifact(threshold=0.4)}, text_dataset())
    assert encoded == [100]


def test_the_order_of_rows_changes_no_bit():
    dataset = text_dataset()
    model = text_artifact(mean_of_embeddings(dynamic=True))
    index = dataset.parts["test"]
    shuffled = np.random.default_rng(5).permutation(index)
    for file in (text_artifact(), model):
        scores, _ = score(file, dataset.texts, index)
        again, _ = score(file, dataset.texts, shuffled)
        back = np.argsort(shuffled)
        np.testing.assert_array_equal(again[back], scores)


def test_batches_have_similar_lengths_and_bounded_numbers_of_ids():
    rng = np.random.default_rng(0)
    ids = np.zeros((500, 64), np.int32)
    lengths = rng.integers(1, 65, 500)
    for row, n in enumerate(lengths):
        ids[row, :n] = rng.integers(1, 9, n)
    np.testing.assert_array_equal(text_lengths(ids, 0), lengths)
    batches = length_batches(ids, lengths, max_rows=32, max_ids=640)
    assert sorted(np.concatenate(batches)) == list(range(500))
    assert max(map(len, batches)) == 32
    assert max(len(b) * lengths[b].max() for b in batches) <= 640
    ends = [(lengths[b].min(), lengths[b].max()) for b in batches]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    assert [len(b) for b in length_batches(ids, lengths, max_ids=1)] == [1] * 500
    # Padding that is a token of the text, too, ends a text only where nothing follows it.
    assert text_lengths(np.array([[5, 0, 5, 0], [0, 0, 0, 0]]), 0).tolist() == [3, 1]


@pytest.mark.parametrize(("batch", "length"), [(4, "length"), ("batch", 16), (4, 16), (1, 20)])
def test_a_file_that_insists_on_a_shape_gets_it(batch, length):
    dataset = text_dataset(30)
    ids = tokenizer().encode(dataset.texts).ids
    session = open_session(mean_of_embeddings(batch=batch, length=length), Backend())
    expected = logits_alone(mean_of_embeddings(), dataset.texts, tokenizer())
    np.testing.assert_allclose(outputs_of_texts(session, ids, 0), expected, atol=1e-6)


def test_a_file_too_short_for_a_text_is_one_sentence():
    session = open_session(mean_of_embeddings(length=8), Backend())
    with pytest.raises(UserError, match="reads exactly 8 token ids of a text, the data have texts of 16"):
        outputs_of_texts(session, tokenizer().encode(text_dataset().texts).ids, 0)


def test_texts_of_a_file_with_ranges_per_call_are_predicted_alone_and_the_share_that_would_change_is_said():
    data = mean_of_embeddings(dynamic=True)
    assert computes_ranges_per_call(data)
    assert not computes_ranges_per_call(mean_of_embeddings())
    dataset, model = text_dataset(400), text_artifact(data)
    table = predictions({"int8": model}, dataset)
    index = dataset.parts["test"]
    expected = softmax(logits_alone(data, dataset.texts[index], tokenizer()))
    np.testing.assert_allclose(table["int8.score.neutral"], expected[:, 1], atol=1e-6)
    assert facts_of(table, "int8")["rows_per_call"] == 1
    # The same shares, counted with ONNX Runtime itself.
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    ids = tokenizer().encode(dataset.texts[index]).ids.astype(np.int64)
    batched = np.concatenate(
        [session.run(None, {"input_ids": ids[i : i + 32]})[0] for i in range(0, len(ids), 32)]
    )
    changed = int((batched.argmax(1) != expected.argmax(1)).sum())
    assert changed > 0
    measured = facts_of(table, "int8")["batch_dependence"]
    assert measured["rows"] == 200
    by_size = {c["batches"]: c["answers"] for c in measured["changes"]}
    assert by_size["32 rows"] == changed
    assert by_size["1 row padded to 16"] == 0  # the mean leaves padding out before ranges are computed
    (note,) = [n for n in notes_of(table)["int8"] if "ranges" in n]
    assert f"{percent(changed / 200)} with 32 rows," in note


def test_batches_and_padding_change_no_answer_of_a_file_in_floats():
    ids = tokenizer().encode(text_dataset(400).texts).ids
    measured = measure_batch_dependence(text_artifact(), ids, Backend())
    assert measured.rows == 400
    assert measured.worst.answers == 0
    assert measured.worst.score < 1e-6
    assert "change no prediction of 400 texts" in measured.sentence()
    table = predictions({"m": text_artifact()}, text_dataset(), batch_dependence=True)
    assert any("change no prediction of 100 texts" in n for n in notes_of(table)["m"])
    assert "batch_dependence" not in facts_of(predictions({"m": text_artifact()}, text_dataset()), "m")


def test_padding_is_measured_with_128_token_ids_where_texts_are_short():
    ids = tokenizer(max_length=512).encode(text_dataset(20).texts).ids
    measured = measure_batch_dependence(text_artifact(), ids, Backend())
    assert measured.changes[-1].batches == "1 row padded to 128"
    ids[0] = ids.max()  # a text of 512 token ids
    measured = measure_batch_dependence(text_artifact(), ids, Backend())
    assert measured.changes[-1].batches == "1 row padded to 512"


def test_the_share_of_each_group_that_is_cut_is_said():
    dataset = text_dataset()
    index = dataset.parts["test"]
    texts, languages = dataset.texts[index], dataset.attributes["language"][index]
    lengths = np.array([len(tokenizer(max_length=1000).encode([t]).ids[0].nonzero()[0]) for t in texts])
    cut = lengths > 16
    assert 0 < cut.mean() < 1
    with pytest.warns(ModelWarning, match="longer than the maximum length of 16"):
        table = api.predict({"m": text_artifact()}, dataset)
    (note,) = notes_of(table)["m"]
    assert note.startswith(f"{100 * cut.mean():.0f} % of 100 texts are longer")
    for language in ("en", "sw"):
        assert f"{language} {100 * cut[languages == language].mean():.0f} %" in note
    long = text_artifact(mean_of_embeddings(tokenizer(1000).size), tokenizer(1000))
    assert "m" not in notes_of(predictions({"m": long}, dataset))


def test_the_note_on_cut_texts_shows_small_shares_and_few_groups():
    cut = np.zeros(2000, bool)
    cut[:3] = True
    groups = np.array([f"g{i % 20:02d}" for i in range(2000)])
    note = truncation_note(cut, {"group": groups}, 128)
    assert note.startswith("0.15 % of 2,000 texts")
    assert "(by group: g00 1 %, g01 1 %, g02 1 %, g03 0 %" in note
    assert note.endswith("and 8 more)")
    assert truncation_note(np.zeros(5, bool), {}, 128) is None


@pytest.mark.parametrize(
    ("model", "data", "sentence"),
    [
        (text_artifact(), images(np.zeros((6, 3, 8, 8), np.uint8)), "predicts 'mood'"),
        (
            replace(text_artifact(), card=replace(text_artifact().card, target="y", classes=("no", "yes"))),
            images(np.zeros((6, 3, 8, 8), np.uint8)),
            "model 'm' reads texts, and 'faces' has images; use",
        ),
        (
            replace(
                table_artifact(linear(), [4], ("a", "b", "c", "d")),
                card=replace(text_artifact().card, inputs={"shape": [4], "columns": ["a", "b", "c", "d"]}),
            ),
            text_dataset(),
            "model 'm' reads columns, and 'posts' has texts; use",
        ),
        (replace(text_artifact(), tokenizer=None), text_dataset(), r"has no tokenizer\.json"),
        (
            replace(text_artifact(), tokenizer=b"{}"),
            text_dataset(),
            r"tokenizer\.json is not the one on the card",
        ),
        (text_artifact(linear()), text_dataset(), "reads float32 of 2 dimensions, not token ids"),
        (text_artifact(mean_of_embeddings(classes=2)), text_dataset(), "outputs 2 numbers per row"),
        (
            text_artifact(mean_of_embeddings(size=40)),
            text_dataset(),
            "the token id 319, and the model's embedding has only 40",
        ),
    ],
)
def test_a_model_that_does_not_fit_texts_is_one_sentence(model, data, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        predictions({"m": model}, data)
    assert str(caught.value).count(". ") == 0


def test_a_mitigation_is_fitted_to_a_model_that_reads_texts():
    classes = ("fine", "toxic")
    dataset = text_dataset(400, classes=classes)
    model = text_artifact(mean_of_embeddings(classes=2), classes=classes)
    mitigated = api.mitigate(model, data=dataset, method="thresholds", by="language")
    table = predictions({"a": model, "b": mitigated}, dataset)
    assert facts_of(table, "b")["mitigation"] == "thresholds"
    scores, decided = np.array(table["a.score"]), np.array(table["b"])
    assert (decided != np.where(scores >= np.float32(0.5), "toxic", "fine")).any()
