"""Groups whose classes are distributed differently in training and in test rows, as official parts may have them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.datasets.checks.warning import DatasetWarning
from fairpress.datasets.dataset import Dataset

MIN_ROWS = 50  # of a group in each of the two parts
MIN_DISTANCE = 0.1  # total variation distance of the shares of classes
CHANCE = 1e-4  # of such a difference where the parts are drawn at random


def check_shifted_rates(data: Dataset) -> Iterator[DatasetWarning]:
    """Yield the attributes of which some group has other base rates in the test part (chi-squared test)."""
    from scipy.stats import chi2_contingency

    train, test = data.parts["train"], data.parts["test"]
    classes = len(data.task.classes)
    for name, groups in data.attributes.items():
        shifted = []
        for group in np.unique(groups[test]).tolist():
            counts = np.stack(
                [
                    np.bincount(data.labels[rows[groups[rows] == group]], minlength=classes)
                    for rows in (train, test)
                ]
            )
            if (counts.sum(axis=1) < MIN_ROWS).any():
                continue
            shares = counts / counts.sum(axis=1, keepdims=True)
            distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
            if distance < MIN_DISTANCE or chi2_contingency(counts[:, counts.any(axis=0)]).pvalue > CHANCE:
                continue
            most = int(np.abs(shares[0] - shares[1]).argmax())
            before, after = shares[:, most]
            rates = f"{data.task.classes[most]} {before:.0%} in training, {after:.0%} in test"
            shifted.append((distance, f"{group} ({rates})"))
        if shifted:
            listed = ", ".join(text for _, text in sorted(shifted, reverse=True)[:6])
            yield DatasetWarning(
                "shifted_rates",
                name,
                len(shifted),
                f"by {name!r}, the classes are distributed differently in training and in test rows: {listed}. Part of what "
                "such a group loses is this shift; a split that is drawn (`folds`, `test_share`) does not have it.",
            )
