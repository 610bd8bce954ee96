"""Fit a repair, by name, to a model's scores on validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.grouping import keys_of_groups, parse_by
from fairpress.mitigation import calibrated_equalized_odds, thresholds
from fairpress.mitigation.artifact import METHODS, Repair


def fit_mitigation(
    method: str,
    dataset: Dataset,
    index: np.ndarray,
    probability: np.ndarray,
    *,
    by: str,
    seed: int = 0,
    **options: Any,
) -> Repair:
    """Return a fitted repair.

    Parameters
    ----------
    index, probability
        The validation rows, and the model's class probabilities of them [rows, 2].
    options
        Those of the method's `fit`; None stands for what was not said.

    Raises
    ------
    UserError
        An unknown method, option or attribute, a task of more than two classes, or too few groups with rows.
    """
    if method not in METHODS:
        raise UserError(f"there is no mitigation {method!r}." + did_you_mean(method, METHODS))
    task = dataset.task
    if task.positive is None or len(task.classes) != 2:
        raise UserError(
            f"{method} repairs decisions between two classes; {task.target!r} has {len(task.classes)}"
            + ("." if len(task.classes) != 2 else " and none of them is called positive.")
        )
    if not len(index):
        raise UserError(f"{dataset.name!r} has no validation rows to fit a mitigation on.")
    attributes = parse_by(by)
    whole = keys_of_groups(dataset.attributes, attributes, repr(dataset.name))
    positive = task.classes.index(task.positive)
    given = {k: v for k, v in options.items() if v is not None}
    fitting = {"calibrated-equalized-odds": {"cost", "calibration"}, "thresholds": {"constraint"}}[method]
    if unknown := sorted(set(given) - fitting):
        raise UserError(f"{method} takes no {unknown[0]!r}; it takes {' and '.join(sorted(fitting))}.")
    fit: Any = {"calibrated-equalized-odds": calibrated_equalized_odds, "thresholds": thresholds}[method].fit
    found: Repair = fit(
        probability[:, positive].astype(np.float64),
        (dataset.labels[index] == positive).astype(np.int64),
        [whole[i] for i in index.tolist()],
        attributes,
        seed=seed,
        expected=sorted(set(whole)),
        **given,
    )
    return found
