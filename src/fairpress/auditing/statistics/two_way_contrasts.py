"""A weighted sum of the rates of several models in several disjoint cells of rows, over seeds and rows jointly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.statistics.two_way import COUNTING_VARIANCE, row_and_seed_errors


@dataclass(frozen=True)
class CrossedProducts:
    """Sufficient statistics of 0/1 values y[m, s, i] of model m, seed s, row i, per cell of rows.

    Every seed has every row. Cells are disjoint, such as the rows of a group with a positive label.

    Attributes
    ----------
    seed_sums
        Σ_i y; shape [cells, models, seeds].
    rows
        Rows of each cell.
    row_products
        Σ_i T_a T_b with T_m = Σ_s y[m, s, i]; shape [cells, models, models].
    products
        Σ_{s,i} y_a y_b; shape as `row_products`.
    """

    seed_sums: Floats
    rows: Floats
    row_products: Floats
    products: Floats

    @property
    def seeds(self) -> int:
        return int(self.seed_sums.shape[-1])

    @property
    def rates(self) -> Floats:
        """Return the rate of each model in each cell, shape [cells, models]."""
        return np.asarray(self.seed_sums.sum(axis=-1) / (self.rows * self.seeds)[:, None])


def crossed_products(values: Floats, cells: np.ndarray, count: int) -> CrossedProducts:
    """Return the sums of values [models, seeds, rows] by the rows' cells (0 … count − 1; −1 for rows in no cell)."""
    picked = [values[:, :, cells == c] for c in range(count)]
    return CrossedProducts(
        seed_sums=np.stack([y.sum(axis=-1) for y in picked]).astype(float),
        rows=np.array([y.shape[-1] for y in picked], float),
        row_products=np.stack([(t := y.sum(axis=1)) @ t.T for y in picked]).astype(float),
        products=np.stack([np.einsum("asi,bsi->ab", y, y) for y in picked]).astype(float),
    )


def crossed_contrasts(sums: CrossedProducts, weights: Floats) -> TEstimate:
    """Return Σ over cells and models of weight · rate, for each of several weightings [contrasts, cells, models].

    Rows of different cells are different rows, so their variances add; seeds are shared, so the seeds' variance is that of
    the S contrasts, as in `two_way.crossed_excess`, which is a special case (weights ±1 on two cells and ±1 on two
    models). With one seed the rows alone are random.

    Each cell gets two pseudo-rows, the same under every seed: (Σw ± Σ|w|)/2, the extremes that the weighted sum of 0/1
    values can take. For one model these are Agresti and Caffo's (2000), for a paired change Bonett and Price's (2012).
    """
    w = np.asarray(weights, float)
    s, n = sums.seeds, sums.rows + 2
    total = n * s
    mid, half = w.sum(axis=-1) / 2, np.abs(w).sum(axis=-1) / 2
    pseudo = 2 * (mid**2 + half**2)
    u = np.einsum("pcm,cms->pcs", w, sums.seed_sums) + 2 * mid[..., None]
    mean = u.sum(axis=-1) / total
    row_squares = np.einsum("pca,cab,pcb->pc", w, sums.row_products, w) + s**2 * pseudo
    squares = np.einsum("pca,cab,pcb->pc", w, sums.products, w) + s * pseudo
    between_rows = np.maximum(row_squares - n * s**2 * mean**2, 0)
    row_parts = between_rows * n / (n - 1) / total**2
    rows = row_parts.sum(axis=-1)
    if s > 1:
        between_seeds = ((u - (n * mean)[..., None]) ** 2).sum(axis=-1)
        sse = squares - total * mean**2 - between_rows / s - between_seeds / n
        error = (np.maximum(sse, 0) / ((n - 1) * (s - 1)) / total).sum(axis=-1)
        seeds = (u / n[:, None]).sum(axis=1).var(axis=-1, ddof=1) / s
        with np.errstate(divide="ignore", invalid="ignore"):
            row_df = np.where(rows > 0, rows**2 / (row_parts**2 / (n - 1)).sum(axis=-1), np.inf)
        unit = np.abs(w).max(axis=-1)
        counting = COUNTING_VARIANCE * ((unit / n) ** 2).sum(axis=-1) / s
        errors = row_and_seed_errors(rows, row_df, seeds, error, counting, s, np.full(rows.shape, True))
    else:
        errors = {"se": np.sqrt(rows), "df": np.full(len(w), np.inf)}
    used = ((w != 0).any(axis=-1) * sums.rows).sum(axis=-1)
    return TEstimate(
        value=np.einsum("pcm,cm->p", w, sums.rates),
        centre=mean.sum(axis=-1),
        n=used,
        effective_n=used,
        limits=(-np.inf, np.inf),
        method="crossed-contrast" if s > 1 else "contrast",
        **errors,
    )
