"""GPTQ: round a weight column by column, and let the columns that follow make up for the error.

Frantar et al. 2023, arXiv 2210.17323, a faster Optimal Brain Quantizer (Frantar and Alistarh 2022, arXiv 2208.11580).
"""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 0.01  # of the mean of the diagonal, added to it
BLOCK = 128  # columns whose effects on the rest are applied together


def error_compensated(
    weight: Tensor, moments: Tensor, scale: Tensor, top: Tensor | int, *, damping: float = DAMPING
) -> Tensor:
    """Return a weight on its grid, s·q, rounded so that the squared error of the layer's outputs is small.

    Columns are rounded in the order of falling input power (the paper's activation order). An input that is always 0 has no
    influence on the others.

    Parameters
    ----------
    weight
        [groups, channels, k] float; a layer without groups has one.
    moments
        H = Σ x·xᵀ / n of what the channels of each group read [groups, k, k].
    scale
        Step of every channel [groups, channels], or of every weight [groups, channels, k].
    top
        Largest integer, one for all or [groups, channels]; the smallest is its negative.
    damping
        Added to the diagonal of H, as a share of its mean.
    """
    k = weight.shape[-1]
    power = moments.diagonal(dim1=-2, dim2=-1)
    order = torch.argsort(power, dim=-1, descending=True, stable=True)  # [groups, k]
    inverse = _inverse_factor(moments, order, damping).to(weight)
    columns = order[:, None].expand_as(weight)
    w = weight.gather(-1, columns).contiguous()
    steps = (scale[..., None] if scale.dim() < weight.dim() else scale).expand_as(weight).gather(-1, columns)
    limit = top.to(w) if isinstance(top, Tensor) else torch.tensor(float(top)).to(w)
    out = torch.empty_like(w)
    for start in range(0, k, BLOCK):
        end = min(start + BLOCK, k)
        part, u = w[..., start:end], inverse[:, start:end, start:end]
        errors = torch.empty_like(part)
        for i in range(end - start):
            step = steps[..., start + i]
            rounded = torch.clamp((part[..., i] / step).round(), -limit, limit) * step
            out[..., start + i] = rounded
            errors[..., i] = (part[..., i] - rounded) / u[:, i, i, None]
            part[..., i + 1 :] -= errors[..., i, None] * u[:, i, None, i + 1 :]
        w[..., end:] -= errors @ inverse[:, start:end, end:]
    return torch.empty_like(out).scatter_(-1, columns, out)


def _inverse_factor(moments: Tensor, order: Tensor, damping: float) -> Tensor:
    """Return U [groups, k, k], upper triangular with Uᵀ·U = H⁻¹, of the damped and ordered moments."""
    h = moments.double()
    h = h.gather(-2, order[..., None].expand_as(h)).gather(-1, order[:, None].expand_as(h))
    mean = h.diagonal(dim1=-2, dim2=-1).mean(-1)
    added = torch.where(mean > 0, damping * mean, torch.ones_like(mean))
    h = h + added[:, None, None] * torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
