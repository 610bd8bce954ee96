"""Degenerate models: they predict one class only, nearly never predict a class, or guess.

Such a model can hardly get worse, so "no harm" would be true but meaningless. The verdict of its comparison is
then *void*, unless a harm is demonstrated nevertheless (`comparison`).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.core.attribute import OVERALL

RARE_SHARE = 0.05
"""A class predicted in a smaller share of the rows that have it is nearly never predicted …"""

NEVER_SHARE = 0.01
"""… whatever the accuracy below this share; above it, only where never predicting the class would be as accurate."""

MIN_ROWS = 20
"""Minimum number of rows with a class for concluding that it is predicted too rarely."""


@dataclass(frozen=True)
class DegenerateModel:
    """Why a model is degenerate; `void` if comparisons with this model are meaningless.

    `rare`: the model nearly never predicts some class.
    """

    sentence: str
    void: bool
    rare: bool = False


def degenerate(
    evidence: GroupEstimator, model: str, margin: float, confidence: float
) -> DegenerateModel | None:
    """Return why a single model is degenerate, or None.

    The first match counts: the model predicts one class only; some of its networks do (void if at least half of them do); it
    nearly never predicts a class (void if there are two classes, if the class is the positive one, or if its share exceeds
    the margin); it guesses, that is, it is not demonstrably more accurate than always predicting the most frequent class,
    and its balanced accuracy is demonstrably within the margin of chance.
    """
    known = _KNOWN.setdefault(evidence, {})
    key = model, margin, confidence
    if key not in known:  # the baseline is asked for with each compressed model
        known[key] = _degenerate(evidence, model, margin, confidence)
    return known[key]


_KNOWN: WeakKeyDictionary[GroupEstimator, dict[tuple[str, float, float], DegenerateModel | None]] = (
    WeakKeyDictionary()
)


def _degenerate(
    evidence: GroupEstimator, model: str, margin: float, confidence: float
) -> DegenerateModel | None:
    cells = evidence.cells
    labels, predicted = (_class_weights(cells, codes) for codes in (cells.label, cells.predicted[model]))
    if (labels > 0).sum() == 1:  # right or wrong: a model that is always right is none of these
        right = predicted[int(labels.argmax())] > 0
        return None if right else DegenerateModel(f"{model} is never right: it has nothing to lose.", True)
    if (predicted > 0).sum() == 1:
        only = cells.classes[int(predicted.argmax())]
        return DegenerateModel(f"{model} predicts one class only ({only}): its gaps of 0 say nothing.", True)
    constant = _constant_networks(evidence, model)
    if constant is not None:
        return constant
    total = labels.sum()
    for c in np.flatnonzero(labels >= MIN_ROWS * evidence.repeats):
        sentence = _rarely_predicted(evidence, model, int(c), predicted[c], labels[c], confidence)
        if sentence is not None:
            single = len(cells.classes) == 2 or cells.classes[c] == cells.positive
            return DegenerateModel(sentence, single or bool(labels[c] / total >= margin), rare=True)
    return _near_chance(evidence, model, labels, margin, confidence)


def lost_class(evidence: GroupEstimator, baseline: str, model: str, confidence: float) -> str | None:
    """Return the sentence on a class that the baseline predicts and the compressed model nearly never does, or None."""
    cells = evidence.cells
    labels, before, after = (
        _class_weights(cells, codes)
        for codes in (cells.label, cells.predicted[baseline], cells.predicted[model])
    )
    reference = np.minimum(
        labels, before
    )  # a baseline that predicts a class too often is not a reference for it
    for c in np.flatnonzero(reference >= MIN_ROWS * evidence.repeats):
        if _rarely_predicted(evidence, model, int(c), after[c], reference[c], confidence) is not None:
            repeats = evidence.repeats
            return (
                f"{model} has lost the class {cells.classes[c]!r}: it predicts it in {after[c] / repeats:,.0f} rows, "
                f"{baseline} in {before[c] / repeats:,.0f}, and {labels[c] / repeats:,.0f} have it."
            )
    return None


def _class_weights(cells: Cells, codes: np.ndarray) -> Floats:
    return per_group(cells.weight, codes, len(cells.classes))


def _constant_networks(evidence: GroupEstimator, model: str) -> DegenerateModel | None:
    if not isinstance(evidence, SeedGroupEstimator):
        return None
    by_seed = evidence.by_seed(evidence.cells.predicted[model])
    constant = int((by_seed == by_seed[:, :1]).all(axis=1).sum())
    if not constant:
        return None
    return DegenerateModel(
        f"{constant} of the {len(by_seed)} networks of {model} predict one class only; they pull its gaps towards 0, "
        "which is not evidence of fairness.",
        2 * constant >= len(by_seed),
    )


def _rarely_predicted(
    evidence: GroupEstimator, model: str, c: int, predicted: float, reference: float, confidence: float
) -> str | None:
    """Return a sentence if a class is predicted in too few rows, relative to a reference count; else None."""
    if predicted >= RARE_SHARE * reference:
        return None
    cells = evidence.cells
    chosen, right = cells.predicted[model] == c, cells.label == c
    if predicted >= NEVER_SHARE * reference:
        # The gain in correct rows over a model that never predicts the class.
        gain = np.where(chosen, np.where(right, 1.0, -1.0), 0.0)
        if _shown_above(_mean(evidence, gain, 1.0), 0.0, confidence):
            return None
    repeats = evidence.repeats
    labels = _class_weights(cells, cells.label)[c]
    return (
        f"{model} nearly never predicts {cells.classes[c]!r}: in {predicted / repeats:,.0f} rows, where "
        f"{labels / repeats:,.0f} have it."
    )


def _near_chance(
    evidence: GroupEstimator, model: str, labels: Floats, margin: float, confidence: float
) -> DegenerateModel | None:
    """Return why a model is not better than a constant prediction and within the margin of guessing, or None."""
    cells = evidence.cells
    most_frequent = int(labels.argmax())
    correct = np.asarray(cells.correct(model), dtype=float)
    lead = _mean(evidence, correct - (cells.label == most_frequent), 1.0)
    if not lead.estimable[0] or _shown_above(lead, 0.0, confidence):
        return None
    n_classes = int((labels > 0).sum())
    scale = labels.sum() / (n_classes * np.where(labels > 0, labels, 1.0))
    # The mean of the classes' recalls, as a mean over rows.
    balanced = _mean(evidence, correct * scale[cells.label], 0.0)
    if not balanced.estimable[0] or float(balanced.upper(confidence)[0]) >= 1 / n_classes + margin:
        return None
    return DegenerateModel(
        f"{model} does not distinguish the classes: its balanced accuracy is {float(balanced.value[0]):.3f}, that of "
        f"guessing {1 / n_classes:.3f}, and always predicting {cells.classes[most_frequent]!r} is right as often or more.",
        True,
    )


def _mean(evidence: GroupEstimator, values: Floats, reach: float) -> TEstimate:
    return evidence.mean(evidence.moments(values), evidence.cells.grouping(OVERALL), reach)


def _shown_above(x: TEstimate, bound: float, confidence: float) -> bool:
    return bool(x.p_above(bound)[0] < 1 - confidence)
