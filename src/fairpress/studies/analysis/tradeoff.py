"""Size, accuracy and bias of every recipe, compared with baseline, placebo and accuracy-matched dense networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.auditing.statistics.pairwise_bias_change import bias_change
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts, crossed_contrasts
from fairpress.core.estimate import Estimate
from fairpress.reporting.tradeoff_result import DenseControl, ModelTradeoff, TradeoffResult, is_control
from fairpress.studies.analysis.prediction_arrays import PredictionArrays
from fairpress.studies.config.network_facts import NetworkFacts, parse_facts
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.config.store_files import MODELS, read_entry, read_table
from fairpress.studies.planning.plan import StudyTask

if TYPE_CHECKING:
    import pyarrow as pa

    from fairpress.store.local import Store

TRADEOFF = "tradeoff.json"
CHECKPOINT = "checkpoint"


def tradeoff(store: Store, task: StudyTask) -> dict[str, bytes]:
    """Return the content of the section "Size, accuracy, bias", as `TRADEOFF`.

    For every model: bytes, gzipped bytes, sparsity, accuracy, number of networks and of those that predict a single
    class, the bias of each attribute's groups, and its change relative to the baseline, the placebo and the
    accuracy-matched control.

    The accuracy-matched control (`match`) is selected on validation rows and measured on test rows, with the same people
    and seeds as the model it is compared with.
    """
    entry = read_entry(store, task.inputs[0])
    comparison = compare(read_table(entry), parse_facts(entry.files[MODELS]), task.params)
    return {TRADEOFF: json.dumps(comparison.to_dict(), allow_nan=False, indent=1).encode()}


def compare(table: pa.Table, facts: Sequence[NetworkFacts], params: Mapping[str, Any]) -> TradeoffResult:
    """Return the comparison of all models in a table of stacked seeds; `facts` describe every network."""
    models = [m for m in dict.fromkeys(f.recipe for f in facts) if m in table.column_names]
    stacked = PredictionArrays(table, models, params["positive"], params["repeated"])
    fold = stacked.column("fold")
    confidence = params["confidence"]
    overall = stacked.overall_products()
    facts_of = {m: [f for f in facts if f.recipe == m] for m in models}
    validation = {m: v for m in models if (v := _validation_accuracy(facts_of[m])) is not None}
    curve = sorted((a, m) for m, a in validation.items() if m == BASELINE or m.startswith(CHECKPOINT))
    controls = {
        m: match(validation[m], curve)
        for m in models
        if m in validation and m != BASELINE and not is_control(m) and len(curve) > 1
    }
    sizes: dict[str, dict[str, int]] = {}
    used: dict[str, tuple[str, ...]] = {}
    unit = {m: np.eye(len(models))[i] for i, m in enumerate(models)}
    mixed = {
        m: (1 - c.weight) * unit[c.below] + c.weight * unit[c.above]
        for m, c in controls.items()
        if c.weight is not None and c.below is not None and c.above is not None
    }
    bias_sums: dict[str, tuple[CrossedProducts, bool]] = {}
    for attribute in params["by"]:
        names, index = stacked.groups(attribute)
        groups = stacked.compared_groups(attribute, params["groups"].get(attribute))
        sizes[attribute] = {str(n): int((index == i).sum()) for i, n in enumerate(names)}
        used[attribute] = tuple(groups)
        bias_sums[attribute] = stacked.bias_products(attribute, groups)

    def bias(after: np.ndarray, before: np.ndarray | None = None) -> dict[str, Estimate]:
        return {
            a: _with_interval(
                bias_change(sums, after.tolist(), None if before is None else before.tolist(), confidence),
                has_interval,
            )
            for a, (sums, has_interval) in bias_sums.items()
        }

    def measured_control(model: str) -> DenseControl | None:
        if model not in mixed:
            return controls.get(model)
        return replace(
            controls[model],
            bias=bias(mixed[model]),
            change=bias(unit[model], mixed[model]),
            accuracy_difference=_rate(overall, unit[model] - mixed[model], confidence),
        )

    results = []
    for i, m in enumerate(models):
        placebo = params["placebo_of"].get(m)
        sparsity = [s for f in facts_of[m] if (s := f.details.get("sparsity")) is not None]
        results.append(
            ModelTradeoff(
                model=m,
                placebo=placebo,
                bytes=float(np.mean([f.bytes for f in facts_of[m]])),
                gzip_bytes=float(np.mean([f.gzip_bytes for f in facts_of[m]])),
                sparsity=float(np.mean(sparsity)) if sparsity else None,
                validation_accuracy=validation.get(m),
                accuracy=_rate(overall, unit[m], confidence),
                networks=len(facts_of[m]),
                constant=_n_constant(stacked.predicted[i], np.repeat(stacked.seeds, stacked.rows), fold),
                bias=bias(unit[m]),
                against_baseline=None if m == BASELINE else bias(unit[m], unit[BASELINE]),
                accuracy_against_baseline=None
                if m == BASELINE
                else _rate(overall, unit[m] - unit[BASELINE], confidence),
                against_placebo=bias(unit[m], unit[placebo]) if placebo in unit else None,
                control=measured_control(m),
            )
        )
    return TradeoffResult(tuple(results), sizes, used, len(stacked.seeds), stacked.rows)


def match(accuracy: float, curve: Sequence[tuple[float, str]]) -> DenseControl:
    """Return the two dense networks that enclose a model's mean validation accuracy, and the weight of the upper.

    `curve` is a sorted list of (mean validation accuracy, model) of the checkpoints and the baseline. One match serves all
    seeds: the accuracy of a single network on some hundred validation rows is more uncertain than the difference between
    epochs, so matching per seed would match noise. The control predicts like the upper network with probability `weight`,
    else like the lower: its rates are the mixture of theirs. A model above the curve is compared with the most accurate
    dense network (`side`); below the earliest checkpoint there is no control, for the `reason` given. Test rows are never
    used for matching.
    """
    if accuracy < curve[0][0]:
        reason = f"less accurate on validation rows than the earliest checkpoint ({curve[0][1]})"
        return DenseControl(side="below", reason=reason)
    if accuracy > curve[-1][0]:
        return DenseControl(curve[-2][1], curve[-1][1], 1.0, "above")
    for (low, below), (high, above) in pairwise(curve):
        if low <= accuracy <= high:
            weight = (accuracy - low) / (high - low) if high > low else 1.0
            return DenseControl(below, above, weight)
    raise AssertionError("a sorted curve encloses every value between its ends")


def _rate(overall: tuple[CrossedProducts, bool], weights: np.ndarray, confidence: float) -> Estimate:
    sums, has_interval = overall
    contrasts = crossed_contrasts(sums, weights[None, None, :])
    low, high = (float(b[0]) for b in contrasts.interval(confidence))
    value = float(contrasts.value[0])
    estimate = Estimate(value, min(low, value), max(high, value), float(contrasts.n[0]), contrasts.method)
    return _with_interval(estimate, has_interval)


def _with_interval(estimate: Estimate, has_interval: bool) -> Estimate:
    """Return an estimate, without its interval if that is not valid."""
    return estimate if has_interval or estimate.value is None else Estimate(estimate.value, n=estimate.n)


def _validation_accuracy(facts: Sequence[NetworkFacts]) -> float | None:
    """Return the mean accuracy of a model's files on validation rows; None if a card does not contain it."""
    accuracies = [a for f in facts if (a := f.validation_accuracy) is not None]
    return float(np.mean(accuracies)) if facts and len(accuracies) == len(facts) else None


def _n_constant(predicted: np.ndarray, seed: np.ndarray, fold: np.ndarray) -> int:
    """Return the number of networks that predict a single class for all rows."""
    return sum(
        len(np.unique(predicted[(seed == s) & (fold == f)])) == 1
        for s in np.unique(seed)
        for f in np.unique(fold)
    )
