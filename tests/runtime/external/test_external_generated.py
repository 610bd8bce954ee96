"""Generated ONNX files: what predict writes is what ONNX Runtime and numpy give by themselves."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress import api, datasets
from fairpress.core.errors import ModelWarning, UserError

FILES = 300
COLUMNS = ["a", "b", "k"]
KINDS = {
    "float": (TensorProto.FLOAT, np.float32),
    "double": (TensorProto.DOUBLE, np.float64),
    "float16": (TensorProto.FLOAT16, np.float16),
}
WHOLE = {
    "int8": (TensorProto.INT8, np.int8),
    "int32": (TensorProto.INT32, np.int32),
    "int64": (TensorProto.INT64, np.int64),
    "uint16": (TensorProto.UINT16, np.uint16),
}
ORDERS = {"ill": ("no", "yes"), "paid": ("good", "bad"), "level": ("high", "low", "mid")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(5)
    n = 300
    t = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "k": rng.integers(0, 100, n)}).round(
        3
    )
    score = t.a - t.b + (t.k - 50) / 25 + rng.normal(size=n)
    t["sex"] = rng.choice(["F", "M"], n)
    t["ill"] = np.where(score > 0, "yes", "no")
    t["paid"] = np.where(score > 0, "bad", "good")
    t["level"] = np.where(score > 1, "high", np.where(score < -1, "low", "mid"))
    path = tmp_path_factory.mktemp("generated")
    t.to_csv(path / "t.csv", index=False)
    for label, positive in (("ill", "yes"), ("paid", "bad"), ("level", None)):
        message = f'positive: "{positive}"\n' if positive else ""
        (path / f"{label}.yaml").write_text(
            f"path: t.csv\nlabel: {label}\n{message}features: [a, b, k]\nsensitive: [sex]\n", encoding="utf-8"
        )
    return path, t


class Drawn:
    """A file that is drawn at random, with the feed that it wants and the decisions that it means."""

    def __init__(self, rng: np.random.Generator, table: pd.DataFrame, path: Path) -> None:
        self.rng, self.nodes, self.inputs, self.outputs, self.stored = rng, [], [], [], []
        self.said: dict[str, object] = {}
        self.feed: dict[str, np.ndarray] = {}
        self.path = path / "m.onnx"
        self.label = str(rng.choice(list(ORDERS)))
        self.classes = ORDERS[self.label]
        self.values = table[COLUMNS].to_numpy(float)
        self.draw(self.matrix(len(table)))

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def node(self, kind, inputs, output, **options):
        self.nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    def store(self, name, array):
        self.stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def matrix(self, rows: int) -> str:
        """Draw the inputs, and return the value [rows, 3] of float32 that they become."""
        if self.rng.random() < 0.5:
            kind, dtype = KINDS[self.pick(*KINDS)]
            shape = self.pick(["n", 3], ["n", 1, 3], ["n", 3, 1], [1, 3], [7, 3], None)
            self.inputs.append(helper.make_tensor_value_info("x", kind, shape))
            self.said["columns"] = COLUMNS if shape is None else self.pick("encoded", COLUMNS)
            inner = [3] if shape is None else shape[1:]
            self.feed["x"] = self.values.astype(dtype).reshape(rows, *inner)
            self.batch = shape[0] if shape and isinstance(shape[0], int) else None
            wide = self.node("Cast", ["x"], "wide", to=TensorProto.FLOAT)
            return self.node("Reshape", [wide, self.store("three", np.array([-1, 3]))], "rows")
        self.batch, parts = None, []
        for i, name in enumerate(COLUMNS):
            kind, dtype = self.pick(*KINDS.values(), *(WHOLE.values() if name == "k" else ()))
            shape = self.pick(["n"], ["n", 1], ["n", 1, 1])
            self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
            self.feed[name] = self.values[:, i].astype(dtype).reshape(rows, *shape[1:])
            wide = self.node("Cast", [name], f"wide {name}", to=TensorProto.FLOAT)
            parts.append(self.node("Reshape", [wide, "one"], f"column {name}"))
        self.store("one", np.array([-1, 1]))
        return self.node("Concat", parts, "rows", axis=1)

    def draw(self, rows: str) -> None:
        """Draw how the rows become scores, and what of them leaves the file."""
        order = [self.classes[i] for i in self.rng.permutation(len(self.classes))]
        weights = self.rng.normal(size=(3, len(order))).astype(np.float32) * [[1], [1], [0.02]]
        logits = self.node("MatMul", [rows, self.store("w", weights.astype(np.float32))], "logits")
        ending = self.pick("logits", "softmax", "sigmoid" if len(order) == 2 else "softmax", "labels", "both")
        self.order, self.threshold = order, 0.5
        if len(order) == 2 and self.rng.random() < 0.4 and ending != "labels":
            self.threshold = self.said["threshold"] = round(float(self.rng.uniform(0.2, 0.8)), 2)
        if ending in ("labels", "both"):
            at = self.node("ArgMax", [logits], "at", axis=1, keepdims=0)
            self.store("names", np.array(order, dtype=object))
            self.outputs.append(helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]))
            self.node("Gather", ["names", at], "label")
        if ending == "sigmoid":
            self.store("second", np.array([[-1.0], [1.0]], np.float32))
            last = self.node("Sigmoid", [self.node("MatMul", [logits, "second"], "margin")], "p")
        elif ending != "labels":
            last = logits if ending == "logits" else self.node("Softmax", [logits], "p", axis=1)
        if ending != "labels":
            kind, _ = KINDS[self.pick("float", "double")]
            self.node("Cast", [last], "scores", to=kind)
            self.outputs.append(
                helper.make_tensor_value_info("scores", kind, ["n", 1 if ending == "sigmoid" else len(order)])
            )
        self.ending = ending
        if ending != "labels" and (ending != "both" or self.rng.random() < 0.5):
            self.said["classes"] = order

    def save(self) -> None:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.stored)
        opsets = [helper.make_opsetid("", int(self.pick(13, 17, 21)))]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), self.path)
        lines = [f"{k}: {v!r}\n" if isinstance(v, float) else f"{k}: {v!s}\n" for k, v in self.said.items()]
        message = self.path.with_suffix(".model.yaml")
        message.unlink(missing_ok=True)
        if lines:
            message.write_text("".join(lines), encoding="utf-8")

    def decisions(self, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Return what the file means [rows], by ONNX Runtime and numpy alone, and which rows are too close to tell."""
        session, parts = ort.InferenceSession(self.path, providers=["CPUExecutionProvider"]), []
        count = len(next(iter(self.feed.values())))
        step = self.batch or count
        for start in range(0, count, step):
            own = {k: v[start : start + step] for k, v in self.feed.items()}
            short = step - len(next(iter(own.values())))
            padded = {k: np.concatenate([v, v[-1:].repeat(short, 0)]) if short else v for k, v in own.items()}
            parts.append([np.asarray(v)[: step - short] for v in session.run(None, padded)])
        out = {o.name: np.concatenate([p[i] for p in parts]) for i, o in enumerate(session.get_outputs())}
        if self.ending == "labels":
            return out["label"].astype(str), np.zeros(count, dtype=bool)
        p = out["scores"].astype(float)
        if self.ending == "logits":
            p = np.exp(p - p.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
        if p.shape[1] == 1:
            p = np.concatenate([1 - p, p], axis=1)
        order = np.array(self.order)
        if positive is None:
            ranked = np.sort(p, axis=1)
            return order[p.argmax(1)], ranked[:, -1] - ranked[:, -2] < 1e-5
        score = p[:, self.order.index(positive)]
        other = next(c for c in self.order if c != positive)
        return np.where(score >= self.threshold, positive, other), np.abs(score - self.threshold) < 1e-5


@pytest.mark.slow
def test_generated_files_decide_as_onnx_runtime_and_numpy_do(folder, monkeypatch):
    path, table = folder
    monkeypatch.chdir(path)
    loaded = {label: datasets.load(f"{label}.yaml") for label in ORDERS}
    rng, run, refused = np.random.default_rng(11), 0, []
    for _ in range(FILES):
        drawn = Drawn(rng, table, path)
        drawn.save()
        data = loaded[drawn.label]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ModelWarning)
                result = api.predict({"m": drawn.path}, data, part="all")
        except UserError as error:
            refused.append(str(error))
            continue
        run += 1
        meant, close = drawn.decisions(data.task.positive)
        differ = (np.array(result["m"].to_pylist()) != meant) & ~close
        assert not differ.any(), (drawn.said, drawn.ending, drawn.order, int(differ.sum()))
    assert run == FILES, refused
