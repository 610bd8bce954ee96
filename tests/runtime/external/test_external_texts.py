"""External ONNX files that read texts: usual exports with their tokenizer and label names beside them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fairpress.core.errors import UserError
from fairpress.runtime.external.model import open_external
from fairpress.runtime.predict import notes_of, predictions
from tiny_networks import images, linear
from tiny_texts import (
    CLASSES,
    mean_of_embeddings,
    text_dataset,
    tokenizer,
    transformers_export,
)

NAMES = {"0": "Positive", "1": "Negative", "2": "Neutral"}


def export(folder, data, *, max_length=16, names=NAMES, settings=None, yaml="", tokens=None):
    """Write a file with what transformers writes beside it."""
    (folder / "m.onnx").write_bytes(data)
    document = json.loads(tokens or tokenizer().data)
    if max_length is not None:
        truncation = {"direction": "Right", "max_length": max_length, "strategy": "LongestFirst", "stride": 0}
        document["truncation"] = truncation
    (folder / "tokenizer.json").write_text(json.dumps(document))
    (folder / "config.json").write_text(json.dumps({"id2label": names, "pad_token_id": 0}))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if yaml:
        (folder / "m.model.yaml").write_text(yaml)
    return folder / "m.onnx"


def alone(data, texts, names=("input_ids", "attention_mask", "token_type_ids")):
    """Return logits of each text alone, by ONNX Runtime and tokenizers themselves."""
    import onnxruntime
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_str(tokenizer().data.decode())
    encoder.enable_truncation(16)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    out = []
    for text in texts:
        ids = np.array([encoder.encode(text).ids], dtype=np.int64)
        arrays = dict(zip(names, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
        used = {i.name for i in session.get_inputs()}
        out.append(session.run(["logits"], {k: v for k, v in arrays.items() if k in used})[0][0])
    return np.array(out)


def test_a_usual_export_needs_no_description(tmp_path):
    dataset, data = text_dataset(), transformers_export()
    model = open_external(export(tmp_path, data), dataset)
    assert model.config.max_length == 16
    assert set(model.guessed) >= {"tokenizer", "max_length", "pad_id", "classes"}
    assert model.classes == ("positive", "negative", "neutral")
    index = dataset.parts["test"]
    logits = alone(data, dataset.texts[index])
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    table = predictions({"m": model}, dataset)
    for column, name in enumerate(("positive", "negative", "neutral")):
        np.testing.assert_allclose(table[f"m.score.{name}"], expected[:, column], atol=1e-6)
    assert table["row_id"].to_pylist() == [f"t{i}" for i in index]
    (note,) = [n for n in notes_of(table)["m"] if "maximum length" in n]
    assert "by language: sw" in note
    # What --dry-run prints describes the model completely.
    (tmp_path / "m.model.yaml").write_text(model.as_yaml())
    again = open_external(tmp_path / "m.onnx", dataset)
    assert again.config == model.config
    assert again.guessed == ()


def test_the_description_names_inputs_length_tokenizer_and_classes(tmp_path):
    dataset = text_dataset()
    data = transformers_export(names=("ids", "mask", "kinds"))
    lines = [
        "tokenizer: own/tok.json",
        "max_length: 5",
        "inputs: {ids: input_ids, mask: attention_mask, kinds: token_type_ids}",
        "classes: [neutral, positive, negative]",
    ]
    path = export(
        tmp_path, data, names={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, yaml="\n".join(lines)
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "tokenizer.json").rename(tmp_path / "own" / "tok.json")
    model = open_external(path, dataset)
    assert model.classes == ("neutral", "positive", "negative")
    scores = model.scores(dataset, np.arange(3))
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_str(tokenizer().data.decode())
    encoder.enable_truncation(5)
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for row in range(3):
        ids = np.array([encoder.encode(dataset.texts[row]).ids], dtype=np.int64)
        logits = session.run(None, {"ids": ids, "mask": np.ones_like(ids), "kinds": ids * 0})[0][0]
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(
            scores[row, [1, 2, 0]], expected, atol=1e-6
        )  # CLASSES: negative, neutral, positive


def test_a_compressed_export_names_the_tokenizer_from_its_own_folder(tmp_path):
    from fairpress import api

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    dataset = text_dataset(200)
    parts = {**dataset.parts, "calibration": dataset.parts["validation"][:20]}
    dataset = replace(dataset, parts=parts)
    path = export(tmp_path / "in", transformers_export())
    small = api.compress_file(path, "int8-dynamic", dataset, folder=tmp_path / "out")
    (tmp_path / "out" / "small.onnx").write_bytes(small.onnx)
    (tmp_path / "out" / "small.model.yaml").write_text(small.model_yaml)
    assert "tokenizer: ../in/tokenizer.json" in small.model_yaml
    opened = open_external(tmp_path / "out" / "small.onnx", dataset)
    difference = opened.scores(dataset, np.arange(50)) - open_external(path, dataset).scores(
        dataset, np.arange(50)
    )
    assert 0 < np.abs(difference).max() < 0.1


def test_a_file_of_a_fixed_length_is_padded_to_it(tmp_path):
    dataset, data = text_dataset(40), transformers_export(length=20)
    model = open_external(export(tmp_path, data), dataset)
    expected = alone(transformers_export(), dataset.texts)
    scores = model.scores(dataset, np.arange(40))
    order = [CLASSES.index(c) for c in ("positive", "negative", "neutral")]
    np.testing.assert_allclose(
        scores[:, order], np.exp(expected) / np.exp(expected).sum(1, keepdims=True), atol=1e-6
    )


def test_a_file_with_ranges_per_call_runs_texts_alone_and_says_so(tmp_path):
    dataset, data = text_dataset(), mean_of_embeddings(dynamic=True)
    table = predictions({"m": open_external(export(tmp_path, data), dataset)}, dataset)
    logits = alone(data, dataset.texts[dataset.parts["test"]])
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(table["m.score.positive"], expected[:, 0], atol=1e-6)
    assert any("every text is predicted alone" in note for note in notes_of(table)["m"])


def test_a_file_of_strings_reads_the_texts_themselves(tmp_path):
    """Whether a text is one of two given ones, as text vectorizers within a file read them."""
    dataset = text_dataset(60)
    first, second = dataset.texts[4], dataset.texts[7]
    node = helper.make_node
    nodes = [
        node(
            "LabelEncoder",
            ["text"],
            ["found"],
            domain="ai.onnx.ml",
            keys_strings=[first, second],
            values_floats=[1.0, 2.0],
            default_float=0.0,
        ),
        node("Equal", ["found", "classes"], ["same"]),
        node("Cast", ["same"], ["probabilities"], to=TensorProto.FLOAT),
    ]
    classes = onnx.numpy_helper.from_array(np.float32([[0, 1, 2]]), "classes")
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["n", 1])
    out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "g", [text], [out], [classes])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    (tmp_path / "m.onnx").write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    )
    (tmp_path / "m.model.yaml").write_text("classes: [neutral, positive, negative]")
    model = open_external(tmp_path / "m.onnx", dataset)
    decided = [CLASSES[i] for i in model.answers(dataset, np.arange(60)).decided]
    expected = ["positive" if t == first else "negative" if t == second else "neutral" for t in dataset.texts]
    assert decided == expected


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        (
            transformers_export(),
            {"max_length": None},
            r"does not say how long texts may be.*`max_length: 128`",
        ),
        (
            transformers_export(),
            {"max_length": None, "settings": {"model_max_length": 10**30}},
            "does not say how long texts may be",
        ),
        (transformers_export(length=8), {"yaml": "max_length: 12"}, "reads exactly 8 token ids"),
        (
            transformers_export(),
            {"names": {"0": "toxic", "1": "fine", "2": "other"}},
            r"config\.json next to the model names the outputs toxic, fine, other",
        ),
        (transformers_export(names=("a", "b", "c")), {}, r"say in .*m\.model\.yaml under `inputs`"),
        (transformers_export(), {"yaml": "inputs: {input_id: input_ids}"}, "Did you mean 'input_ids'"),
        (transformers_export(), {"yaml": "inputs: {input_ids: ids}"}, "`inputs` names 'ids'"),
        (transformers_export(), {"yaml": "tokenizer: other.json"}, r"there is no .*other\.json"),
        (transformers_export(size=40), {}, "the embedding of .* has only 40 rows"),
        (transformers_export(masked=False), {}, "depends on the other texts in its batch or on padding"),
        (linear(), {}, "does not read texts, which 'posts' has"),
        (transformers_export(), {"tokens": b'{"model": 3}'}, r"tokenizer\.json cannot be read"),
        (transformers_export(), {"yaml": "columns: [a]"}, "has texts; omit `columns`"),
        (transformers_export(), {"yaml": "max_length: 3\nscale: 255"}, "`max_length` is for models of texts"),
    ],
)
def test_what_is_missing_or_contradicts_is_one_sentence(tmp_path, data, options, sentence):
    with pytest.raises(UserError, match=sentence):
        open_external(export(tmp_path, data, **options), text_dataset())


def test_a_file_without_a_mask_needs_the_padding_id(tmp_path):
    path = export(tmp_path, mean_of_embeddings())
    (tmp_path / "config.json").write_text(json.dumps({"id2label": NAMES}))
    with pytest.raises(UserError, match=r"has no attention mask.*set `pad_id`"):
        open_external(path, text_dataset())
    (tmp_path / "m.model.yaml").write_text("pad_id: 0")
    assert open_external(path, text_dataset()).config.pad_id == 0


def test_a_file_of_texts_on_images_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="the model does not read images"):
        open_external(export(tmp_path, transformers_export()), images(np.zeros((6, 3, 8, 8), np.uint8)))
