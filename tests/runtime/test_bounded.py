"""ONNX files of some hundred bytes that ask for gigabytes, loop for ever, or read what is not beside them are refused."""

from __future__ import annotations

import gc
import os
import resource
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.runtime.bounded import TooLarge, TooLong
from fairpress.runtime.model_reference import read_onnx

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
FLAT = [h.make_node("MatMul", ["x", "w"], ["z"]), h.make_node("Softmax", ["z"], ["p"], axis=1)]


def constant(name, value):
    return nh.from_array(np.asarray(value), name)


def save(folder, nodes, *constants):
    weights = constant("w", np.array([[1, -1], [0.5, 0.2]], np.float32))
    inputs = [h.make_tensor_value_info("x", T.FLOAT, ["n", 2])]
    outputs = [h.make_tensor_value_info("p", T.FLOAT, ["n", 2])]
    graph = h.make_graph(nodes, "g", inputs, outputs, [weights, *constants])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def adding(*nodes):
    """Return a classifier that adds the sum of the tensor ``big``, which `nodes` make."""
    total = h.make_node("ReduceSum", ["big"], ["sum"], keepdims=0)
    return [
        *nodes,
        total,
        h.make_node("Add", ["x", "sum"], ["x2"]),
        h.make_node("MatMul", ["x2", "w"], ["z"]),
        FLAT[1],
    ]


def looping(times):
    values = [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("c", T.BOOL, [])]
    body = h.make_graph(
        [h.make_node("Identity", ["c"], ["c2"]), h.make_node("Mul", ["a", "half"], ["a2"])],
        "body",
        [*values, h.make_tensor_value_info("a", T.FLOAT, None)],
        [h.make_tensor_value_info("c2", T.BOOL, []), h.make_tensor_value_info("a2", T.FLOAT, None)],
    )
    nodes = [FLAT[0], h.make_node("Loop", ["times", "yes", "z"], ["l"], body=body)]
    nodes.append(h.make_node("Softmax", ["l"], ["p"], axis=1))
    return nodes, constant("times", np.int64(times)), constant("yes", True), constant("half", np.float32(0.5))


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.3f},{rng.normal():.3f},{'fm'[i // 2 % 2]},{i % 2}" for i in range(80)]
    (tmp_path / "d.csv").write_text("a,b,sex,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "d.yaml").write_text(
        "path: d.csv\nlabel: y\nfeatures: [a, b]\nsensitive: [sex]\npositive: 1\n", encoding="utf-8"
    )
    return str(tmp_path / "d.yaml")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@linux
@pytest.mark.parametrize("when", ["at loading", "at a call"])
def test_tensors_of_gigabytes_are_refused(tmp_path, data, when):
    shape = constant("shape", np.array([700_000_000], np.int64))  # 2.8 GB, which most machines have
    nodes = [h.make_node("ConstantOfShape", ["shape"], ["big"])]
    if when == "at a call":
        nodes = [
            h.make_node("ReduceSum", ["x"], ["one"], keepdims=0),
            h.make_node("Expand", ["one", "shape"], ["big"]),
        ]
    path, before = save(tmp_path, adding(*nodes), shape), peak()
    with pytest.raises(TooLarge, match="more than 1 GiB of memory beyond its weights"):
        fp.predict({"m": str(path)}, data, part="all")
    assert peak() - before < 2**30
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_what_is_meant_may_take_more(tmp_path, data, monkeypatch):
    shape = constant("shape", np.array([100_000_000], np.int64))  # 400 MB: more than allocators return late
    path = save(tmp_path, adding(h.make_node("ConstantOfShape", ["shape"], ["big"])), shape)
    assert fp.predict({"m": str(path)}, data, part="all").num_rows == 80
    gc.collect()  # what an earlier test left would give its memory to the call
    monkeypatch.setenv("FAIRPRESS_CALL_GIB", "0.02")
    if sys.platform == "linux":
        with pytest.raises(TooLarge):
            fp.predict({"m": str(path)}, data, part="all")
    monkeypatch.setenv("FAIRPRESS_CALL_GIB", "much")
    with pytest.raises(UserError, match="FAIRPRESS_CALL_GIB is 'much'; set it to a number above 0"):
        fp.predict({"m": str(path)}, data, part="all")


def test_a_loop_that_does_not_end_is_ended(tmp_path, data, monkeypatch):
    nodes, *constants = looping(10**18)
    path = save(tmp_path, nodes, *constants)
    monkeypatch.setenv("FAIRPRESS_CALL_SECONDS", "1")
    with pytest.raises(TooLong, match="did not finish 1 row within 1 seconds"):
        fp.predict({"m": str(path)}, data, part="all")


def test_a_loop_that_ends_is_run(tmp_path, data):
    nodes, *constants = looping(3)
    assert fp.predict({"m": str(save(tmp_path, nodes, *constants))}, data, part="all").num_rows == 80


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/etc/passwd", "refers to weights at '/etc/passwd', outside its folder"),
        ("../other.bin", "refers to weights at '../other.bin', outside its folder"),
        ("pipe.bin", "pipe.bin is a pipe, not a file"),
        ("zero.bin", "zero.bin is a device, not a file"),
        ("none.bin", "cannot be read: there is no"),
    ],
)
@pytest.mark.parametrize("inside", ["a stored tensor", "a node"])
def test_weights_are_files_beside_the_model(tmp_path, data, location, reason, inside):
    os.mkfifo(tmp_path / "pipe.bin")
    (tmp_path / "zero.bin").symlink_to("/dev/zero")
    path = save(
        tmp_path, adding(h.make_node("Constant", [], ["big"], value=constant("", np.ones(2, np.float32))))
    )
    model = onnx.load(path)
    tensor = model.graph.node[0].attribute[0].t
    if inside == "a stored tensor":
        tensor = model.graph.initializer.add(name="big", data_type=T.FLOAT, dims=[2])
        del model.graph.node[0]
    tensor.ClearField("raw_data")
    tensor.data_location = T.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=reason):
        fp.predict({"m": str(path)}, data, part="all")
    with pytest.raises(UserError, match=reason):
        read_onnx(path)


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_and_devices_are_no_models(tmp_path, data, put):
    path = tmp_path / "m.onnx"
    put(path)
    with pytest.raises(UserError, match=r"m\.onnx is a (pipe|device), not a file"):
        fp.predict({"m": str(path)}, data, part="all")
    with pytest.raises(UserError, match=r"m\.onnx is a (pipe|device), not a file"):
        read_onnx(path)


def test_a_file_above_what_protobuf_holds_is_not_read(tmp_path, data):
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(UserError, match="larger than 2 GiB"):
        fp.predict({"m": str(tmp_path / "m.onnx")}, data, part="all")
