"""Weights that ONNX Runtime's quantizers leave in float in external files."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.onnx.external_weights import store_remaining
from fairpress.runtime.onnx.stored_widths import stored_widths

STEPS, INPUTS, WIDE = 4, 6, 8


def network(operator: str, table: bool = False) -> bytes:
    """A recurrent layer (or Einsum) over x [steps, rows, inputs], whose outputs are added to a table in float."""
    rng = np.random.default_rng(0)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}.get(operator)
    if gates is None:
        weights = {"w": rng.normal(size=(INPUTS, WIDE))}
        nodes = [helper.make_node("Einsum", ["x", "w"], ["h"], name="layer", equation="sri,io->sro")]
        steps = STEPS
    else:
        weights = {
            "w": rng.normal(size=(1, gates * WIDE, INPUTS)),
            "r": rng.normal(size=(1, gates * WIDE, WIDE)) / 3,
        }
        nodes = [
            helper.make_node(operator, ["x", "w", "r"], ["all"], name="layer", hidden_size=WIDE),
            helper.make_node("Squeeze", ["all", "one"], ["h"]),
        ]
        steps = STEPS
    weights["t"] = rng.normal(size=(steps, 1, WIDE)) if table else np.zeros((1, 1, WIDE))
    nodes.append(helper.make_node("Add", ["h", "t"], ["y"], name="table"))
    stored = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    stored.append(numpy_helper.from_array(np.array([1]), "one"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [STEPS, "n", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def run(data: bytes) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(STEPS, 50, INPUTS)).astype(np.float32)
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN", "Einsum"])
def test_weights_without_an_integer_kernel_are_stored_as_integers(operator, bits):
    data = network(operator)
    content, facts = store_remaining(data, bits, ())
    widths = {w.bits: w.count for w in stored_widths(content)}
    assert widths[bits] == facts["computed_in_float"] == stored_widths(data)[0].count - WIDE
    assert operator in facts["notes"][0]
    assert "multiplied as floats" in facts["notes"][0]
    expected = run(data)
    error = np.sqrt(np.square(run(content) - expected).mean()) / expected.std()
    assert 0 < error < (0.02 if bits == 8 else 0.3)


def test_layers_to_keep_stay_in_float_and_are_named():
    data = network("LSTM")
    content, facts = store_remaining(data, 8, ("layer",))
    assert content == data
    (note,) = facts["notes"]
    assert note.endswith("of the file's weights stay in float, in layer (LSTM), table (Add)")


def test_floats_that_are_only_added_are_named():
    _, facts = store_remaining(network("Einsum", table=True), 8, ())
    assert facts["notes"][1] == "40.0% of the file's weights stay in float, in table (Add)"
