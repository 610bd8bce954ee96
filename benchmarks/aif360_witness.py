"""aif360's metrics of a few fixed tables as JSON: ``python benchmarks/aif360_witness.py > tests/auditing/aif360.json``.

Run it where aif360 is installed (``python -m pip install aif360``); it needs nothing of fairpress.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from aif360.datasets import BinaryLabelDataset
from aif360.metrics import ClassificationMetric

RATES = {
    "accuracy": "accuracy",
    "selection_rate": "selection_rate",
    "tpr": "true_positive_rate",
    "fpr": "false_positive_rate",
    "tnr": "true_negative_rate",
    "fnr": "false_negative_rate",
    "ppv": "positive_predictive_value",
    "npv": "negative_predictive_value",
    "generalized_fpr": "generalized_false_positive_rate",
    "generalized_fnr": "generalized_false_negative_rate",
}
DIFFERENCES = (
    "statistical_parity_difference",
    "disparate_impact",
    "equal_opportunity_difference",
    "false_positive_rate_difference",
    "average_odds_difference",
)


def case(seed: int) -> dict:
    """Return one table of two groups with its metrics."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 160))
    label = rng.integers(0, 2, n)
    model = np.where(rng.random(n) < 0.25, 1 - label, label)
    group = (rng.random(n) < 0.4).astype(int)
    scores = np.where(model == 1, 0.5 + rng.random(n) / 2, rng.random(n) / 2)

    def dataset(values: np.ndarray) -> BinaryLabelDataset:
        frame = pd.DataFrame({"g": group.astype(float), "y": values.astype(float)})
        return BinaryLabelDataset(df=frame, label_names=["y"], protected_attribute_names=["g"])

    predicted = dataset(model)
    predicted.scores = scores.reshape(-1, 1)
    metric = ClassificationMetric(dataset(label), predicted, [{"g": 0}], [{"g": 1}])
    metrics = {name: float(getattr(metric, name)()) for name in DIFFERENCES}
    metrics["rates"] = {
        str(g): {ours: float(getattr(metric, theirs)(privileged=bool(g))) for ours, theirs in RATES.items()}
        for g in (0, 1)
    }
    table = {
        "label": label.tolist(),
        "g": [str(v) for v in group],
        "m": model.tolist(),
        "m.score": scores.tolist(),
    }
    return {"table": table, "metrics": metrics}


if __name__ == "__main__":
    print(json.dumps([case(seed) for seed in range(4)]))
