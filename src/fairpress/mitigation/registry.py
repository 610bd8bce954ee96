"""Fit a mitigation method, selected by name, to a model's scores on validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output_kind import DESCRIPTIONS
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
    """Return a fitted mitigation.

    Parameters
    ----------
    index, probability
        Indices of the validation rows [rows], and the model's class probabilities for them [rows, 2].
    options
        Options of the method's `fit`; None means the default.

    Raises
    ------
    UserError
        An unknown method, option or attribute, a task of more than two classes, or too few groups with enough rows.
    """
    if method not in METHODS:
        raise UserError(f"there is no mitigation {method!r}." + did_you_mean(method, METHODS))
    task = dataset.task
    if task.positive is None or len(task.classes) != 2:
        raise UserError(
            f"{method} mitigates decisions between two classes; {task.target!r} "
            + (
                f"is {DESCRIPTIONS[task.outputs]}"
                if task.outputs != "classes"
                else f"has {len(task.classes)}"
            )
            + ("." if len(task.classes) != 2 else " and neither is declared the positive class.")
        )
    if not len(index):
        raise UserError(f"{dataset.name!r} has no validation rows to fit a mitigation on.")
    attributes = parse_by(by)
    keys = keys_of_groups(dataset.attributes, attributes, repr(dataset.name))
    positive = task.classes.index(task.positive)
    given_options = {k: v for k, v in options.items() if v is not None}
    valid_options = {"calibrated-equalized-odds": {"cost", "calibration"}, "thresholds": {"constraint"}}[
        method
    ]
    if unknown := sorted(set(given_options) - valid_options):
        raise UserError(
            f"{method} does not take `{unknown[0]}=`; it takes {' and '.join(f'`{o}=`' for o in sorted(valid_options))}."
        )
    fit: Any = {"calibrated-equalized-odds": calibrated_equalized_odds, "thresholds": thresholds}[method].fit
    repair: Repair = fit(
        probability[:, positive].astype(np.float64),
        (dataset.labels[index] == positive).astype(np.int64),
        [keys[i] for i in index.tolist()],
        attributes,
        seed=seed,
        expected=sorted(set(keys)),
        **given_options,
    )
    return repair
