"""Models that have nothing to lose: they predict one class only, hardly ever predict one, or guess.

Such a model can hardly get worse, so that "no harm" would be true of it and mean nothing. The verdict of its comparison is
then *void*, unless a harm is demonstrated all the same (`comparing`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate

RARE_SHARE = 0.05
"""A class predicted in a smaller share of the rows that have it is nearly never predicted …"""

NEVER_SHARE = 0.01
"""… whatever the accuracy below this share; above it, only where never predicting the class would be as accurate."""

MIN_ROWS = 20
"""Rows with a class below which nothing is concluded from its being predicted rarely."""


@dataclass(frozen=True)
class DegenerateModel:
    """What is degenerate about a model; `void` where it empties the verdicts of comparisons with this model.

    `rare`: it nearly never predicts a class.
    """

    sentence: str
    void: bool
    rare: bool = False


def degenerate(
    evidence: GroupEstimator, model: str, margin: float, confidence: float
) -> DegenerateModel | None:
    """Return what is degenerate about one model by itself, or None.

    First match wins: it predicts one class only; some of its networks do (void from half of them on); it nearly never
    predicts a class (void for either of two, the positive one, or one that makes up more than the margin); it guesses: it is
    not shown to be right more often than the most frequent class would be, and its balanced accuracy is shown to be within
    the margin of chance.
    """
    cells = evidence.cells
    labels, predicted = (_class_weights(cells, codes) for codes in (cells.label, cells.predicted[model]))
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
    reference = np.minimum(labels, before)  # a baseline that predicts a class too often is no measure of it
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
        "which says nothing of fairness.",
        2 * constant >= len(by_seed),
    )


def _rarely_predicted(
    evidence: GroupEstimator, model: str, c: int, predicted: float, reference: float, confidence: float
) -> str | None:
    """Return the sentence where a class is predicted in too few rows, measured by the rows that should have it."""
    if predicted >= RARE_SHARE * reference:
        return None
    cells = evidence.cells
    chosen, right = cells.predicted[model] == c, cells.label == c
    if predicted >= NEVER_SHARE * reference:
        # Of a model that never predicts the class, these rows would be right the other way round.
        gain = np.where(chosen, np.where(right, 1.0, -1.0), 0.0)
        if _shown_above(_mean(evidence, gain, 1.0), 0.0, confidence):
            return None
    repeats = evidence.repeats
    labels = _class_weights(cells, cells.label)[c]
    return (
        f"{model} nearly never predicts {cells.classes[c]!r}: in {predicted / repeats:,.0f} rows, where {labels / repeats:,.0f} "
        "have it."
    )


def _near_chance(
    evidence: GroupEstimator, model: str, labels: Floats, margin: float, confidence: float
) -> DegenerateModel | None:
    """Return the sentence where a model is shown to be within the margin of guessing, and no better than one answer."""
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
        f"{model} does not tell the classes apart: its balanced accuracy is {float(balanced.value[0]):.3f}, that of "
        f"guessing {1 / n_classes:.3f}, and always predicting {cells.classes[most_frequent]!r} is right as often or more.",
        True,
    )


def _mean(evidence: GroupEstimator, values: Floats, reach: float) -> TEstimate:
    index = np.zeros(len(evidence.cells.label), dtype=np.int64)
    return evidence.mean(evidence.moments(values), index, 1, reach)


def _shown_above(x: TEstimate, bound: float, confidence: float) -> bool:
    return bool(x.p_above(bound)[0] < 1 - confidence)
