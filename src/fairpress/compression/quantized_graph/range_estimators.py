"""Estimate quantization ranges: min-max, percentile, or least squared error."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Ranges = Literal["minmax", "percentile", "mse"]
RANGES: tuple[Ranges, ...] = ("minmax", "percentile", "mse")
PERCENTILE = 0.999  # of |w| in an output channel, and of each end of an activation's values
MIN_SCALE = 1e-8
NO_WEIGHTS = 2.0**-10  # scale of a layer whose weights are all 0
SMALLEST = 2.0**-12  # scale of a channel with a bias, as a share of the largest of its layer
BINS = 2048
RATIOS = torch.linspace(1.0, 0.08, 24)
REFINEMENTS = 2
ROUNDING_ERROR = 1e-6
CLIPPING = torch.linspace(1.0, 0.2, 33)
BLOCK = 2**16  # values that are counted at a time, which stay in the cache


def weight_scales(
    weight: Tensor, top: int | Tensor, method: Ranges, low: int | Tensor | None = None
) -> Tensor:
    """Return a scale per output channel for integers low … top; both may differ between channels.

    A channel whose weights are all 0 (after pruning) has the largest scale of its layer: runtimes store a bias as an int32
    at the scale of the products, which would overflow at a scale near 0 (see `for_biases`).

    Parameters
    ----------
    weight
        […, channels, values per channel]; leading axes are networks.
    top
        One for all, or […, channels].
    how
        ``"minmax"`` covers all weights; ``"percentile"`` the 99.9th percentile of |w|; ``"mse"`` minimizes
        Σ(w − ŵ)² over a grid of clipping ratios, then by s ← Σwq/Σq² with q = ⌊w/s⌉, which never raises it
        (as in Lloyd's algorithm, 1982).
    low
        −top by default. If it is another, scales can be negative: the sign with less squared error is taken.
    """
    magnitude = weight.abs()
    if low is None:
        scales = _scales(weight, magnitude, (_negative(top), top), method)
    else:
        plus, minus = (_scales(w, magnitude, (low, top), method) for w in (weight, -weight))
        worse = _error(-weight, minus, (low, top)) < _error(weight, plus, (low, top))
        scales = torch.where(worse, -minus, plus)
    empty = magnitude.amax(-1) == 0
    layer_scale = scales.abs().masked_fill(empty, 0).amax(-1, keepdim=True)
    return torch.where(empty, torch.where(layer_scale > 0, layer_scale, NO_WEIGHTS), scales)


def for_biases(scales: Tensor) -> Tensor:
    """Return scales […, channels] of a layer of products, each at least `SMALLEST` of the largest.

    Batch norm may leave a channel whose weights are nearly 0, and its bias would overflow as one of zeros would. What such a
    channel adds is below a step of the layer's activations.
    """
    floor = SMALLEST * scales.abs().amax(-1, keepdim=True)
    return torch.where(scales.abs() < floor, torch.copysign(floor, scales), scales)


Limits = tuple[int | Tensor, int | Tensor]
"""The smallest and the largest integer."""


def _negative(top: int | Tensor) -> int | Tensor:
    return -top


def _scales(weight: Tensor, magnitude: Tensor, limits: Limits, method: Ranges) -> Tensor:
    low, top = limits
    if method == "minmax":
        ends = (weight.amax(-1).clamp_min(MIN_SCALE) / top, weight.amin(-1).clamp_max(-MIN_SCALE) / low)
        return torch.maximum(*ends)
    if method == "percentile":
        count = magnitude.shape[-1]
        rank = max(1, round(PERCENTILE * count))
        return magnitude.kthvalue(rank, dim=-1).values.clamp_min(MIN_SCALE) / top
    largest = magnitude.amax(-1).clamp_min(MIN_SCALE)
    best = largest / top
    best_error = _error(weight, best, limits)
    for ratio in RATIOS.tolist()[1:]:
        best, best_error = _keep_better(weight, largest * (ratio / top), limits, best, best_error)
    for _ in range(REFINEMENTS):
        best, best_error = _keep_better(weight, _refined(weight, best, limits), limits, best, best_error)
    return best


def replace_scales(weight: Tensor, top: int | Tensor, current: Tensor, other: Tensor) -> Tensor:
    """Return each channel's other scale where it rounds the weights with less error than the current one, else the current.

    Differences below a millionth of Σw² are rounding errors, and change nothing.
    """
    limits = (_negative(top), top)
    least = _error(weight, current, limits) - ROUNDING_ERROR * weight.square().sum(-1)
    return torch.where(_error(weight, other, limits) < least, other, current)


def _keep_better(
    weight: Tensor, scale: Tensor, limits: Limits, best: Tensor, best_error: Tensor
) -> tuple[Tensor, Tensor]:
    error = _error(weight, scale, limits)
    return torch.where(error < best_error, scale, best), torch.minimum(error, best_error)


def _refined(weight: Tensor, scale: Tensor, limits: Limits) -> Tensor:
    """Return the scale of least squared error for the integers at `scale`; `scale` itself if all of them are 0."""
    q = _integers(weight, scale, limits)
    squares = q.square().sum(-1)
    return torch.where(squares > 0, (weight * q).sum(-1) / squares.clamp_min(1), scale).clamp_min(MIN_SCALE)


def _error(weight: Tensor, scale: Tensor, limits: Limits) -> Tensor:
    rounded = _integers(weight, scale, limits).mul_(scale[..., None])
    return rounded.sub_(weight).square_().sum(-1)


def _integers(weight: Tensor, scale: Tensor, limits: Limits) -> Tensor:
    low, high = (v[..., None] if isinstance(v, Tensor) else v for v in limits)
    return torch.clamp((weight / scale[..., None]).round_(), low, high)


class Histogram:
    """A histogram of values that arrive in chunks: equal bins over ±limit, a power of 2 that doubles when necessary.

    Doubling merges bins in pairs, so the counts equal those of one pass over all values.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(BINS)
        self.low, self.high, self.limit = float("inf"), float("-inf"), 0.0

    def add(self, x: Tensor) -> None:
        low, high = (float(v) for v in torch.aminmax(x))
        self.low, self.high = min(self.low, low), max(self.high, high)
        reach = max(-low, high, MIN_SCALE)
        if self.limit == 0.0:
            self.limit = 2.0 ** torch.tensor(reach).log2().ceil().item()
        while self.limit < reach:
            pairs = self.counts.view(-1, 2).sum(1)
            quarter = torch.zeros(BINS // 4)
            self.counts, self.limit = torch.cat([quarter, pairs, quarter]), 2 * self.limit
        self.counts += _counts(x, self.limit)

    def values(self) -> tuple[Tensor, Tensor]:
        """Return the centres of the non-empty bins, and their counts."""
        step = 2 * self.limit / BINS
        middles = torch.arange(BINS, device=self.counts.device) * step - self.limit + step / 2
        occupied = self.counts > 0
        return middles[occupied].clamp(self.low, self.high), self.counts[occupied]


def _counts(x: Tensor, limit: float) -> Tensor:
    """Return the number of values in each of `BINS` equal bins over ±limit, a power of 2.

    On a processor a third of the time of `torch.histc`, which rounds alike: division by the width of a bin is exact.
    """
    if x.device.type != "cpu" or not np.isfinite(limit):
        return torch.histc(x.float(), BINS, -limit, limit).cpu()
    counts = torch.zeros(BINS + 1, dtype=torch.int64)
    for part in x.detach().float().reshape(-1).split(BLOCK):
        bins = part.mul(BINS / 2 / limit).add_(BINS / 2).to(torch.int16)
        counts += torch.bincount(bins, minlength=BINS + 1)
    counts[BINS - 1] += counts[BINS]  # the limit itself belongs to the last bin
    return counts[:BINS].float()


def activation_scale(histogram: Histogram, top: int, method: Ranges) -> tuple[float, float]:
    """Return scale and zero point of unsigned integers 0 … top that represent 0 exactly.

    ``"percentile"`` clips 0.1 % of the values at each end; ``"mse"`` clips each end to the share of its length with the
    least Σ(x − x̂)², the upper end first.
    """
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method != "minmax" and high > low:
        values, counts = histogram.values()
        if method == "percentile":
            share = counts.double().cumsum(0) / counts.double().sum()
            low = min(float(values[int((share < 1 - PERCENTILE).sum())]), 0.0)
            high = max(float(values[int((share < PERCENTILE).sum())]), 0.0)
        else:
            if high > 0:
                high = _best_clipping(values, counts, torch.full_like(CLIPPING, low), high * CLIPPING, top)[1]
            if low < 0:
                low = _best_clipping(values, counts, low * CLIPPING, torch.full_like(CLIPPING, high), top)[0]
    if high == low:  # all values are 0: with a tiny scale the bias of a layer would overflow
        high = 1.0
    scale, zero = _grid_of(torch.tensor(low), torch.tensor(high), top)
    return float(scale), float(zero)


def _best_clipping(
    values: Tensor, counts: Tensor, low: Tensor, high: Tensor, top: int
) -> tuple[float, float]:
    scale, zero = (v[:, None] for v in _grid_of(low, high, top))
    rounded = ((values / scale).round_() + zero).clamp_(0, top).sub_(zero).mul_(scale)
    best = int((rounded.sub_(values).square_() @ counts).argmin())
    return float(low[best]), float(high[best])


def _grid_of(low: Tensor, high: Tensor, top: int) -> tuple[Tensor, Tensor]:
    scale = ((high - low) / top).clamp_min(MIN_SCALE)
    return scale, (-low / scale).round().clamp(0, top)
