"""Attention in a file: the same numbers as the network's, without passes over memory that runtimes do not fuse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from fairpress.models.export import export_many
from fairpress.runtime.backends.onnxruntime import operators, run

ROWS, LENGTH, WIDTH = 4, 5, 12
attend = nn.functional.scaled_dot_product_attention


def later(x: Tensor) -> Tensor:
    """Return a mask [rows, 1, 1, length] of the tokens that are not the first."""
    return (torch.arange(x.shape[1]) > 0)[None, None, None].expand(x.shape[0], 1, 1, x.shape[1])


def penalized(q: Tensor, k: Tensor, v: Tensor, x: Tensor) -> Tensor:
    return attend(q, k, v, -3.0 * x[:, None, None, :, 0].abs())


def masked(q: Tensor, k: Tensor, v: Tensor, x: Tensor) -> Tensor:
    return attend(q, k, v, later(x))


def plain(q: Tensor, k: Tensor, v: Tensor, _: Tensor, **options: object) -> Tensor:
    return attend(q, k, v, **options)


def grouped(q: Tensor, k: Tensor, v: Tensor, _: Tensor) -> Tensor:
    return attend(q, k[:, :1], v[:, :1], enable_gqa=True)


class Attention(nn.Module):
    """Attention over tokens [rows, length, width] with two heads, and the mean of its result."""

    def __init__(self, attention: Callable[..., Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention, self.mixed = attention, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mixed(x).reshape(x.shape[0], x.shape[1], 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        return self.attention(q, k, v, x).transpose(1, 2).flatten(2).mean(1)


def tokens(rows: int = ROWS) -> Tensor:
    return 4 * torch.randn(rows, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))


def file_of(attention: Callable[..., Tensor]) -> tuple[nn.Module, bytes]:
    net = Attention(attention).eval()
    return net, export_many(net, [net.state_dict()], tokens())[0]


@pytest.mark.parametrize(
    "attention",
    [plain, partial(plain, scale=0.7), partial(plain, is_causal=True), penalized, masked, grouped],
    ids=["plain", "scaled", "causal", "float mask", "boolean mask", "grouped"],
)
def test_a_file_attends_as_its_network_does(attention: Callable[..., Tensor]) -> None:
    net, data = file_of(attention)
    for rows in (1, 9):
        with torch.no_grad():
            expected = net(tokens(rows)).numpy()
        np.testing.assert_allclose(run(data, tokens(rows).numpy()), expected, atol=2e-6)


@pytest.mark.parametrize("attention", [plain, penalized, masked])
def test_keys_are_transposed_once_and_scores_multiplied_once(attention: Callable[..., Tensor]) -> None:
    _, data = file_of(attention)
    graph = onnx.load_from_string(data).graph
    producer = {o: n for n in graph.node for o in n.output}
    (softmax,) = (n for n in graph.node if n.op_type == "Softmax")
    scores = producer[softmax.input[0]]
    if attention is not plain:
        assert scores.op_type == "Add"
        scores = next(producer[i] for i in scores.input if producer[i].op_type == "Mul")
    assert scores.op_type == "Mul"
    product = producer[scores.input[0]]
    assert product.op_type == "MatMul"
    queries, keys = (producer[name] for name in product.input)
    assert queries.op_type != "Mul"
    assert (keys.op_type, list(keys.attribute[0].ints)) == ("Transpose", [0, 1, 3, 2])
    optimized = operators(data)
    assert optimized["FusedMatMul"] == 1  # ONNX Runtime multiplies the scores within the product
    assert optimized["Mul"] == (attention is penalized)
