"""Networks that were trained, for tests of what is done to them: what an untrained one decides is a matter of rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, make_quantizer
from fairpress.datasets.dataset import Dataset
from fairpress.models.mlp import Mlp
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit
from made_dataset import make_dataset

SMALL, DEEP = Mlp(widths=(16, 16)), Mlp(widths=(16,) * 6)
State = dict[str, torch.Tensor]


@cache
def easy() -> tuple[list[Dataset], list[Artifact]]:
    """Two folds of a linear rule, and a small network of each."""
    data = [make_dataset(fold=i) for i in range(2)]
    return data, fit(SMALL, data, [0, 1], FitConfig(max_epochs=8, batch_size=32, learning_rate=1e-2))


@cache
def hard() -> tuple[list[Dataset], list[Artifact]]:
    """Three folds of a chequered plane, and a deep narrow network of each, which rounding to 4 bits disturbs."""
    rng = np.random.default_rng(3)
    inputs = rng.uniform(-2, 2, (1500, 4)).astype(np.float32)
    labels = (np.sin(3 * inputs[:, 0]) * np.sin(3 * inputs[:, 1]) > 0).astype(np.int64)
    data = [replace(make_dataset(1500, fold=i), inputs=inputs, labels=labels) for i in range(3)]
    config = FitConfig(max_epochs=40, keep="last", batch_size=50, learning_rate=5e-3)
    return data, fit(DEEP, data, [0, 1, 2], config)


def parts(data: list[Dataset], bases: list[Artifact]) -> tuple[list[State], list[torch.Tensor]]:
    """Return states and calibration rows."""
    rows = [torch.from_numpy(d.part("calibration").inputs) for d in data]
    return [from_bytes(a.weights) for a in bases], rows


def small_engine() -> BatchQuantizer:
    return make_quantizer(SMALL, (4,), torch.float32, 2)


class Residual(nn.Module):
    """Convolutions with batch norm, a sum, a join, a pool: what image networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.wide = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.relu(x + self.second(x))
        x = torch.relu(self.wide(torch.cat([x, nn.functional.max_pool2d(x, 3, 1, 1)], 1)))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def images(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise that is a little redder or greener than not; the class says which."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, 8, 8, generator=generator)
    y = torch.randint(0, 2, (rows,), generator=generator)
    x[:, 0] += 0.4 * y[:, None, None]
    x[:, 1] -= 0.4 * y[:, None, None]
    return x, y


def waves(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Waves in noise, one or two to an image; the class says which. Harder: the phase tells nothing."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, 8, 8, generator=generator)
    y = torch.randint(0, 2, (rows,), generator=generator)
    phase = 2 * torch.pi * torch.rand(rows, 1, generator=generator)
    wave = torch.sin((1.0 + y[:, None]) * torch.linspace(0, 2 * torch.pi, 8) + phase)
    x[:, 0] += 0.5 * wave[:, None, :]
    x[:, 1] += 0.5 * wave[:, :, None]
    return x, y


@cache
def residual(
    seed: int = 0, draw: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]] = images
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Residual()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(60):
        x, y = draw(64, 1000 * seed + step)
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def random_group_batches(rows: int = 320) -> Iterator[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
    """Images with labels and groups drawn at random, in batches of 64."""
    x, y = images(rows, 5)
    group = np.where(torch.rand(rows, generator=torch.Generator().manual_seed(1)) < 0.5, "a", "b")
    for start in range(0, rows, 64):
        yield x[start : start + 64], y[start : start + 64], group[start : start + 64]


def brightness_group_batches() -> Iterator[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
    """Images with labels and groups that one channel's brightness decides, in eight batches of 64."""
    for seed in range(8):
        x, y = images(64, seed)
        yield x, y, np.where(x[:, 2].mean((1, 2)) > 0, "light", "dark")
