"""Search over models of texts: candidates keep their own tokenizers, also from the store, and are timed on one text."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.models.text_encoder import TextEncoder
from fairpress.searching.candidate_store import CandidateStore
from fairpress.searching.latency import measure_latency, timed_rows
from fairpress.searching.row_split import split_rows
from fairpress.store.local import Store
from fairpress.tokenization.tokenizer import TextTokenizer
from fairpress.training.config import TextFitConfig
from fairpress.training.fit import fit
from learnable_texts import learnable_texts


@pytest.fixture(scope="module")
def texts():
    return learnable_texts(600)


@pytest.fixture(scope="module")
def base(texts):
    architecture = TextEncoder(layers=1, width=16, heads=2, feedforward=32, vocabulary=330, max_length=64)
    return fit(
        architecture, [texts.development()], [0], TextFitConfig(max_epochs=1, batch_size=16, way="fp32")
    )[0]


def test_a_stored_candidate_reads_texts_by_its_own_tokenizer(base, texts, tmp_path):
    candidates = CandidateStore(base, texts, split_rows(texts), Store(tmp_path / "store"), 0)
    recipe = parse("trim-vocabulary-10")
    made, again = (candidates.make(recipe, lambda _: None) for _ in range(2))
    assert (made.reused, again.reused) == (False, True)
    assert again.artifact.text_tokenizer == made.artifact.text_tokenizer != base.text_tokenizer
    index = candidates.rows.choosing
    session = onnxruntime.InferenceSession(again.artifact.onnx, providers=["CPUExecutionProvider"])
    ids = again.artifact.text_tokenizer.encode(texts.texts[index]).ids.astype(np.int64)
    expected = session.run(None, {"input_ids": ids})[0].argmax(1)
    assert np.array_equal(candidates.predicted_classes(again.artifact, index), expected)


def test_predictions_of_the_same_file_with_a_shorter_maximum_length_are_others(base, texts, tmp_path):
    candidates = CandidateStore(base, texts, split_rows(texts), Store(tmp_path / "store"), 0)
    whole = base.text_tokenizer
    cut = TextTokenizer(whole.data, 2, whole.pad_id)
    shorter = replace(base, card=replace(base.card, inputs={**base.card.inputs, **cut.facts()}))
    index = candidates.rows.choosing
    session = onnxruntime.InferenceSession(base.onnx, providers=["CPUExecutionProvider"])
    expected = []
    for artifact, tokenizer in ((base, whole), (shorter, cut)):
        ids = tokenizer.encode(texts.texts[index]).ids.astype(np.int64)
        expected.append(session.run(None, {"input_ids": ids})[0].argmax(1))
        assert np.array_equal(candidates.predicted_classes(artifact, index), expected[-1])
    assert not np.array_equal(*expected)
    assert replace(candidates, base=shorter).origin != candidates.origin


def test_models_are_timed_on_the_text_of_median_length(base, texts):
    index = texts.index("validation")
    rows = timed_rows(texts, index)
    lengths = np.sort([len(t) for t in texts.texts[index[:200]]])
    assert rows.shape == (1,)
    assert len(rows[0]) == lengths[len(lengths) // 2]
    (small,) = compress([base], parse("trim-vocabulary-10"), [texts], [0])
    timings = measure_latency({"base": base, "small": small}, rows, 0.95)
    assert all(0 < median <= upper < 1_000 for median, upper in timings.values())
