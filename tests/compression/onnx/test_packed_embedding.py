"""Embedding tables as integers: what a lookup returns, on both runtimes, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.errors import VerificationError
from fairpress.compression.onnx.packed_embedding import look_up_integers, packed_nibbles
from fairpress.runtime.backends.onnxruntime import operators, run
from fairpress.runtime.backends.registry import Backend, open_session
from fairpress.runtime.onnx.stored_weights import StoredWeights, stored_weights

ROWS, WIDTH = 50, 24


def lookup(reader: str = "Gather", axis: int = 0) -> onnx.ModelProto:
    """A file that looks up a table [50, 24] by ids [rows, length]."""
    attributes = {"axis": axis} if reader == "Gather" else {}
    inputs = ["table", "ids"] if reader == "Gather" else ["table"]
    table = np.zeros((ROWS, WIDTH), np.float32)
    shape = ["rows", "length", WIDTH] if reader == "Gather" else None
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(reader, inputs, ["y"], **attributes)],
            "g",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", "length"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(table, "table")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize(("bits", "blocks"), [(8, 1), (8, 3), (4, 1), (4, 3)])
def test_a_lookup_returns_integers_times_the_scales_of_their_blocks(bits, blocks, kind):
    rng = np.random.default_rng(bits + blocks)
    top = 2 ** (bits - 1) - 1
    integers = rng.integers(-top, top + 1, (ROWS, WIDTH))
    scales = rng.uniform(0.01, 1, (ROWS, blocks)).astype(kind)
    model = lookup()
    look_up_integers(model, "table", integers, scales, bits)
    data = model.SerializeToString()
    ids = rng.integers(0, ROWS, (4, 7))
    expected = (integers * np.repeat(scales.astype(np.float32), WIDTH // blocks, 1))[ids]
    np.testing.assert_allclose(run(data, ids), expected, rtol=1e-6)
    np.testing.assert_allclose(open_session(data, Backend("openvino")).run(ids), expected, rtol=1e-6)
    (stored,) = [t for t in model.graph.initializer if t.name == "table integers"]
    assert len(stored.raw_data) == ROWS * WIDTH * bits // 8
    # Neither runtime may make floats of the whole table when it loads the file.
    assert operators(data)["Gather"] == 2
    assert stored_weights(data) == [StoredWeights(bits, True, ROWS * WIDTH, ROWS * WIDTH * bits // 8)]


def test_two_integers_of_a_byte_are_those_of_both_halves():
    assert packed_nibbles(np.array([[-8, 7, 0, 1]])).tolist() == [[0x80, 0x9F]]


@pytest.mark.parametrize(
    ("model", "reader"), [(lookup("Relu"), "reader other than"), (lookup(axis=1), "reader other than")]
)
def test_a_table_that_is_read_otherwise_is_refused(model, reader):
    with pytest.raises(VerificationError, match=reader):
        look_up_integers(model, "table", np.zeros((ROWS, WIDTH), int), np.ones((ROWS, 1)), 8)
    with pytest.raises(VerificationError, match="no table 'other'"):
        look_up_integers(model, "other", np.zeros((ROWS, WIDTH), int), np.ones((ROWS, 1)), 8)
