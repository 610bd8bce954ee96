"""Random PyTorch modules: shared layers, weights read twice, norms, convolutions, activations in any order."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU,
    nn.GELU,
    nn.Tanh,
    nn.SiLU,
    nn.Hardswish,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.Sigmoid,
    nn.Identity,
    lambda: nn.Dropout(0.3),
)


class Tied(nn.Module):
    """x W^T W: one weight, read as it is and transposed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width) / width**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.linear(x, self.weight), self.weight.t())


class Distances(nn.Module):
    """Squared distances to centres, written out: |x|^2 - 2 x.c + |c|^2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(2 * torch.randn(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c = self.centres
        return -((x * x).sum(1, keepdim=True) - 2 * x @ c.t() + (c * c).sum(1)) / c.shape[0]


class Scaled(nn.Module):
    """exp of a parameter, and the parameter itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.randn(width) * 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.log.exp() + self.log


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


def network(seed: int, classes: int) -> tuple[nn.Module, torch.Tensor]:
    """Return a module in eval mode and rows for it, both drawn from the seed."""
    g = torch.Generator().manual_seed(seed)

    def pick(n: int) -> int:
        return int(torch.randint(n, (1,), generator=g))

    torch.manual_seed(seed)
    images = pick(3) == 0
    width = 4 + pick(12)
    body: list[nn.Module]
    if images:
        channels = 4 * (1 + pick(3))
        body = [nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), ACTIVATIONS[pick(10)]()]
        if pick(2):
            body.append(nn.Conv2d(channels, channels, 3, padding=1, groups=channels if pick(2) else 1))
            body.append(ACTIVATIONS[pick(10)]())
        if pick(4) == 0:
            body.append(nn.ConvTranspose2d(channels, channels, 2, stride=2))
        body += [nn.MaxPool2d(2) if pick(2) else nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        body.append(nn.Linear(channels, width))
        x = torch.randn(192, 3, 8, 8, generator=g)
    else:
        features = 3 + pick(8)
        body = [nn.Linear(features, width)]
        x = torch.randn(192, features, generator=g)
    shared = nn.Linear(width, width)
    blocks: tuple[Callable[[], nn.Module], ...] = (
        lambda: nn.Linear(width, width),
        lambda: shared,
        lambda: Tied(width),
        lambda: Distances(width),
        lambda: Scaled(width),
        lambda: nn.BatchNorm1d(width),
        lambda: nn.LayerNorm(width),
        lambda: Residual(nn.Sequential(nn.Linear(width, width), ACTIVATIONS[pick(10)]())),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(width, width)),
    )
    for _ in range(pick(5)):
        body += [blocks[pick(len(blocks))](), ACTIVATIONS[pick(len(ACTIVATIONS))]()]
    body.append(nn.Linear(width, classes))
    created = nn.Sequential(*body)
    created.train()
    with torch.no_grad():
        created(x)  # statistics of the norms
    return created.eval(), x
