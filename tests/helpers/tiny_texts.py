"""Texts in two languages, a tokenizer trained on them, and small networks that read token ids; no torch."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.core.card import ModelCard
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.artifact import Artifact
from fairpress.tokenization.byte_pair import train_byte_pair
from fairpress.tokenization.tokenizer import TextTokenizer

WORDS = {
    "en": [
        "the",
        "weather",
        "is",
        "good",
        "today",
        "and",
        "we",
        "went",
        "home",
        "early",
        "because",
        "nobody",
        "stayed",
        "at",
        "work",
    ],
    "sw": [
        "leo",
        "hali",
        "ya",
        "hewa",
        "ni",
        "nzuri",
        "na",
        "sisi",
        "tulienda",
        "nyumbani",
        "mapema",
        "kwa",
        "sababu",
        "hakuna",
        "mtu",
    ],
}
CLASSES = ("negative", "neutral", "positive")


def sentences(rows: int = 200, seed: int = 0, longest: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return texts [rows] of 1 to `longest` words, and their languages [rows]; Swahili texts are longer on average."""
    rng = np.random.default_rng(seed)
    languages = np.where(rng.random(rows) < 0.4, "sw", "en")
    texts = []
    for language in languages:
        low = longest // 2 if language == "sw" else 1
        texts.append(" ".join(rng.choice(WORDS[language], rng.integers(low, longest + 1))))
    return np.array(texts, dtype=object), languages


@cache
def tokenizer(max_length: int = 16, vocabulary: int = 320) -> TextTokenizer:
    return train_byte_pair(sentences()[0].tolist(), vocabulary, max_length)


def text_dataset(rows: int = 200, seed: int = 0, *, classes: tuple[str, ...] = CLASSES) -> Dataset:
    """A dataset of texts, every second one a test row."""
    texts, languages = sentences(rows, seed)
    ids = np.array([f"t{i}" for i in range(rows)])
    return Dataset(
        "posts",
        Task("mood", classes, None if len(classes) > 2 else classes[-1]),
        texts,
        (),
        np.random.default_rng(seed + 1).integers(0, len(classes), rows),
        {"language": languages},
        ids,
        ids,
        {"test": np.arange(0, rows, 2), "validation": np.arange(1, rows, 2)},
        "made",
        texts=texts,
    )


def mean_of_embeddings(
    size: int | None = None,
    classes: int = 3,
    *,
    pad_id: int = 0,
    width: int = 8,
    batch: int | str = "batch",
    length: int | str = "length",
    dynamic: bool = False,
    seed: int = 0,
) -> bytes:
    """input_ids [batch, length] → mean of the embeddings of all ids but padding → two layers → logits [batch, classes].

    `dynamic`: the hidden layer is computed in 8 bits, with the range of all values of the call, as by quantize_dynamic.
    """
    rng = np.random.default_rng(seed)
    size = tokenizer().size if size is None else size
    hidden = rng.normal(size=(width, 16))
    scale = np.float32(np.abs(hidden).max() / 127)
    weights = {
        "embedding": rng.normal(size=(size, width)).astype(np.float32),
        "pad": np.int64(pad_id),
        "last": np.int64([2]),
        "words": np.int64([1]),
        "one": np.float32(1),
        "second": (rng.normal(size=(16, classes)) / 2).astype(np.float32),
        "bias": (rng.normal(size=classes) / 9).astype(np.float32),
        **(
            {"w": np.round(hidden / scale).astype(np.int8), "w_scale": scale}
            if dynamic
            else {"w": hidden.astype(np.float32)}
        ),
    }
    node = helper.make_node
    layer = (
        [
            node("DynamicQuantizeLinear", ["mean"], ["q", "q_scale", "q_zero"]),
            node("MatMulInteger", ["q", "w", "q_zero"], ["product"]),
            node("Cast", ["product"], ["product_f"], to=TensorProto.FLOAT),
            node("Mul", ["q_scale", "w_scale"], ["both"]),
            node("Mul", ["product_f", "both"], ["h"]),
        ]
        if dynamic
        else [node("MatMul", ["mean", "w"], ["h"])]
    )
    nodes = [
        node("Gather", ["embedding", "input_ids"], ["vectors"]),
        node("Equal", ["input_ids", "pad"], ["is_pad"]),
        node("Not", ["is_pad"], ["kept"]),
        node("Cast", ["kept"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["mask3"]),
        node("Mul", ["vectors", "mask3"], ["masked"]),
        node("ReduceSum", ["masked", "words"], ["sum"], keepdims=0),
        node("ReduceSum", ["mask", "words"], ["count"], keepdims=1),
        node("Max", ["count", "one"], ["at_least_one"]),
        node("Div", ["sum", "at_least_one"], ["mean"]),
        *layer,
        node("Tanh", ["h"], ["t"]),
        node("Gemm", ["t", "second", "bias"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [batch, length])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", [ids], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def transformers_export(
    size: int | None = None,
    *,
    names: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids"),
    length: int | str = "sequence",
    masked: bool = True,
    seed: int = 0,
) -> bytes:
    """A file with the inputs of common exports: the mean of embeddings of tokens and types under the mask → logits [n, 3].

    `masked`: whether the attention mask is used.
    """
    rng = np.random.default_rng(seed)
    size = tokenizer().size if size is None else size
    weights = {
        "words": rng.normal(size=(size, 8)).astype(np.float32),
        "types": rng.normal(size=(2, 8)).astype(np.float32),
        "out": rng.normal(size=(8, 3)).astype(np.float32),
        "last": np.int64([2]),
        "places": np.int64([1]),
    }
    node = helper.make_node
    ids, mask, types = names
    nodes = [
        node("Gather", ["words", ids], ["word_vectors"]),
        node("Gather", ["types", types], ["type_vectors"]),
        node("Add", ["word_vectors", "type_vectors"], ["vectors"]),
        node("Cast", [mask], ["kept"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["kept", "last"], ["kept3"]),
        node("Mul", ["vectors", "kept3"], ["masked"]),
        node("ReduceSum", ["masked", "places"], ["sum"], keepdims=0),
        node("ReduceSum", ["kept", "places"], ["count"], keepdims=1),
        node("Div", ["sum", "count"], ["masked_mean"]),
        node("ReduceMean", ["vectors", "places"], ["plain_mean"], keepdims=0),
        node("MatMul", ["masked_mean" if masked else "plain_mean", "out"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", length]) for n in names]
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def text_artifact(
    data: bytes | None = None,
    tokens: TextTokenizer | None = None,
    *,
    classes: tuple[str, ...] = CLASSES,
    **card,
) -> Artifact:
    """A model of the label mood that reads texts."""
    tokens = tokenizer() if tokens is None else tokens
    inputs = {
        "name": "input_ids",
        "kind": "text",
        "shape": [tokens.max_length],
        "dtype": "int32",
        "columns": [],
        **tokens.facts(),
        "truncated": 0.25,
    }
    positive = None if len(classes) > 2 else classes[-1]
    made = ModelCard("mood", classes, positive, {"name": "hand-made"}, inputs, **card)
    onnx_bytes = mean_of_embeddings(tokens.size, len(classes)) if data is None else data
    return Artifact(made, onnx_bytes, tokenizer=tokens.data)


def logits_alone(data: bytes, texts: np.ndarray, tokens: TextTokenizer) -> np.ndarray:
    """Return the logits [rows, classes] of texts, each run alone, with tokenizers and ONNX Runtime themselves."""
    import onnxruntime
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_str(tokens.data.decode())
    encoder.enable_truncation(tokens.max_length)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rows = [np.array([encoder.encode(text).ids], dtype=np.int64) for text in texts]
    return np.concatenate([session.run(None, {"input_ids": ids})[0] for ids in rows])
