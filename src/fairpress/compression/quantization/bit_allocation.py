"""Choose a bit width for every layer: least harm within a budget of bytes, by a mixed-integer linear program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Harm = Mapping[str, Mapping[int, float]]
MEAN_WEIGHT = 1e-3  # of the mean harm relative to the worst group's, to choose between equally good solutions


def allocate(
    harm: Harm, cost: Mapping[str, Mapping[int, int]], budget: int, groups: Sequence[Harm] = ()
) -> dict[str, int] | None:
    """Return layer → bit width of least harm subject to Σ cost[layer][width] ≤ budget; None if none fits.

    The harm of a choice is Σ harm[layer][width]; with `groups`, the largest Σ groups[g][layer][width], plus a thousandth of
    the harm over all rows. Harms are assumed to be additive, which fails for low bit widths: measure the chosen
    allocation. Among choices of equal harm the smallest is taken, by a weight on bytes that is too small to outweigh any
    other difference. Solved by HiGHS (`scipy.optimize.milp`).

    Parameters
    ----------
    harm
        Layer → width → harm over all rows.
    groups
        The same over the rows of each group.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(layer, width) for layer in harm for width in harm[layer]]

    def values(table: Harm) -> np.ndarray:
        return np.array([table[layer][width] for layer, width in pairs], dtype=float)

    bytes_ = np.array([cost[layer][width] for layer, width in pairs], dtype=float)
    scale = max(*(float(values(table).max()) for table in (harm, *groups)), 1e-30)
    one_each = np.array([[float(layer == table) for layer, _ in pairs] for table in harm])
    objective = values(harm) / scale
    constraints = [(one_each, 1.0, 1.0), (bytes_[None], -np.inf, float(budget))]
    if groups:  # one more variable, no less than any group's harm
        objective = MEAN_WEIGHT * objective
        constraints = [(np.pad(a, ((0, 0), (0, 1))), low, high) for a, low, high in constraints]
        worst = np.array([[*values(table) / scale, -1.0] for table in groups])
        constraints.append((worst, -np.inf, 0.0))
    objective = objective + 1e-9 * bytes_ / max(float(bytes_.max()), 1.0)
    n_extra = len(groups) > 0
    solution = milp(
        np.append(objective, [1.0] * n_extra),
        constraints=[LinearConstraint(*c) for c in constraints],
        integrality=np.array([1] * len(pairs) + [0] * n_extra),
        bounds=Bounds(np.zeros(len(pairs) + n_extra), np.array([1.0] * len(pairs) + [np.inf] * n_extra)),
        options={"mip_rel_gap": 0.0},
    )
    if solution.x is None:
        return None
    return {layer: width for (layer, width), x in zip(pairs, solution.x, strict=False) if x > 0.5}
