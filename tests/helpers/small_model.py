"""A small table, the YAML that describes it, and a network for it as fairpress would have written it; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import fairpress as fp
from fairpress.core.card import ModelCard
from fairpress.runtime.artifact import Artifact

COLUMNS = ("a", "b", "c")
DESCRIPTION = "path: t.csv\nlabel: y\npositive: 'yes'\nsensitive: [sex]\nfeatures: [a, b, c]\n"
PROVENANCE: dict[str, Any] = {
    "best_epoch": 1,
    "constant_answer": {"accuracy": 0.5, "class": "no"},
    "device": "cpu",
    "epochs": 1,
    "networks_in_batch": 1,
    "training": {"batch_size": 128, "learning_rate": 0.001, "max_epochs": 1, "class_weights": None},
    "validation_accuracy": 0.7,
    "validation_loss": float("nan"),
    "warnings": ["a warning"],
    "steps": [],
    "details": {"validation": {"rows": 10, "accuracy": 0.7}, "sparsity": 0.5},
    "versions": {"onnx": "1.20.0"},
}


def write_table(folder: Path, rows: int = 1_000) -> Path:
    """Write t.csv and t.yaml, and return the latter."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).round(4)
    labels = np.where(x[:, 0] + x[:, 1] + rng.normal(size=rows) > 0, "yes", "no")
    sex = np.where(rng.random(rows) < 0.5, "F", "M")
    lines = [f"{a},{b},{c},{y},{s}" for (a, b, c), y, s in zip(x, labels, sex, strict=True)]
    (folder / "t.csv").write_text("a,b,c,y,sex\n" + "\n".join(lines) + "\n")
    (folder / "t.yaml").write_text(DESCRIPTION)
    return folder / "t.yaml"


def network() -> bytes:
    """Return x [n, 3] → 4 units → logits [n, 2]."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 4)), np.array([[-1, 1], [-1, 1], [0, 0], [1, -1]])
    weights = {"w": first, "b": np.zeros(4), "v": second, "c": np.zeros(2)}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "v", "c"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(np.float32(value), name) for name, value in weights.items()]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", d]) for n, d in (("x", 3), ("y", 2))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def make_model(folder: Path) -> Artifact:
    """Return the network's artifact on the table of a folder."""
    from fairpress.datasets.reload import dataset_facts

    description = write_table(folder)
    dataset = fp.load_dataset(str(description))
    card = ModelCard(
        target="y",
        classes=("no", "yes"),
        positive="yes",
        architecture={"name": "mlp", "widths": [4]},
        inputs={"name": "x", "shape": [3], "columns": list(COLUMNS)},
        data=dataset_facts(dataset),
        seed=0,
        provenance=PROVENANCE,
    )
    return Artifact(card, network())
