"""Small networks written by hand, each with something that networks in use have and exporters or quantizers trip over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

CLASSES, WIDTH, STEPS, PIECES = 5, 24, 6, 60


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last step."""

    def __init__(self, cell: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.cell = cell(8, WIDTH, batch_first=True, **options)
        width = options.get("proj_size") or WIDTH
        self.head = nn.Linear(width * (2 if options.get("bidirectional") else 1), CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class RecurrentOverTexts(nn.Module):
    """Token ids, embeddings, an LSTM, the mean of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(PIECES, 16)
        self.cell, self.head = (
            nn.LSTM(16, WIDTH, bidirectional=True, batch_first=True),
            nn.Linear(2 * WIDTH, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.table(x))[0].mean(1))


class Cells(nn.Module):
    """An LSTMCell in a loop over the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(8, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in range(STEPS):
            state = self.cell(x[:, step], state)
        return self.head(state[0])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden, self.head = (
            nn.Embedding(10, 4),
            nn.Linear(7, WIDTH),
            nn.Linear(WIDTH, CLASSES),
        )

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return self.head(F.gelu(self.hidden(torch.cat([self.table(codes).squeeze(1), numbers], 1))))


class Shared(nn.Module):
    """One linear layer that is called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.head = (
            nn.Linear(8, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for _ in range(3):
            x = x + torch.relu(self.again(x))
        return self.head(x)


class Tied(nn.Module):
    """An embedding table that the output layer reads too, transposed by a product."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden = nn.Embedding(PIECES, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.relu(self.hidden(self.table(x).mean(1))), self.table.weight)


class Decoder(nn.Module):
    """A transposed convolution, as decoders have them."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, 2, 1)
        self.up, self.head = nn.ConvTranspose2d(16, 8, 4, 2, 1, **options), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.up(torch.relu(self.down(x)))).mean((2, 3)))


class Signal(nn.Module):
    """One-dimensional convolutions, one of them depthwise and dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 16, 5, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, padding=2, dilation=2, groups=16),
            nn.SiLU(),
            nn.Conv1d(16, 24, 1),
            nn.AdaptiveAvgPool1d(1),
        )
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


class Volume(nn.Module):
    """Three-dimensional convolutions, as for scans and films."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 16, 3, stride=2, padding=1)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3, 4)))


class Depthwise(nn.Module):
    """Depthwise and pointwise convolutions with GroupNorm, InstanceNorm, PReLU and squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = (
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.GroupNorm(4, 16),
            nn.PReLU(16),
        )
        self.depth, self.point = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 24, 1)
        self.instance, self.squeeze, self.excite = nn.InstanceNorm2d(24), nn.Linear(24, 6), nn.Linear(6, 24)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = F.leaky_relu(self.point(F.hardswish(self.depth(x))))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return self.head(F.max_pool2d(self.instance(x) * gate[:, :, None, None], 2).mean((2, 3)))


class Functional(nn.Module):
    """Weights that no layer holds: F.linear, F.conv1d, a product, an einsum."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.scale = way, nn.Parameter(torch.ones(WIDTH))
        shape = {
            "linear": (WIDTH, 8),
            "matmul": (8, WIDTH),
            "transposed": (WIDTH, 8),
            "addmm": (8, WIDTH),
            "einsum": (4, 8, WIDTH),
            "list": (8, WIDTH),
            "computed": (WIDTH, 8),
            "half of a table": (2 * WIDTH, 8),
        }[way]
        self.w = nn.Parameter(torch.randn(shape) / 3)
        self.more = nn.ParameterList(
            [torch.randn(WIDTH, WIDTH) / 5 for _ in range(2)] if way == "list" else []
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "linear":
            x = F.linear(x, self.w)
        elif self.way == "matmul":
            x = x @ self.w
        elif self.way == "transposed":
            x = x @ self.w.T
        elif self.way == "addmm":
            x = torch.addmm(self.scale, x, self.w)
        elif self.way == "einsum":
            x = torch.einsum("bi,hij->bhj", x, self.w).amax(1)
        elif self.way == "computed":
            x = F.linear(x, self.w / self.w.norm(dim=1, keepdim=True))
        elif self.way == "half of a table":
            x = F.linear(x, self.w[:WIDTH]) * torch.sigmoid(F.linear(x, self.w[WIDTH:]))
        else:
            x = x @ self.w
            for w in self.more:
                x = torch.relu(x) @ w
        return self.head(torch.relu(x) * self.scale)


class Bag(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(PIECES, 16, mode=mode), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag(x))


class Attention(nn.Module):
    """nn.MultiheadAttention with a learned query, keys of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 2, WIDTH))
        self.attention = nn.MultiheadAttention(WIDTH, 4, kdim=8, vdim=8, batch_first=True)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(self.query.expand(x.shape[0], -1, -1), x, x)[0].flatten(1))


class Encoder(nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 48, activation="gelu", batch_first=True, norm_first=norm_first
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.lift, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.position = nn.Parameter(torch.randn(1, STEPS, WIDTH) / 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.lift(x) + self.position).mean(1))


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.head = nn.Bilinear(8, 8, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.pair(x, x.flip(1))))


class Branches(nn.Module):
    """Branches that depend on shapes and modes, a loop over layers, and a mask computed from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({str(i): nn.Linear(8, 8) for i in range(3)})
        self.heads = nn.ModuleList([nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)])

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2 and not self.training:
            x = x * 2
        for name, layer in self.layers.items():
            x = F.elu(layer(x)) if int(name) % 2 else x + torch.tanh(layer(x))
        chosen = (x.sum(1, keepdim=True) > 0).to(x.dtype)
        return chosen * self.heads[0](x) + (1 - chosen) * self.heads[1](x)


class OneLogit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


def _normed(norm: Callable[..., nn.Module]) -> nn.Module:
    """Return convolutions and linear layers whose weights are computed from others in every call."""
    return nn.Sequential(
        *(norm(nn.Conv2d(3, 16, 3, 2, 1)), nn.ReLU(), norm(nn.Conv2d(16, 16, 3, 2, 1)), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), norm(nn.Linear(16, CLASSES))),
    )


def vectors(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, 8, generator=generator)}


def sequences(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, STEPS, 8, generator=generator)}


def tokens(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randint(0, PIECES, (rows, STEPS), generator=generator)}


def small_pictures(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, 3, 16, 16, generator=generator)}


def signals(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, 4, 32, generator=generator)}


def volumes(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn(rows, 1, 8, 8, 8, generator=generator)}


def codes_and_numbers(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    codes = torch.randint(0, 10, (rows, 1), generator=generator)
    return {"codes": codes, "numbers": torch.randn(rows, 3, generator=generator)}


WAYS = ("linear", "matmul", "transposed", "addmm", "einsum", "list", "computed", "half of a table")
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int, torch.Generator], dict[str, Tensor]]]] = {
    "LSTM": (partial(Recurrent, nn.LSTM), sequences),
    "GRU": (partial(Recurrent, nn.GRU), sequences),
    "RNN": (partial(Recurrent, nn.RNN), sequences),
    "LSTM, two layers, both directions": (
        partial(Recurrent, nn.LSTM, num_layers=2, bidirectional=True),
        sequences,
    ),
    "GRU, two layers, both directions": (
        partial(Recurrent, nn.GRU, num_layers=2, bidirectional=True),
        sequences,
    ),
    "LSTM, projected": (partial(Recurrent, nn.LSTM, proj_size=8), sequences),
    "LSTM over token ids": (RecurrentOverTexts, tokens),
    "LSTMCell in a loop": (Cells, sequences),
    "two inputs": (TwoInputs, codes_and_numbers),
    "shared layer": (Shared, vectors),
    "tied embedding": (Tied, tokens),
    "transposed convolution": (Decoder, small_pictures),
    "transposed convolution in groups": (partial(Decoder, groups=4), small_pictures),
    "Conv1d": (Signal, signals),
    "Conv3d": (Volume, volumes),
    "depthwise, GroupNorm, PReLU": (Depthwise, small_pictures),
    "weight_norm": (partial(_normed, parametrizations.weight_norm), small_pictures),
    "spectral_norm": (partial(_normed, parametrizations.spectral_norm), small_pictures),
    "weight_norm of old": (partial(_normed, torch.nn.utils.weight_norm), small_pictures),
    **{f"parameter, {way}": (partial(Functional, way), vectors) for way in WAYS},
    "EmbeddingBag, mean": (partial(Bag, "mean"), tokens),
    "EmbeddingBag, sum": (partial(Bag, "sum"), tokens),
    "MultiheadAttention": (Attention, sequences),
    "TransformerEncoder": (partial(Encoder, False), sequences),
    "TransformerEncoder, norm first": (partial(Encoder, True), sequences),
    "Bilinear": (Bilinear, vectors),
    "branches": (Branches, vectors),
    "one logit": (OneLogit, vectors),
}
