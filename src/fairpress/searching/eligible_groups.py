"""Who can be judged: groups with the rows for it. Fixed by labels and groups alone, before any candidate exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fairpress.auditing.verdicts.rules import JUDGED_BINARY, JUDGED_MULTICLASS
from fairpress.auditing.verdicts.sample_size import rows_needed
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import spelling
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.grouping import group_rows, keys_of_groups, parse_by
from fairpress.searching.bounds import EVERYBODY, JudgingPlan
from fairpress.searching.limits import GAPS, Limits

FLIPS = 0.01
WITHOUT_LOSSES = 100


def min_rows_for(limits: Limits, confidence: float) -> int:
    """Return the rows a group needs to be judged: those that show no harm, at 90 % power, if 1 % of the answers flip.

    366 at a limit of two points on a group's loss. Where only gaps are limited 100: then a difference of two rates has a
    standard error of at most 7 points.
    """
    limit = limits.max_group_loss
    return WITHOUT_LOSSES if limit is None else rows_needed(FLIPS, limit, confidence)


def attributes_of(by: Sequence[str], dataset: Dataset) -> tuple[str, ...]:
    """Return the attributes and intersections meant; age stands for age_group. Raises UserError for an unknown one."""
    found = []
    for text in by:
        names = [name if name in dataset.attributes else f"{name}_group" for name in parse_by(text)]
        for name, said in zip(names, parse_by(text), strict=True):
            if name not in dataset.attributes:
                raise UserError(
                    f"{dataset.name!r} has no sensitive attribute {said!r}."
                    + did_you_mean(said, dataset.attributes)
                )
        found.append("*".join(names))
    if not found:
        raise UserError("name at least one sensitive attribute with --by, such as --by sex,race.")
    return tuple(dict.fromkeys(found))


def judging_plan(
    limits: Limits,
    by: tuple[str, ...],
    dataset: Dataset,
    judging: np.ndarray,
    least: int,
    confidence: float,
) -> JudgingPlan:
    """Return what is judged on these rows [judging]: every group of the development rows is judged, or named as too small.

    Raises UserError where a limit concerns groups and none, or for a gap no two of an attribute, have the rows.
    """
    positive = dataset.task.positive
    metrics = JUDGED_BINARY if positive is not None else JUDGED_MULTICLASS
    wanted = dict.fromkeys(metrics if limits.max_group_loss is not None else ())
    gaps = [n for n in limits.on_rows() if "_gap" in n]
    for name in gaps:
        wanted |= dict.fromkeys(GAPS[name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")])
    rows: dict[tuple[str, str], Mapping[str, float]] = {}
    too_few: list[tuple[str, str, float]] = []
    together: dict[tuple[str, str], tuple[str, frozenset[str]]] = {}
    known = np.sort(np.concatenate(list(dataset.development().parts.values())))
    for attribute in by:
        for metric in wanted:
            counted = _counted(dataset, attribute, metric, judging, known)
            enough = {who: n for who, n in counted.items() if n >= least}
            small = {who: n for who, n in counted.items() if n < least}
            too_few += [(who, metric, n) for who, n in small.items()]
            if sum(small.values()) >= least and len(small) > 1:
                called = f"the {len(small)} groups of {attribute} with too few rows, together"
                together[attribute, metric] = called, frozenset(small)
                enough[called] = sum(small.values())
            rows[attribute, metric] = enough
    rows[EVERYBODY, "accuracy"] = {group_name({}): float(len(judging))}
    if wanted and not any(found for (attribute, _), found in rows.items() if attribute):
        raise UserError(
            f"no group of {', '.join(by)} has {least:,} of the {len(judging):,} judging rows, so nothing could be shown of "
            "any; bring more validation rows, or lower --least-rows."
        )
    for name in gaps:
        for metric in GAPS[name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")]:
            if all(_comparable(rows, together, attribute, metric) < 2 for attribute in by):
                raise UserError(
                    f"{name} compares groups, and no two of {', '.join(by)} have {least} rows for the "
                    f"{metric.replace('_', ' ')}; bring more validation rows, or lower --least-rows."
                )
    return JudgingPlan(limits.on_rows(), by, metrics, confidence, rows, tuple(too_few), together)


def _comparable(
    rows: Mapping[tuple[str, str], Mapping[str, float]],
    together: Mapping[tuple[str, str], object],
    attribute: str,
    metric: str,
) -> int:
    """Return how many groups of an attribute a gap is taken over: those put together are no group."""
    return len(rows[attribute, metric]) - ((attribute, metric) in together)


def _counted(
    dataset: Dataset, attribute: str, metric: str, judging: np.ndarray, known: np.ndarray
) -> dict[str, float]:
    """Return group → rows of a rate's denominator; 0 for a group that is in the data and not among these rows."""
    names = attribute.split("*")

    def groups(index: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
        values = {n: dataset.attributes[n][index] for n in names}
        return {k: index[v] for k, v in group_rows(keys_of_groups(values, names, repr(dataset.name))).items()}

    here, positive = groups(judging), dataset.task.positive
    found = {}
    for key in groups(known):
        labels = dataset.labels[here.get(key, np.array([], dtype=np.int64))]
        if metric in ("tpr", "fpr") and positive is not None:
            yes = labels == dataset.task.classes.index(positive)
            labels = labels[yes if metric == "tpr" else ~yes]
        texts = (str(spelling(value)) for value in key)
        found[group_name(dict(zip(names, texts, strict=True)))] = float(len(labels))
    return found
