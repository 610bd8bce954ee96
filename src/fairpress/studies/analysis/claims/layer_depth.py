"""Claims about the sensitivity of layers to rounding by depth, from the cards of mixed-precision files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.auditing.statistics.paired_seeds import seed_interval
from fairpress.auditing.statistics.t_estimate import t_tail
from fairpress.core.estimate import Estimate
from fairpress.studies.analysis.claims.effect import MeasuredEffect, decided, effect_over_networks
from fairpress.studies.planning.claim_trials import ClaimTrials

WIDTHS = ("2", "4", "8")
MIN_LAYERS = 4


def depth_correlation(sensitivity: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return Spearman's correlation of a layer's depth with the effect of rounding it alone to the lowest bit width.

    Layers are sorted by depth, not in the order of the table, since files sort names. None if there are fewer than four
    layers or all have the same effect.
    """
    from scipy.stats import rankdata

    rows = sorted(sensitivity.values(), key=lambda row: int(row["depth"]))
    harm = [next((float(row[w]) for w in WIDTHS if w in row), None) for row in rows]
    values = [h for h in harm if h is not None]
    if len(values) < max(MIN_LAYERS, len(harm)) or len(set(values)) == 1:
        return None
    return float(np.corrcoef(np.arange(len(values)), rankdata(values))[0, 1])


def measure_layers(
    trials: ClaimTrials, facts: Mapping[str, Iterable[Mapping[str, Any]]], than: float, confidence: float
) -> MeasuredEffect:
    """Return the mean correlation over networks; only seeds and architectures are random, no rows are read.

    `facts` maps the label of a part to the facts of each network's file.
    """
    series, networks = [], 0
    for part, recipe in trials.effect:
        recipe_facts = [f for f in facts[part] if f["recipe"] == recipe]
        seeds = sorted({f["seed"] for f in recipe_facts})
        correlations = [_mean([f for f in recipe_facts if f["seed"] == s]) for s in seeds]
        if not correlations or None in correlations:
            reason = f"the cards of {recipe} contain no sensitivity of layers; use mixed(budget=…)"
            return MeasuredEffect(Estimate.not_estimable(reason))
        series.append(np.array(correlations, float))
        networks += len(recipe_facts)
    count = min(map(len, series))
    values = np.stack([s[:count] for s in series])
    mean = float(values.mean())
    per_seed = len(values)
    p, smallest, size = effect_over_networks(values.ravel(), than, count, confidence)
    measured = MeasuredEffect(
        Estimate(mean, n=networks), None, 1.0, per_seed, size, mean > than, count, networks
    )
    if p is None:
        return measured
    across_seeds = seed_interval(values.mean(axis=0))
    low, high = (float(b) for b in across_seeds.interval(confidence))
    se = float(across_seeds.se)
    t_p_value = 2 * float(t_tail(count - 1, abs(mean - than) / se)) if se else float(mean == than)
    estimate = Estimate(mean, max(-1.0, low), min(1.0, high), networks, "seeds-t")
    return decided(replace(measured, effect=estimate), min(1.0, t_p_value), "seeds", p, smallest)


def _mean(facts: Sequence[Mapping[str, Any]]) -> float | None:
    tables = [f["provenance"].get("details", {}).get("sensitivity") for f in facts]
    correlations = [depth_correlation(t) for t in tables if t]
    estimable = [f for f in correlations if f is not None]
    return float(np.mean(estimable)) if estimable and len(estimable) == len(facts) else None
