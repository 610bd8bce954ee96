"""Dynamic quantization of networks that read texts."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.apply import compress
from fairpress.compression.onnx.dynamic import multiply_integers
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import operators, run
from fairpress.runtime.backends.registry import Backend, open_session
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


def test_ranges_of_rows_make_answers_independent_of_batch_order_and_padding():
    artifact, ids = compressed("int8-dynamic(ranges=row)"), ids_of_test_rows()
    together = run(artifact.onnx, ids)
    alone = np.concatenate([run(artifact.onnx, row[None, : max(1, (row != 0).sum())]) for row in ids])
    np.testing.assert_allclose(together, alone, atol=2e-3 * together.std())
    np.testing.assert_array_equal(together.argmax(1), alone.argmax(1))
    np.testing.assert_allclose(run(artifact.onnx, ids[::-1].copy())[::-1], together, atol=1e-6)
    # The ranges of a call do depend on them: otherwise this test could not fail.
    by_call = compressed("int8-dynamic").onnx
    moved = np.concatenate([run(by_call, row[None]) for row in ids]) - run(by_call, ids)
    assert np.abs(moved).max() > 2e-3 * together.std()


def test_ranges_of_rows_run_on_integer_kernels_and_are_nearer_to_the_network():
    artifact, ids = compressed("int8-dynamic(ranges=row)"), ids_of_test_rows()
    assert operators(artifact.onnx)["MatMulIntegerToFloat"] == LAYERS
    assert "a token" in artifact.card.provenance["details"]["activation_ranges"]
    expected = run(encoder().onnx, ids)
    errors = [
        np.abs(run(compressed(recipe).onnx, ids) - expected).mean()
        for recipe in ("int8-dynamic(ranges=row)", "int8-dynamic")
    ]
    assert errors[0] < errors[1]
    on_openvino = open_session(artifact.onnx, Backend("openvino")).run(ids)
    assert (on_openvino.argmax(1) == expected.argmax(1)).mean() > 0.97


def test_a_product_of_rows_is_that_of_integers_between_each_rows_ends():
    """Against numpy: q = ⌊255·(x − min)/(max − min)⌉ of every row, its product with the integers, and both scales."""
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(2, 3, 16)) * rng.uniform(0.1, 9, (2, 3, 1))).astype(np.float32)
    weight, scales = rng.integers(-127, 128, (8, 16)), rng.uniform(0.01, 0.1, 8)
    bias = rng.normal(size=8).astype(np.float32)
    model = product_with_bias(bias)
    multiply_integers(model, "w", weight, scales, "row")
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    codes = np.round(255 * ((x - low) / (high - low)))
    expected = ((codes * (high - low) / 255 + low) @ weight.T) * scales + bias
    got = run(model.SerializeToString(), x)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    constant = np.full((1, 3, 16), 0.7, np.float32)  # a row without a range is still exact
    np.testing.assert_allclose(
        run(model.SerializeToString(), constant), (constant @ weight.T) * scales + bias, rtol=1e-4
    )


def product_with_bias(bias: np.ndarray) -> onnx.ModelProto:
    """x [rows, length, 16] · wᵀ + bias, as the exporter writes a linear layer."""
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
                helper.make_node("MatMul", ["x", "t"], ["p"]),
                helper.make_node("Add", ["p", "bias"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "length", 16])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "length", 8])],
            [
                numpy_helper.from_array(np.zeros((8, 16), np.float32), "w"),
                numpy_helper.from_array(bias, "bias"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
