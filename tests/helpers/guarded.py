"""Rows of a linear rule for the loop and for the verdict, its scores as a baseline, and candidates that harm a group."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import fairpress as fp
from fairpress.auditing.table_metadata import MODELS

WEIGHTS = np.array([[-1.0, 1.0], [-0.5, 0.5], [0.0, 0.0], [0.25, -0.25]], np.float32)
CLASSES = ["no", "yes"]
ROWS = 900


def inputs(part: str, rows: int = ROWS) -> np.ndarray:
    """Return what networks read, [rows, 4]."""
    return _generator(part).normal(size=(rows, 4)).astype(np.float32)


def table(part: str, rows: int = ROWS) -> pa.Table:
    """Return labels, groups and the rule's predictions; one label in ten is another."""
    decided = np.argmax(inputs(part, rows) @ WEIGHTS, axis=1)
    rng = _generator(part + "/labels")
    labels = np.where(rng.random(rows) < 0.9, decided, 1 - decided)
    columns = {
        "row_id": [f"{part}-{i}" for i in range(rows)],
        "label": np.array(CLASSES)[labels],
        "sex": np.where(rng.random(rows) < 0.5, "Female", "Male"),
        "age": rng.choice(["<25", "25-45", ">45"], rows, p=[0.05, 0.55, 0.4]),
        "fp32": np.array(CLASSES)[decided],
    }
    return pa.table(columns).replace_schema_metadata({MODELS: "fp32"})


def guard(**options: object) -> fp.Guard:
    """Return a guard of sex on these rows, at a margin of three points."""
    return fp.Guard(
        table("loop"),
        table("verdict"),
        **{"by": ["sex"], "positive": "yes", "classes": CLASSES, "margin": 0.03, **options},
    )


def baseline(part: str) -> np.ndarray:
    """Return the positions of the classes that the baseline decides."""
    return np.argmax(inputs(part) @ WEIGHTS, axis=1)


def wrong_for(part: str, share: float, sex: str = "Female") -> np.ndarray:
    """Return a candidate that is wrong in this share of the rows of a sex where the baseline was right."""
    rows = table(part)
    decided = baseline(part)
    right = np.array(CLASSES)[decided] == np.array(rows["label"].to_pylist())
    candidates = np.flatnonzero(right & (np.array(rows["sex"].to_pylist()) == sex))
    group = int((np.array(rows["sex"].to_pylist()) == sex).sum())
    changed = candidates[: round(share * group)]
    return np.where(np.isin(np.arange(len(decided)), changed), 1 - decided, decided)


def _generator(key: str) -> np.random.Generator:
    return np.random.default_rng(list(key.encode()))


def batches(part: str, size: int = 100) -> list[np.ndarray]:
    """Return the inputs in batches, the last of them smaller."""
    rows = inputs(part)
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def network() -> bytes:
    """Return the rule as an ONNX file: x [n, 4] → scores y [n, 2]."""
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", d]) for n, d in (("x", 4), ("y", 2))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="rule")],
        "g",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
