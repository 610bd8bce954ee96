"""The groups with enough rows to be judged. They depend on labels and groups alone, before any candidate exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fairpress.auditing.verdicts.rules import JUDGED_BINARY, JUDGED_MULTICLASS
from fairpress.auditing.verdicts.sample_size import rows_needed
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.attribute import Attribute
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import spelling
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.grouping import group_rows, keys_of_groups, parse_by
from fairpress.searching.bounds import OVERALL, JudgingPlan
from fairpress.searching.limits import GAPS, Limits

EXPECTED_FLIP_RATE = 0.01
MIN_ROWS_FOR_GAPS = 100


def min_rows_for(limits: Limits, confidence: float) -> int:
    """Return the rows that a group needs to be judged: no harm is demonstrated with 90 % power if 1 % of predictions flip.

    366 for a limit of two percentage points on the loss of a group. If only gaps are limited, 100: a difference of two rates
    then has a standard error of at most 7 points.
    """
    limit = limits.max_group_loss
    return MIN_ROWS_FOR_GAPS if limit is None else rows_needed(EXPECTED_FLIP_RATE, limit, confidence)


def attributes_of(by: Sequence[str], dataset: Dataset) -> tuple[str, ...]:
    """Return the requested attributes and intersections; age means age_group. Raises UserError for an unknown attribute."""
    attributes = []
    for text in by:
        names = [name if name in dataset.attributes else f"{name}_group" for name in parse_by(text)]
        for name, requested in zip(names, parse_by(text), strict=True):
            if name not in dataset.attributes:
                raise UserError(
                    f"{dataset.name!r} has no sensitive attribute {requested!r}."
                    + did_you_mean(requested, dataset.attributes)
                )
        attributes.append(str(Attribute(tuple(names))))
    if not attributes:
        raise UserError("name at least one sensitive attribute in `by=`, such as `by=['sex', 'race']`.")
    return tuple(dict.fromkeys(attributes))


def judging_plan(
    limits: Limits,
    by: tuple[str, ...],
    dataset: Dataset,
    judging: np.ndarray,
    min_rows: int,
    confidence: float,
) -> JudgingPlan:
    """Return the plan for these rows [judging]: every group of the development rows is judged, or listed as too small.

    Raises UserError if a limit is on groups and none has enough rows, or if it is on a gap and no two groups of an attribute
    have enough.
    """
    positive = dataset.task.positive
    metrics = JUDGED_BINARY if positive is not None else JUDGED_MULTICLASS
    required_metrics = dict.fromkeys(metrics if limits.max_group_loss is not None else ())
    gaps = [n for n in limits.on_rows() if "_gap" in n]
    for name in gaps:
        required_metrics |= dict.fromkeys(
            GAPS[name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")]
        )
    rows: dict[tuple[str, str], Mapping[str, float]] = {}
    too_few: list[tuple[str, str, float]] = []
    pooled: dict[tuple[str, str], tuple[str, frozenset[str]]] = {}
    development_rows = np.sort(np.concatenate(list(dataset.development().parts.values())))
    for attribute in by:
        for metric in required_metrics:
            denominators = _denominators(dataset, attribute, metric, judging, development_rows)
            eligible = {group: n for group, n in denominators.items() if n >= min_rows}
            small = {group: n for group, n in denominators.items() if n < min_rows}
            too_few += [(group, metric, n) for group, n in small.items()]
            if sum(small.values()) >= min_rows and len(small) > 1:
                pooled_name = f"the {len(small)} groups of {attribute} with too few rows, together"
                pooled[attribute, metric] = pooled_name, frozenset(small)
                eligible[pooled_name] = sum(small.values())
            rows[attribute, metric] = eligible
    rows[OVERALL, "accuracy"] = {group_name({}): float(len(judging))}
    if required_metrics and not any(
        group_counts for (attribute, _), group_counts in rows.items() if attribute
    ):
        raise UserError(
            f"no group of {', '.join(by)} has {min_rows:,} of the {len(judging):,} judging rows, so no limit could be "
            "demonstrated for any group; add validation rows, or lower `least_rows=`."
        )
    for name in gaps:
        for metric in GAPS[name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")]:
            if all(_comparable(rows, pooled, attribute, metric) < 2 for attribute in by):
                raise UserError(
                    f"{name} compares groups, and no two of {', '.join(by)} have {min_rows} rows for the "
                    f"{metric.replace('_', ' ')}; add validation rows, or lower `least_rows=`."
                )
    return JudgingPlan(limits.on_rows(), by, metrics, confidence, rows, tuple(too_few), pooled)


def _comparable(
    rows: Mapping[tuple[str, str], Mapping[str, float]],
    pooled: Mapping[tuple[str, str], object],
    attribute: str,
    metric: str,
) -> int:
    """Return the number of groups that a gap is taken over; pooled small groups do not count as one."""
    return len(rows[attribute, metric]) - ((attribute, metric) in pooled)


def _denominators(
    dataset: Dataset, attribute: str, metric: str, judging: np.ndarray, development_rows: np.ndarray
) -> dict[str, float]:
    """Return group → number of rows in the denominator of a rate; 0 for a group without rows in this part."""
    names = Attribute.from_text(attribute).names

    def groups(index: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
        values = {n: dataset.attributes[n][index] for n in names}
        return {k: index[v] for k, v in group_rows(keys_of_groups(values, names, repr(dataset.name))).items()}

    group_index, positive = groups(judging), dataset.task.positive
    denominators = {}
    for key in groups(development_rows):
        labels = dataset.labels[group_index.get(key, np.array([], dtype=np.int64))]
        if metric in ("tpr", "fpr") and positive is not None:
            is_positive = labels == dataset.task.classes.index(positive)
            labels = labels[is_positive if metric == "tpr" else ~is_positive]
        texts = (str(spelling(value)) for value in key)
        denominators[group_name(dict(zip(names, texts, strict=True)))] = float(len(labels))
    return denominators
