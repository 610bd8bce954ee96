"""Weights that are in no linear layer or convolution: recurrent, tied, bare and shared ones become integers."""

from __future__ import annotations

import copy
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional as F

import fairpress as fp
from fairpress.compression.plain_layers import with_plain_layers
from fairpress.core.errors import UserError
from fairpress.runtime.backends.onnxruntime import operators

ROWS, STEPS, WIDE, CLASSES = 240, 6, 16, 3


class Recurrent(nn.Module):
    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(WIDE * (2 if cell.bidirectional else 1), CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Products(nn.Module):
    """A product, an einsum, and one with the half of a parameter, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(8, WIDE) / 3), nn.Parameter(torch.randn(4, WIDE, 8) / 4)
        self.u, self.head = nn.Parameter(torch.randn(2 * WIDE, 8) / 3), nn.Linear(WIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("bi,hij->bhj", torch.relu(x.mean(1) @ self.w), self.v).amax(1)
        return self.head(torch.tanh(x @ self.u[:WIDE].T))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden = nn.Embedding(40, WIDE), nn.Linear(WIDE, WIDE)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(torch.relu(self.hidden(self.table(ids).mean(1))), self.table.weight)[:, :CLASSES]


class RelativePositions(nn.Module):
    """One layer that reads the input twice and a parameter once, each of three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.again, self.head = (
            nn.Parameter(torch.randn(1, STEPS, 8)),
            nn.Linear(8, 8),
            nn.Linear(8, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.again(x)) + self.again(self.p)
        return self.head(torch.relu(self.again(h)).mean(1))


def compressed(net: nn.Module, recipe: str, x: Tensor):
    labels = torch.arange(len(x)) % CLASSES
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        artifact = fp.compress(net, recipe, data=[(x, labels)])
    return artifact, " ".join(str(w.message) for w in caught)


def series(rows: int = ROWS) -> Tensor:
    return torch.randn(rows, STEPS, 8, generator=torch.Generator().manual_seed(1))


def tokens(rows: int = ROWS) -> Tensor:
    return torch.randint(0, 40, (rows, STEPS), generator=torch.Generator().manual_seed(1))


def created(make) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def integers(data: bytes) -> Counter[int]:
    """Return bit width → number of integers of two axes or more in a file, by their types, without zero points."""
    widths = {TensorProto.INT8: 8, TensorProto.INT4: 4, TensorProto.INT2: 2}
    counts: Counter[int] = Counter()
    graph = onnx.load_from_string(data).graph
    zero_points = {n for node in graph.node if node.op_type == "DynamicQuantizeLSTM" for n in node.input[8:]}
    for tensor in graph.initializer:
        if tensor.data_type in widths and len(tensor.dims) >= 2 and tensor.name not in zero_points:
            counts[widths[tensor.data_type]] += int(np.prod(tensor.dims))
    return counts


def matrices(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.dim() >= 2)


def difference(data: bytes, net: nn.Module, x: Tensor) -> float:
    """Return the root mean square difference of file and network over the spread of the network's outputs."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        expected = net(x).numpy()
    return float(np.sqrt(np.square(given - expected).mean()) / expected.std())


CELLS = {
    "LSTM": lambda: Recurrent(nn.LSTM(8, WIDE, batch_first=True)),
    "LSTM of two layers, both directions": lambda: Recurrent(
        nn.LSTM(8, WIDE, 2, bidirectional=True, batch_first=True)
    ),
    "GRU": lambda: Recurrent(nn.GRU(8, WIDE, bidirectional=True, batch_first=True)),
    "RNN": lambda: Recurrent(nn.RNN(8, WIDE, batch_first=True)),
}


@pytest.mark.parametrize(
    ("recipe", "bits"), [("int8", 8), ("w4", 4), ("int8-dynamic", 8), ("w8(block=16)", 8)]
)
@pytest.mark.parametrize("name", CELLS)
def test_all_weights_of_recurrent_networks_become_integers(name, recipe, bits):
    net = created(CELLS[name])
    artifact, _ = compressed(net, recipe, series())
    assert integers(artifact.onnx) == {bits: matrices(net)}
    assert difference(artifact.onnx, net, series(50)) < (0.1 if bits == 8 else 0.5)
    stated = artifact.card.provenance["details"]["shares_at_bits"]
    vectors = sum(p.numel() for p in net.parameters() if p.dim() == 1)
    assert stated[str(bits)]["count"] == matrices(net)
    assert stated[str(bits)]["parameters"] == pytest.approx(matrices(net) / (matrices(net) + vectors))
    assert f"{matrices(net) / (matrices(net) + vectors):.1%} in {bits} bits" in str(artifact)


def test_lstm_runs_on_the_integer_kernel_by_int8_dynamic_and_int8_says_so():
    net = created(CELLS["LSTM"])
    static, said = compressed(net, "int8", series())
    assert operators(static.onnx)["LSTM"] == 1
    assert (
        "in 'cell.weight_hh_l0', 'cell.weight_ih_l0', are stored as integers and multiplied as floats" in said
    )
    assert "int8-dynamic runs LSTM layers on integers" in said
    dynamic, said = compressed(net, "int8-dynamic", series())
    assert operators(dynamic.onnx)["DynamicQuantizeLSTM"] == 1
    assert operators(dynamic.onnx)["LSTM"] == 0
    assert said == ""
    by_row, said = compressed(net, "int8-dynamic(ranges=row)", series())
    assert operators(by_row.onnx)["LSTM"] == 1
    assert "multiplied as floats" in said


def test_a_file_without_any_integer_kernel_is_no_int8_file_without_a_word():
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(8, CLASSES, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x)[0][:, -1]

    _, said = compressed(created(Alone), "int8", series())
    assert said.startswith(
        "100.0% of the network's weights, in 'cell.weight_ih_l0', 'cell.weight_hh_l0', are stored"
    )


@pytest.mark.parametrize(
    ("forward", "remedy"),
    [
        (
            lambda x: torch.cond(x.sum() > 0, lambda x: 2 * x, lambda x: 3 * x, (x,)),
            "choose with torch.where",
        ),
        (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), r"with \.unsqueeze\(1\)"),
    ],
)
def test_what_cannot_be_exported_is_named_with_what_to_write(forward, remedy):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(forward(x)).mean(1)

    with pytest.raises(UserError, match=remedy):
        compressed(created(Odd), "int8", series())


def test_projected_lstms_are_refused_before_they_lose_their_projection():
    with pytest.raises(UserError, match=r"'cell' .LSTM. has proj_size=4, .*proj_size=0"):
        compressed(
            created(lambda: Recurrent(nn.LSTM(8, WIDE, proj_size=4, batch_first=True))), "fp32", series()
        )


def test_gru_has_no_integer_kernel_and_that_is_said():
    net = created(CELLS["GRU"])
    artifact, said = compressed(net, "int8-dynamic", series())
    assert operators(artifact.onnx)["GRU"] == 1
    assert "multiplied as floats, since there is no integer kernel for them" in said
    assert "runs LSTM" not in said


@pytest.mark.parametrize("recipe", ["int8", "w4", "int8-dynamic", "qat-int8(epochs=1)"])
def test_parameters_in_products_become_integers(recipe):
    net = created(Products)
    artifact, said = compressed(net, recipe, series())
    assert sum(integers(artifact.onnx).values()) == matrices(net)
    assert ("'v', 'u', 'w'" in said) == (recipe != "w4")


@pytest.mark.parametrize("recipe", ["int8", "w8", "int8-dynamic"])
def test_a_tied_table_is_stored_once(recipe):
    net = created(Tied)
    artifact, _ = compressed(net, recipe, tokens())
    assert integers(artifact.onnx) == {8: matrices(net)}
    shares = artifact.card.provenance["details"]["shares_at_bits"]
    assert shares["32"]["count"] == WIDE  # the bias
    assert difference(artifact.onnx, net, tokens(50)) < 0.1


def test_a_layer_that_reads_three_axes_twice_and_a_constant_runs_on_integers():
    net = created(RelativePositions)
    artifact, _ = compressed(net, "int8", series())
    counts = operators(artifact.onnx)
    assert (
        counts["MatMulIntegerToFloat"] == 2
    )  # and the product with the parameter was computed when it was loaded
    assert counts["QGemm"] == 1
    assert counts["MatMul"] == 0
    assert difference(artifact.onnx, net, series(50)) < 0.1


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 3])
def test_embedding_bags_compute_the_same_as_lookups(mode, padding):
    bag = created(lambda: nn.EmbeddingBag(40, WIDE, mode=mode, padding_idx=padding))
    ids = tokens()
    ids[0] = 3  # nothing but padding
    with torch.no_grad():
        expected = bag(ids)
        torch.testing.assert_close(with_plain_layers(bag)(ids), expected)


def test_an_embedding_bag_is_quantized_as_a_table():
    net = created(lambda: nn.Sequential(nn.EmbeddingBag(40, WIDE, mode="mean"), nn.Linear(WIDE, CLASSES)))
    artifact, said = compressed(net, "int8", tokens())
    assert integers(artifact.onnx) == {8: matrices(net)}
    assert said == ""


def test_bags_with_offsets_are_refused_with_what_to_pass():
    net = with_plain_layers(created(lambda: nn.EmbeddingBag(40, WIDE)))
    with pytest.raises(UserError, match=r"give it ids \[rows, length\]"):
        net(torch.tensor([1, 2, 3]), torch.tensor([0, 2]))


def test_layers_of_the_gpt2_family_are_linear_layers():
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    net = created(lambda: nn.Sequential(pytorch_utils.Conv1D(WIDE, 8), nn.ReLU(), nn.Linear(WIDE, CLASSES)))
    for layer in (net[0],):
        nn.init.normal_(layer.weight)
    x = series()[:, 0]
    with torch.no_grad():
        torch.testing.assert_close(with_plain_layers(net)(x), net(x))
    artifact, _ = compressed(net, "int8", x)
    assert operators(artifact.onnx)["QGemm"] == 2


@pytest.mark.parametrize("recipe", ["int4", "w2"])
def test_copies_of_a_layer_have_integers_each(recipe):
    layer = nn.Linear(8, 8)
    net = nn.Sequential(
        layer, nn.ReLU(), copy.deepcopy(layer), nn.ReLU(), copy.deepcopy(layer), nn.Linear(8, CLASSES)
    )
    rows = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(1))
    artifact, _ = compressed(net.eval(), recipe, rows)
    assert sum(integers(artifact.onnx).values()) == matrices(net)
