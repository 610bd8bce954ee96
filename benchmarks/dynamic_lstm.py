"""ONNX Runtime's integer kernel for LSTM layers against its float one, paired in one run.

python benchmarks/dynamic_lstm.py [hidden] [steps] [rows]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.onnx.dynamic_lstm import use_integer_lstm

ROUNDS, INPUTS = 30, 128


def main(hidden: int, steps: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(1, 4 * hidden, INPUTS)).astype(np.float32) / 11,
        "r": rng.normal(size=(1, 4 * hidden, hidden)).astype(np.float32) / hidden**0.5,
    }
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, rows, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    files = {"float": model.SerializeToString()}
    # One direction, so that its scales can stand on the first axis.
    scales = {k: np.array([np.abs(v).max() / 127], np.float32) for k, v in weights.items()}
    integers = {k: np.round(v / scales[k]) for k, v in weights.items()}
    use_integer_lstm(model, integers, scales)
    files["integers"] = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        name: onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for name, data in files.items()
    }
    x = rng.normal(size=(steps, rows, INPUTS)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS):
        for name, opened in sessions.items():  # in turns, so that what else runs disturbs both
            started = time.perf_counter()
            opened.run(None, {"x": x})
            times[name].append(time.perf_counter() - started)
    ratios = np.array(times["integers"][3:]) / np.array(times["float"][3:])
    print(f"LSTM of {hidden} units, {steps} steps, {rows} rows, one thread")
    for name, data in files.items():
        print(f"{name}: {len(data):,} bytes, least {1000 * min(times[name]):.1f} ms")
    print(
        f"integers take {np.median(ratios):.2f} times as long (quartiles {np.quantile(ratios, 0.25):.2f} … "
        f"{np.quantile(ratios, 0.75):.2f})"
    )


if __name__ == "__main__":
    given = list(map(int, sys.argv[1:]))
    main(*(given + [256, 32, 1][len(given) :]))
