"""How many parameters a file stores at each width: scales, zero points and shapes are none."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress.runtime.onnx.stored_widths import shares, stored_widths, widths_text
from fairpress.runtime.onnx.weight_packing import finalize, pack_weights


def model(nodes: list, stored: dict[str, np.ndarray]):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


Q = np.arange(-12, 12, dtype=np.int8).reshape(4, 6) // 2
SCALES, BIAS = np.linspace(0.1, 0.4, 4, dtype=np.float32), np.ones(4, np.float32)
PRODUCT = [
    helper.make_node("Transpose", ["w"], ["t"]),
    helper.make_node("MatMul", ["x", "t"], ["p"]),
    helper.make_node("Add", ["p", "b"], ["y"]),
]


def dequantized():
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), *PRODUCT]
    return model(nodes, {"q": Q, "s": SCALES, "z": np.zeros(4, np.int8), "b": BIAS})


def multiplied():
    nodes = [
        helper.make_node("Cast", ["q"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["w"]),
        *PRODUCT,
    ]
    return model(nodes, {"q": Q, "s": SCALES[:, None], "b": BIAS})


@pytest.mark.parametrize("make", [dequantized, multiplied])
@pytest.mark.parametrize("bits", [8, 4])
def test_scales_are_no_parameters_and_count_as_bytes(make, bits):
    file = make()
    pack_weights(file, {"q": bits})
    widths = {w.bits: w for w in stored_widths(file.SerializeToString())}
    assert (widths[bits].count, widths[bits].bytes) == (24, 24 * bits // 8)
    assert (widths[32].count, widths[32].bytes, widths[32].scale_bytes) == (4, 16, 16)
    told = shares(widths.values())
    assert told[str(bits)]["parameters"] == pytest.approx(24 / 28)
    assert told[str(bits)]["bytes"] == pytest.approx(3 * bits / (3 * bits + 32))
    assert sum(entry["bytes"] for entry in told.values()) == pytest.approx(1)


def test_the_largest_share_is_named_first():
    text = widths_text(stored_widths(dequantized().SerializeToString()))
    assert (
        text == "28 parameters: 85.7% in 8 bits (42.9% of the bytes), 14.3% in 32 bits (57.1% of the bytes)"
    )


def test_a_factor_of_a_float_is_a_parameter():
    nodes = [helper.make_node("Mul", ["v", "s"], ["w"]), *PRODUCT]
    file = model(nodes, {"v": Q.astype(np.float32), "s": SCALES[:, None], "b": BIAS})
    (only,) = stored_widths(file.SerializeToString())
    assert (only.bits, only.count, only.scale_bytes) == (32, 24 + 4 + 4, 0)


def test_branches_keep_what_they_read_when_names_are_shortened():
    """A constant that only a branch reads is kept, and one value has one name in the whole file."""

    def branch(name: str, weight: str):
        nodes = [helper.make_node("MatMul", ["x", weight], [f"{name} out"])]
        return helper.make_graph(
            nodes, name, [], [helper.make_tensor_value_info(f"{name} out", TensorProto.FLOAT, ["n", 4])]
        )

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "none"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["y"], then_branch=branch("yes", "a"), else_branch=branch("no", "b")
        ),
    ]
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(6, 4)).astype(np.float32) for _ in range(2))
    data = finalize(model(nodes, {"a": a, "b": b, "none": np.zeros((), np.float32)}))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for sign, weight in ((1, a), (-1, b)):
        x = sign * np.ones((3, 6), np.float32)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight, rtol=1e-5)
