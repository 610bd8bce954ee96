"""Recall of every class as judged metrics: their names, the rows that they are about, and the classes that are rare.

The recall of a class is the share of its rows that are predicted right, within the label, so that the flips of one class
say nothing about another. Its loss is a rise of the class's error rate. Classes with too few rows to be assessed are also
judged together, as `RARE_CLASSES`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RECALL = "recall"
"""The name by which users ask for the recall of every class."""
RARE_CLASSES = "recall-of-rare-classes"
_PREFIX = "recall:"


def class_metric(name: str) -> str:
    """Return the metric of a class: ``recall:cat``."""
    return _PREFIX + name


def is_class_metric(metric: str) -> bool:
    """Return whether a metric is the recall of a class, or of the rare classes together."""
    return metric == RARE_CLASSES or metric.startswith(_PREFIX)


def margin_key(metric: str) -> str:
    """Return the metric under which an audit has the margin and rows of a metric: all classes share theirs."""
    return RECALL if is_class_metric(metric) else metric


def class_of(metric: str) -> str | None:
    """Return the class that a metric is about; None for the rare classes together."""
    return metric.removeprefix(_PREFIX) if metric.startswith(_PREFIX) else None


def class_name(metric: str) -> str:
    """Return the name of the class of a metric in reports."""
    one = class_of(metric)
    return "rare classes together" if one is None else one


def rows_of_class(metric: str, label: np.ndarray, classes: Sequence[str], rare: Sequence[str]) -> np.ndarray:
    """Return where a row belongs to the metric's class, or to one of the rare ones [combinations]."""
    one = class_of(metric)
    members = rare if one is None else (one,)
    return np.asarray(np.isin(label, [classes.index(c) for c in members]))


def rare_classes(sizes: np.ndarray, classes: Sequence[str], min_rows: float) -> tuple[str, ...]:
    """Return the classes that are judged together besides: those with rows, but too few to be assessed even over all groups.

    Empty if there are fewer than two, if together they have too few rows, or if no class has enough: together they would
    then be everybody.

    Parameters
    ----------
    sizes
        (Effective) rows with each class as their label [classes].
    """
    present, enough = sizes > 0, sizes >= min_rows
    rare = np.flatnonzero(present & ~enough)
    if len(rare) < 2 or float(sizes[rare].sum()) < min_rows or not enough.any():
        return ()
    return tuple(classes[int(i)] for i in rare)
