"""Random ONNX classifiers and random modules, with what they compute by ONNX Runtime or PyTorch alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from hypothesis import strategies as st
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

ROWS = 160
LABELS = (("no", "yes"), ("bad", "good"), ("0", "1"), ("low", "mid", "top"))
TYPES = {"float": T.FLOAT, "double": T.DOUBLE, "int64": T.INT64, "int32": T.INT32}
NUMPY = {"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32}


@dataclass(frozen=True, repr=False)
class File:
    """An ONNX file, its data as a table, and the class of each row that ONNX Runtime and numpy give."""

    model: onnx.ModelProto
    table: pd.DataFrame
    yaml: str
    config: str
    predicted: list[str]
    fault: str | None = None
    names: tuple[str, ...] = field(default=())

    def write(self, folder: Path) -> None:
        onnx.save(self.model, str(folder / "m.onnx"))
        self.table.to_csv(folder / "d.csv", index=False)
        (folder / "d.yaml").write_text(self.yaml)
        if self.config:
            (folder / "m.model.yaml").write_text(self.config)


@st.composite
def files(draw: st.DrawFn) -> File:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.sampled_from(LABELS))
    k, width = len(names), draw(st.integers(1, 5))
    separate = draw(st.booleans())
    kinds = [draw(st.sampled_from(list(TYPES) if separate else ["float"])) for _ in range(width)]
    if not separate:
        kinds = [draw(st.sampled_from(("float", "double")))] * width
    rank = draw(st.sampled_from((1, 2))) if separate else 2
    fault = draw(st.sampled_from((None, None, None, "fraction", "text"))) if separate else None
    columns: dict[str, Any] = {}
    for i, kind in enumerate(kinds):
        whole = kind.startswith("int")
        values = rng.integers(-5, 6, ROWS) if whole else rng.normal(size=ROWS).round(3)
        columns[f"c{i}"] = values
    if fault == "fraction" and not any(k.startswith("int") for k in kinds):
        fault = None
    if fault == "fraction":
        at = next(i for i, kind in enumerate(kinds) if kind.startswith("int"))
        columns[f"c{at}"] = columns[f"c{at}"] + 0.5
    if fault == "text":
        columns["c0"] = rng.choice(["yes", "no"], ROWS)

    # Nodes: every input to float32 [n, 1], side by side, one linear layer.
    nodes, inputs, flat = [], [], []
    shape: list[Any] = ["n"] if rank == 1 else ["n", 1]
    constants = {}
    if separate:
        for i, kind in enumerate(kinds):
            inputs.append(h.make_tensor_value_info(f"c{i}", TYPES[kind], shape))
            nodes.append(h.make_node("Cast", [f"c{i}"], [f"f{i}"], to=T.FLOAT))
            nodes.append(h.make_node("Reshape", [f"f{i}", "column"], [f"r{i}"]))
            flat.append(f"r{i}")
        constants["column"] = np.array([-1, 1], np.int64)
        nodes.append(h.make_node("Concat", flat, ["x0"], axis=1))
    else:
        inputs.append(h.make_tensor_value_info("x", TYPES[kinds[0]], ["n", width]))
        nodes.append(h.make_node("Cast", ["x"], ["x0"], to=T.FLOAT))
    one = k == 2 and draw(st.booleans())
    weights = rng.normal(size=(width, 1 if one else k)).astype(np.float32)
    bias = (rng.normal(size=weights.shape[1]) * 0.3).astype(np.float32)
    constants |= {"w": weights, "b": bias}
    nodes.append(h.make_node("Gemm", ["x0", "w", "b"], ["z"]))
    ending = draw(st.sampled_from(("probabilities", "logits")))
    out = "z"
    if ending == "probabilities":
        nodes.append(
            h.make_node("Sigmoid" if one else "Softmax", ["z"], ["p"], **({} if one else {"axis": 1}))
        )
        out = "p"
    order = list(range(k))
    if draw(st.booleans()):
        order = [int(i) for i in rng.permutation(k)]
    if one:
        order = sorted(order)
    called = [names[i] for i in order]  # the class of each column
    outputs = [h.make_tensor_value_info(out, T.FLOAT, ["n", weights.shape[1]])]
    lines = [f"activation: {'none' if ending == 'probabilities' else 'sigmoid' if one else 'softmax'}"]
    lines.append("classes: [" + ", ".join(f"'{c}'" for c in called) + "]")
    threshold = 0.5
    positive = draw(st.sampled_from(names)) if k == 2 else None
    if k == 2 and draw(st.booleans()):
        threshold = draw(st.sampled_from((0.2, 0.35, 0.7)))
        lines.append(f"threshold: {threshold}")
    if not separate:
        lines.append("columns: [" + ", ".join(columns) + "]")
    y = rng.integers(0, k, ROWS)
    y[:k] = np.arange(k)
    table = pd.DataFrame({**columns, "sex": rng.choice(["f", "m"], ROWS), "y": [names[i] for i in y]})
    features = ", ".join(columns)
    yaml = f"path: d.csv\nlabel: y\nfeatures: [{features}]\nsensitive: [sex]\n"
    if positive is not None:
        yaml += f"positive: '{positive}'\n"
    graph = h.make_graph(nodes, "g", inputs, outputs, [nh.from_array(v, n) for n, v in constants.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    predicted: list[str] = []
    if fault is None:
        predicted = decide(model, table, kinds, rank, separate, one, ending, called, positive, threshold)
    return File(model, table, yaml, "\n".join(lines) + "\n", predicted, fault, names)


def decide(
    model: onnx.ModelProto,
    table: pd.DataFrame,
    kinds: list[str],
    rank: int,
    separate: bool,
    one: bool,
    ending: str,
    called: list[str],
    positive: str | None,
    threshold: float,
) -> list[str]:
    """Return the class of each row, by ONNX Runtime and numpy alone."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    if separate:
        feed = {
            f"c{i}": table[f"c{i}"].to_numpy().astype(NUMPY[kind]).reshape((-1,) if rank == 1 else (-1, 1))
            for i, kind in enumerate(kinds)
        }
    else:
        expected = [f"c{i}" for i in range(len(kinds))]
        feed = {"x": table[expected].to_numpy().astype(NUMPY[kinds[0]])}
    z = session.run(None, feed)[0].astype(np.float64)
    if ending == "logits":
        if one:
            z = 1 / (1 + np.exp(-z))
        else:
            z = np.exp(z - z.max(1, keepdims=True))
            z = z / z.sum(1, keepdims=True)
    if one:
        z = np.concatenate([1 - z, z], axis=1)
    if positive is not None:
        at = called.index(positive)
        return [called[at] if p >= threshold else called[1 - at] for p in z[:, at]]
    return [called[i] for i in z.argmax(1)]
