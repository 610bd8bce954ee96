"""Training noise of the losses of a family over seeds: t intervals, sign-flip tests with their smallest p, g_z."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.result import SeedNoise
from fairpress.auditing.statistics.paired_seeds import hedges_g_z, seed_interval, sign_flip_test
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.verdicts.rules import Key
from fairpress.core.estimate import Estimate


def seed_noise(
    losses: Mapping[Key, Floats], confidence: float, adjust: Callable[[ArrayLike], Floats]
) -> dict[Key, list[SeedNoise | None]]:
    """Return the noise of training for each loss [groups, seeds] of a family; None where a group has no rows.

    A test is *undecidable* when the smallest p-value that S seeds allow, 2/2^S, would not reach 1 − confidence even if
    every test of the family attained it (STATISTICS: .25 at 3 seeds, .0625 at 5, .031 at 6, .0078 at 8).
    """
    keys = list(losses)
    if not keys:
        return {}
    stacked = np.concatenate([losses[k] for k in keys])
    complete = ~np.isnan(stacked).any(axis=1)
    filled = np.where(complete[:, None], stacked, 0.0)
    test = sign_flip_test(filled, np.random.default_rng(0))
    p = np.where(complete, test.p, np.nan)
    adjusted = adjust(p)
    best = adjust(np.full(int(complete.sum()), test.smallest))
    undecidable = bool(len(best) and best.min() > 1 - confidence)
    mean = seed_interval(filled)
    low, high = mean.interval(confidence)
    effect = hedges_g_z(filled, confidence)
    seeds = stacked.shape[1]
    noise: list[SeedNoise | None] = []
    for i in range(len(stacked)):
        if not complete[i]:
            noise.append(None)
            continue
        size = Estimate.not_estimable("all seeds agree", seeds)
        if np.isfinite(effect.value[i]):
            value, lower, upper = (float(x[i]) for x in (effect.value, effect.low, effect.high))
            size = Estimate(value, lower, upper, seeds, "hedges-g-z")
        noise.append(
            SeedNoise(
                Estimate(
                    float(mean.value[i]),
                    float(low[i]),
                    float(high[i]),
                    seeds,
                    "seeds-t",
                    float(p[i]),
                    float(adjusted[i]),
                ),
                float(test.smallest),
                undecidable,
                size,
            )
        )
    ends = np.cumsum([len(losses[k]) for k in keys])
    return {k: noise[end - len(losses[k]) : end] for k, end in zip(keys, ends, strict=True)}
