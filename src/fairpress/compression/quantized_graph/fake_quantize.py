"""Fake-quantize modules: round a value to its grid, observe its range, or pass it on.

PT2E inserts one such module before each weight and activation that `pt2e_quantizer` marks, and takes scale and zero point
from it. The modules have no other state and use element-wise operators only, so that a prepared graph runs under
`torch.func.vmap` with the scales of many networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fairpress.compression.quantized_graph.range_estimators import Histogram
from fairpress.models.exporter_warnings import suppress_exporter_warnings

with suppress_exporter_warnings():  # whichever module imports torchao first
    from torchao.quantization.pt2e.observer import ObserverBase

Mode = Literal["pass", "watch", "round"]
MAX_LEVEL = 255  # activations are unsigned 8-bit


class FakeQuantize(ObserverBase):
    """Base class of both kinds: the mode, and the attributes that PT2E reads."""

    scale: Tensor

    def __init__(
        self, *, dtype: torch.dtype, quant_min: int, quant_max: int, qscheme: torch.qscheme, **_: Any
    ) -> None:
        super().__init__(dtype)
        self.quant_min, self.quant_max, self.qscheme = quant_min, quant_max, qscheme
        self.mode: Mode = "round"

    def __setattr__(self, name: str, value: Any) -> None:
        # `nn.Module` looks for tensors in what is set, which takes as long as rounding a small layer.
        if name in ("mode", "histogram"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class FakeQuantizeWeight(FakeQuantize):
    """ŵ = s·clamp(⌊w/s⌉, p, q) with a scale per output channel; the gradient of ŵ is that of w everywhere.

    Straight-through estimator (Bengio et al. 2013, arXiv 1308.3432). A weight outside the grid keeps its gradient;
    otherwise it could never return.
    """

    ch_axis = 0
    top: Tensor | None

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.register_buffer("top", None)

    def size(self, weight: Tensor, *, channel_tops: bool = False) -> None:
        """Allocate one scale per output channel, and with `channel_tops` its largest integer q."""
        self.register_buffer("scale", torch.ones(weight.shape[0]))
        if channel_tops:
            self.top = torch.full((weight.shape[0],), float(self.quant_max))

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        return self.scale, torch.zeros_like(self.scale, dtype=torch.int64)

    def forward(self, w: Tensor) -> Tensor:
        if self.mode == "pass":
            return w
        shape = (-1, *[1] * (w.dim() - 1))
        scale = self.scale.view(shape)
        low: int | Tensor = self.quant_min
        high: int | Tensor = self.quant_max
        if self.top is not None:
            low = channel_lows(self.top, self.quant_min, self.quant_max).view(shape)
            high = self.top.view(shape)
        if not torch.is_grad_enabled():
            return _grid(w, scale, low, high)
        with torch.no_grad():
            step = _grid(w, scale, low, high).sub_(w)
        return w + step


class FakeQuantizeActivation(FakeQuantize):
    """x̂ = s·(clamp(⌊x/s⌉ + z, 0, 255) − z) for a whole tensor; the gradient is 1 inside the range and 0 outside."""

    zero_point: Tensor

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros(()))
        self.histogram: Histogram | None = None

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        return self.scale, self.zero_point.to(torch.int64)

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "pass":
            return x
        if self.mode == "watch":
            self.histogram = self.histogram or Histogram()
            self.histogram.add(x.detach())
            return x
        # hardtanh is clamp with a cheap gradient; the rounding error is added without a gradient.
        exact = nn.functional.hardtanh(
            x * self.scale.reciprocal() + self.zero_point, float(self.quant_min), float(self.quant_max)
        )
        with torch.no_grad():
            step = exact.round().sub_(exact)
        return (exact + step - self.zero_point) * self.scale


def channel_lows(tops: Tensor, low: int, top: int) -> Tensor:
    """Return each channel's smallest integer: `low` where the largest is `top`, its negative where it is another."""
    return torch.where(tops == top, torch.full_like(tops, float(low)), -tops)


def _grid(w: Tensor, scale: Tensor, low: int | Tensor, high: int | Tensor) -> Tensor:
    rounded = (w * scale.reciprocal()).round_()
    return torch.clamp(rounded, low, high).mul_(scale)


@contextmanager
def mode(graph: nn.Module, *, weights: Mode, activations: Mode) -> Iterator[list[FakeQuantizeActivation]]:
    """Set the modes of a graph's modules within the context; yields those of activations, in the order of the graph."""
    modules = [m for m in graph.modules() if isinstance(m, FakeQuantize)]
    earlier_modes = [m.mode for m in modules]
    observers = [m for m in modules if isinstance(m, FakeQuantizeActivation)]
    for m in modules:
        m.mode = weights if isinstance(m, FakeQuantizeWeight) else activations
    for m in observers:
        m.histogram = None
    try:
        yield observers
    finally:
        for m, earlier in zip(modules, earlier_modes, strict=True):
            m.mode = earlier
        for m in observers:
            m.histogram = None
