"""Claims about layers: how sensitive each is to rounding, by its depth; read from the cards of mixed-precision files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fairpress.auditing.statistics.paired_seeds import seed_interval
from fairpress.auditing.statistics.t_estimate import t_tail
from fairpress.core.estimate import Estimate
from fairpress.studies.analysis.claims.effect import MeasuredEffect, effect_over_networks
from fairpress.studies.planning.claim_trials import ClaimTrials

WIDTHS = ("2", "4", "8")
MIN_LAYERS = 4


def depth_correlation(sensitivity: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return Spearman's correlation of a layer's depth with what rounding it alone to the fewest bits does to answers.

    The order of the table says nothing: files sort names. None where there are fewer than four layers or all do the same.
    """
    from scipy.stats import rankdata

    rows = sorted(sensitivity.values(), key=lambda row: int(row["depth"]))
    harm = [next((float(row[w]) for w in WIDTHS if w in row), None) for row in rows]
    known = [h for h in harm if h is not None]
    if len(known) < max(MIN_LAYERS, len(harm)) or len(set(known)) == 1:
        return None
    return float(np.corrcoef(np.arange(len(known)), rankdata(known))[0, 1])


def measure_layers(
    found: ClaimTrials, facts: Mapping[str, Iterable[Mapping[str, Any]]], than: float, confidence: float
) -> MeasuredEffect:
    """Return the mean correlation over networks; seeds and architectures are all that is random, no rows are read.

    `facts` goes from the label of a part to what is known of each network's file.
    """
    series, networks = [], 0
    for part, recipe in found.effect:
        own = [f for f in facts[part] if f["recipe"] == recipe]
        seeds = sorted({f["seed"] for f in own})
        told = [_mean([f for f in own if f["seed"] == s]) for s in seeds]
        if not told or None in told:
            reason = f"{recipe} does not tell how sensitive its layers are; mixed(budget=…) does"
            return MeasuredEffect(Estimate.not_estimable(reason))
        series.append(np.array(told, float))
        networks += len(own)
    count = min(map(len, series))
    values = np.stack([s[:count] for s in series])
    mean = float(values.mean())
    per_seed = len(values)
    p, smallest, size = effect_over_networks(values.ravel(), than, count, confidence)
    if p is None:
        return MeasuredEffect(
            Estimate(mean, n=networks), None, smallest, per_seed, size, mean > than, count, networks
        )
    over = seed_interval(values.mean(axis=0))
    low, high = (float(b) for b in over.interval(confidence))
    se = float(over.se)
    ordinary = 2 * float(t_tail(count - 1, abs(mean - than) / se)) if se else float(mean == than)
    estimate = Estimate(mean, max(-1.0, low), min(1.0, high), networks, "seeds-t")
    return MeasuredEffect(
        estimate, max(p, min(1.0, ordinary)), smallest, per_seed, size, mean > than, count, networks
    )


def _mean(facts: Sequence[Mapping[str, Any]]) -> float | None:
    tables = [f["provenance"].get("details", {}).get("sensitivity") for f in facts]
    found = [depth_correlation(t) for t in tables if t]
    known = [f for f in found if f is not None]
    return float(np.mean(known)) if known and len(known) == len(facts) else None
