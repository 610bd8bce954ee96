"""aif360's Calibrated Equalized Odds on a few fixed tables as JSON.

``python benchmarks/aif360_calibrated_odds.py > tests/mitigation/aif360.json``, where aif360 is installed
(``python -m pip install aif360``); it needs nothing of fairpress. Mixing rates and expected costs only: draws differ with
whoever draws them. Where aif360 divides by zero or leaves [0, 1] it says so by the rate, and the test knows the answer.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
from aif360.algorithms.postprocessing import CalibratedEqOddsPostprocessing
from aif360.datasets import BinaryLabelDataset
from aif360.metrics import ClassificationMetric

warnings.filterwarnings("ignore")
UNPRIVILEGED, PRIVILEGED = [{"g": 0}], [{"g": 1}]


def case(seed: int) -> dict:
    """Return one table of two groups, and what aif360 fits to it for each cost."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(150, 400))
    group = (rng.random(n) < 0.4).astype(int)
    base = np.where(group == 1, rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6))
    label = (rng.random(n) < base).astype(int)
    sharpness = np.where(group == 1, rng.uniform(0.5, 2.5), rng.uniform(0.5, 2.5))
    score = 1 / (1 + np.exp(-(sharpness * (2 * label - 1 + rng.normal(size=n)) + np.log(base / (1 - base)))))
    score = score.round(4)  # as the file holds it

    def dataset(values: np.ndarray) -> BinaryLabelDataset:
        frame = pd.DataFrame({"g": group.astype(float), "y": values.astype(float)})
        return BinaryLabelDataset(df=frame, label_names=["y"], protected_attribute_names=["g"])

    true, predicted = dataset(label), dataset((score >= 0.5).astype(int))
    predicted.scores = score.reshape(-1, 1)
    costs = {}
    for cost in ("fnr", "fpr", "weighted"):
        fitted = CalibratedEqOddsPostprocessing(UNPRIVILEGED, PRIVILEGED, cost_constraint=cost, seed=0)
        fitted.fit(true, predicted)
        trivial = predicted.copy(deepcopy=True)
        trivial.scores = np.where(group == 1, fitted.base_rate_priv, fitted.base_rate_unpriv).reshape(-1, 1)
        costs[cost] = {}
        for g, alpha in ((0, fitted.unpriv_mix_rate), (1, fitted.priv_mix_rate)):
            own, least = (
                _cost(ClassificationMetric(true, p, UNPRIVILEGED, PRIVILEGED), cost, g)
                for p in (predicted, trivial)
            )
            costs[cost][str(g)] = {
                "mixing_rate": float(alpha),
                "cost": own,
                "trivial_cost": least,
                "expected_cost": float((1 - alpha) * own + alpha * least),
            }
    return {
        "table": {"label": label.tolist(), "g": [str(v) for v in group], "score": score.tolist()},
        "costs": costs,
    }


def _cost(metric: ClassificationMetric, cost: str, group: int) -> float:
    privileged = bool(group)
    fpr = metric.generalized_false_positive_rate(privileged=privileged)
    fnr = metric.generalized_false_negative_rate(privileged=privileged)
    base = metric.base_rate(privileged=privileged)
    return float({"fpr": fpr, "fnr": fnr, "weighted": (fpr * (1 - base) + fnr * base) / 2}[cost])


if __name__ == "__main__":
    print(json.dumps([case(seed) for seed in range(6)]))
