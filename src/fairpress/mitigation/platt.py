"""Platt scaling: calibrate scores so that they are probabilities, one group at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_ROWS = 10  # of each label; with fewer, a group's curve or cost would be noise
CLIP = 1e-6


@dataclass(frozen=True)
class Curve:
    """A calibrated score is 1 / (1 + exp(−slope · log(s / (1 − s)) − intercept)); (1, 0) is the identity."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return calibrated scores [rows] float64, in the order of the scores."""
        if self == Curve():
            return scores.astype(np.float64)
        return _sigmoid(self.slope * _logit(scores) + self.intercept)


def too_few_rows(labels: np.ndarray) -> str:
    """Return why labels [rows] of 0 and 1 are too few to fit a group; an empty string if they suffice."""
    positives = int(labels.sum())
    for name, count in (("positives", positives), ("negatives", len(labels) - positives)):
        if count < MIN_ROWS:
            return f"{count} {name} among the validation rows, fewer than {MIN_ROWS}"
    return ""


def fit_platt(scores: np.ndarray, labels: np.ndarray) -> Curve | None:
    """Return the maximum-likelihood curve, or None if it would reverse the order of the scores.

    Platt (1999), Probabilistic outputs for support vector machines: logistic regression on the log-odds with targets
    (n₊+1)/(n₊+2) and 1/(n₋+2), so that the curve is finite even if the scores separate the labels.

    Parameters
    ----------
    scores, labels
        [rows] probabilities of the positive class; 1 for positive rows. Never test rows.
    """
    from scipy.optimize import minimize

    x, positives = _logit(scores), int(labels.sum())
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * x + parameters[1]
        residual = _sigmoid(z) - target
        return float(np.mean(np.logaddexp(0, z) - target * z)), np.array(
            [np.mean(residual * x), np.mean(residual)]
        )

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return Curve(float(slope), float(intercept)) if slope > 0 else None


def _logit(scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
    log_odds: np.ndarray = np.log(clipped) - np.log1p(-clipped)
    return log_odds


def _sigmoid(z: np.ndarray) -> np.ndarray:
    probability: np.ndarray = np.exp(-np.logaddexp(0, -z))
    return probability
