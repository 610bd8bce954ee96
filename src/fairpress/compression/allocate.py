"""Choose a width for every layer: least harm within a budget of bytes, a mixed-integer linear program."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def allocate(
    harm: Mapping[str, Mapping[int, float]], cost: Mapping[str, Mapping[int, int]], budget: int
) -> dict[str, int] | None:
    """Return layer → width, minimising Σ harm[layer][width] subject to Σ cost[layer][width] ≤ budget; None if none fits.

    Harms are taken to add up, which fails for coarse widths: measure what was chosen. Among choices of equal harm the
    cheaper is taken, by a weight on bytes that is too small to outweigh any other difference. Solved by HiGHS
    (`scipy.optimize.milp`).
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(layer, width) for layer in harm for width in harm[layer]]
    values = np.array([harm[layer][width] for layer, width in pairs])
    bytes_ = np.array([cost[layer][width] for layer, width in pairs], dtype=float)
    scale = max(float(values.max()), 1e-30)
    layers = list(harm)
    one_each = np.array([[float(layer == own) for layer, _ in pairs] for own in layers])
    found = milp(
        values / scale + 1e-9 * bytes_ / max(float(bytes_.max()), 1.0),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(bytes_[None], -np.inf, budget)],
        integrality=np.ones(len(pairs)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return {layer: width for (layer, width), x in zip(pairs, found.x, strict=True) if x > 0.5}
