"""Dynamic quantization of networks that read texts."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import operators, run
from fairpress.tokenization.encoded_dataset import encode_dataset
from tiny_encoders import MAX_LENGTH, dataset, encoder
from tiny_texts import tokenizer

LAYERS = 13  # two blocks of six, and the classifier


@cache
def compressed(recipe: str) -> Artifact:
    return compress([encoder()], parse(recipe), [dataset()], [0])[0]


def ids_of_test_rows() -> np.ndarray:
    return encode_dataset(dataset(), tokenizer(MAX_LENGTH)).part("test").inputs.astype(np.int64)


def test_layers_run_on_integers_and_tables_are_gathered_as_integers():
    artifact = compressed("int8-dynamic")
    details = artifact.card.provenance["details"]
    counts = operators(artifact.onnx)
    assert counts["DynamicQuantizeMatMul"] + counts["MatMulIntegerToFloat"] == LAYERS
    assert details["integer_kernels"] == LAYERS
    assert {details["bits"][name] for name in ("embedding", "positions", "classify")} == {8}
    assert "float_layers" not in details
    graph = onnx.load_from_string(artifact.onnx).graph
    floats = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT]
    # What is left in float are vectors and the scales of the rows of tables.
    assert all(len(t.dims) < 2 or t.dims[1] == 1 for t in floats)
    (table,) = [t for t in graph.initializer if list(t.dims) == [tokenizer(MAX_LENGTH).size, 32]]
    assert table.data_type == TensorProto.INT8


def test_the_file_agrees_with_the_network_and_keeps_its_tokenizer():
    artifact, ids = compressed("int8-dynamic"), ids_of_test_rows()
    expected, got = run(encoder().onnx, ids), run(artifact.onnx, ids)
    assert (expected.argmax(1) == got.argmax(1)).mean() > 0.97
    assert np.abs(got - expected).mean() < 0.1 * expected.std()
    assert artifact.tokenizer == encoder().tokenizer


def test_tables_named_in_keep_stay_in_float():
    artifact = compressed("int8-dynamic(keep=embedding)")
    assert artifact.card.provenance["details"]["bits"]["embedding"] == 32
    table = from_bytes(encoder().weights)["embedding.weight"]
    graph = onnx.load_from_string(artifact.onnx).graph
    assert any(
        list(t.dims) == list(table.shape) and t.data_type == TensorProto.FLOAT for t in graph.initializer
    )
    with pytest.raises(UserError, match=r"no layer 'embeding' to keep in float\. Did you mean 'embedding'"):
        compressed("int8-dynamic(keep=embeding)")
