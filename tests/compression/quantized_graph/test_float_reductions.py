"""Reductions of what is quantized give the same numbers in both runtimes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.backends.registry import choose, open_session
from trained import images


class Reduced(nn.Module):
    """A convolution, a reduction of its result, and a layer."""

    def __init__(self, reduction: Callable[[Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.reduction = reduction
        self.patches, self.mixed, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.reduction(self.patches(x), self.mixed))


REDUCTIONS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "image": lambda x, _: x.mean((2, 3)),
    "maximum of image": lambda x, _: x.amax((2, 3)),
    "flat": lambda x, _: x.flatten(2).mean(-1),
    "tokens": lambda x, _: x.flatten(2).transpose(1, 2).mean(1),
    "maximum of tokens": lambda x, mixed: mixed(x.flatten(2).transpose(1, 2)).amax(1),
    "minimum of tokens": lambda x, mixed: mixed(x.flatten(2).transpose(1, 2)).amin(1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_both_runtimes_reduce_alike(name: str) -> None:
    pytest.importorskip("openvino")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Reduced(REDUCTIONS[name]).eval()
    rows = images(128)[0].float()
    rows = 2 * rows - rows.mean()
    (quantized,) = quantize_many(BatchQuantizer.from_module(net, rows), [net.state_dict()], [rows])
    data = quantized.onnx
    expected = run(data, rows.numpy())
    computed = open_session(data, choose("openvino")).run(rows.numpy())
    assert np.abs(computed - expected).max() < 0.05 * np.ptp(expected)
