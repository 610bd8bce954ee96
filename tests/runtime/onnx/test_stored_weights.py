"""Weights of a file by bit width, counted by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.onnx.codebook import look_up_weights
from fairpress.compression.onnx.packed_embedding import look_up_integers
from fairpress.reporting.weight_facts import text_facts, weight_facts
from fairpress.runtime.onnx.embedding_table import embedding_rows
from fairpress.runtime.onnx.stored_weights import StoredWeights, stored_weights
from tiny_networks import linear, quantized
from tiny_texts import mean_of_embeddings, text_artifact, tokenizer


def test_floats_and_integers_are_counted_with_the_embedding_table_apart():
    size = tokenizer().size
    assert stored_weights(mean_of_embeddings()) == [
        StoredWeights(32, True, size * 8, size * 32),
        StoredWeights(32, False, 8 * 16 + 16 * 3, 4 * (8 * 16 + 16 * 3)),
    ]
    groups = stored_weights(mean_of_embeddings(dynamic=True))
    assert StoredWeights(8, False, 128, 128) in groups
    assert StoredWeights(32, False, 48, 192) in groups
    assert stored_weights(linear()) == [StoredWeights(32, False, 8, 32)]


@pytest.mark.parametrize(("bits", "n_bytes"), [(8, 60), (4, 30), (3, 23), (2, 15)])
def test_packed_integers_are_counted_and_not_their_bytes(bits, n_bytes):
    # 60 weights: 3 bits are 15 bytes of two bits and 15 nibbles of the third.
    weights = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (12, 5))
    assert stored_weights(quantized(weights, bits=bits)) == [StoredWeights(bits, False, 60, n_bytes)]


def test_blocks_of_4_bits_count_weights_and_leave_scales_out():
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    rng = np.random.default_rng(0)
    w = numpy_helper.from_array(rng.normal(size=(64, 24)).astype(np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 24])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], name="m")], "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True)
    quantizer.process()
    data = quantizer.model.model.SerializeToString()
    assert stored_weights(data) == [StoredWeights(4, False, 64 * 24, 64 * 24 // 2)]


def test_a_quantized_table_is_found_behind_its_lookup():
    """Gather of integers, scaled afterwards, and a table that is scaled before."""
    table = numpy_helper.from_array(np.ones((50, 4), np.int8), "table")
    scale, zero = (
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    )
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 4])
    after = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("DequantizeLinear", ["rows", "scale", "zero"], ["y"]),
    ]
    before = [
        helper.make_node("Cast", ["input_ids"], ["i"], to=TensorProto.INT32),
        helper.make_node("DequantizeLinear", ["table", "scale", "zero"], ["wide"]),
        helper.make_node("Gather", ["wide", "i"], ["y"]),
    ]
    for nodes in (after, before):
        graph = helper.make_graph(nodes, "g", [ids], [y], [table, scale, zero])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
        assert embedding_rows(data, "input_ids") == 50
        assert stored_weights(data) == [StoredWeights(8, True, 200, 200)]
    assert embedding_rows(linear(), "x") is None


def test_scales_of_the_rows_of_a_table_are_not_weights():
    table = numpy_helper.from_array(np.ones((50, 4), np.int8), "table")
    scales = numpy_helper.from_array(np.ones((50, 1), np.float32), "scales")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 4])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Gather", ["scales", "input_ids"], ["by"]),
        helper.make_node("Cast", ["rows"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["wide", "by"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [ids], [y], [table, scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    assert stored_weights(model.SerializeToString()) == [StoredWeights(8, True, 200, 200)]


@pytest.mark.parametrize("bits", [8, 4])
def test_scales_of_blocks_of_a_table_are_not_weights(bits):
    data = lookup(np.ones((50, 32), np.float32))
    model = onnx.load_from_string(data)
    look_up_integers(model, "table", np.ones((50, 32), np.int8), np.ones((50, 2), np.float16), bits)
    table = StoredWeights(bits, True, 50 * 32, 50 * 32 * bits // 8)
    assert stored_weights(model.SerializeToString()) == [table]


def test_a_table_of_width_one_is_not_taken_for_scales():
    assert stored_weights(lookup(np.ones((50, 1), np.float32))) == [StoredWeights(32, True, 50, 200)]


def lookup(table: np.ndarray) -> bytes:
    """Return an ONNX file that returns the rows of a table [rows, width] for `input_ids`."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", table.shape[1]])
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["y"])]
    graph = helper.make_graph(nodes, "g", [ids], [y], [numpy_helper.from_array(table, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def test_the_facts_of_a_card_are_shares_of_weights_and_of_the_file():
    data = mean_of_embeddings(dynamic=True)
    size, total = tokenizer().size, 8 * tokenizer().size + 128 + 48
    facts = weight_facts(data)
    wide = 8 * size + 48
    assert facts["weights"].startswith(f"{total:,}: {100 * wide / total:.0f} % in 32 bits (")
    assert (
        f"{100 * 4 * wide / len(data):.0f} % of the file), {100 * 128 / total:.2g} % in 8 bits"
        in facts["weights"]
    )
    assert facts["embedding table"].startswith(
        f"{8 * size:,} weights, {100 * 8 * size / total:.0f} % of all in 32 bits ("
    )
    assert "embedding table" not in weight_facts(linear())
    artifact = text_artifact()
    facts = text_facts(artifact)
    assert facts["maximum length"] == (
        "16 token ids; longer texts lose their end, 25 % of the training texts did"
    )
    assert artifact.card.inputs["tokenizer"] in facts["tokenizer"]


@pytest.mark.parametrize(("clusters", "bits"), [(16, 4), (100, 8)])
def test_a_table_of_indices_is_known_as_an_embedding(clusters, bits):
    size = tokenizer().size
    model = onnx.load_from_string(mean_of_embeddings())
    index = np.random.default_rng(0).integers(0, clusters, (size, 8))
    look_up_weights(model, "embedding", np.linspace(-1, 1, clusters), index)
    data = model.SerializeToString()
    assert embedding_rows(data, "input_ids") == size
    assert StoredWeights(bits, True, size * 8, size * bits) in stored_weights(data)
