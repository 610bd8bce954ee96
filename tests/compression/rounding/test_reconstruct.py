"""Networks whose rounding is learned, layer by layer or block by block."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantization.calibrate import logits_in_chunks, scales_of_weights
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding.blocks import layer_blocks, residual_blocks
from fairpress.compression.rounding.compensate import compensate
from fairpress.compression.rounding.reconstruct import reconstruct, rounded_weight
from trained import images, residual, waves


def prepared_state(network: nn.Module, rows: torch.Tensor, bits: int):
    engine = BatchQuantizer.from_module(network, rows)
    prepared, state = engine.prepare(Scheme(bits, activations=False)), engine.fold(network.state_dict())
    return prepared, {**state, **scales_of_weights(prepared, state, "mse")}


def layers_of(blocks) -> list[list[str]]:
    return [[layer.name for layer in block.layers.values()] for block in blocks]


@pytest.mark.parametrize("blocks", [layer_blocks, residual_blocks])
def test_outputs_on_other_rows_come_nearer_to_the_float_network(blocks):
    network, rows, others = residual(0, waves), waves(300, 1)[0], waves(400, 2)[0]
    prepared, state = prepared_state(network, rows, 4)
    expected = logits_in_chunks(prepared, state, others, rounded=False)
    learned = reconstruct(prepared, state, state, [rows], blocks(prepared))
    before, after = (
        float((logits_in_chunks(prepared, changed, others, rounded=True) - expected).square().mean())
        for changed in (state, learned)
    )
    assert after < 0.6 * before
    for layer in prepared.layers:
        rounded = rounded_weight(layer, state, learned)
        assert torch.allclose(rounded.grid, learned[layer.weight])


def test_blocks_end_where_one_value_is_read_by_all_that_follows():
    prepared, _ = prepared_state(residual(), images(64)[0], 4)
    assert layers_of(layer_blocks(prepared)) == [["first.0"], ["second.0"], ["wide"], ["head"]]
    assert layers_of(residual_blocks(prepared)) == [["first.0"], ["second.0"], ["wide"], ["head"]]
    nodes = [[node.name for node in block.nodes] for block in residual_blocks(prepared)]
    assert nodes[0] == ["conv2d", "relu"]
    assert nodes[1][:3] == ["conv2d_1", "add", "relu_1"]


class Fire(nn.Module):
    """A squeeze of the channels and two layers that expand them, joined: between these one value is read by two."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.narrow, self.wide = (nn.Conv2d(squeezed, outputs, k, padding=k // 2) for k in (1, 3))

    def forward(self, x):
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.narrow(x)), torch.relu(self.wide(x))], 1)


class Fires(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3)
        self.fires = nn.Sequential(Fire(8, 4, 4), Fire(8, 4, 4))
        self.plain = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.plain(self.fires(torch.relu(self.first(x)))).mean((2, 3)))


def test_a_module_that_passes_one_value_on_within_itself_is_a_block():
    prepared, _ = prepared_state(Fires().eval(), images(8)[0], 4)
    fires = [[f"fires.{i}.{name}" for name in ("squeeze", "narrow", "wide")] for i in (0, 1)]
    assert layers_of(residual_blocks(prepared)) == [["first"], *fires, ["plain.0"], ["plain.2"], ["head"]]
    assert len(layer_blocks(prepared)) == 10


def test_a_block_of_several_layers_is_learned_as_one():
    network, rows = Fires().eval(), images(96, 1)[0]
    prepared, state = prepared_state(network, rows, 3)
    start, _ = compensate(prepared, state, rows)
    single, joined = (
        reconstruct(prepared, state, start, rows.split(48), blocks)
        for blocks in (layer_blocks(prepared), residual_blocks(prepared))
    )
    squeeze = next(layer for layer in prepared.layers if layer.name == "fires.0.squeeze")
    assert not torch.equal(joined[squeeze.weight], single[squeeze.weight])
    assert not torch.equal(joined[squeeze.weight], start[squeeze.weight])

    expected = logits_in_chunks(prepared, state, rows, rounded=False)
    before, after = (
        float((logits_in_chunks(prepared, changed, rows, rounded=True) - expected).square().mean())
        for changed in (start, joined)
    )
    assert after < before


class Tokens(nn.Module):
    """Attention and an MLP with residual sums, over tokens of rows: shapes that depend on the number of rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.qkv, self.out = nn.Linear(4, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x):
        rows = x.shape[0]
        x = self.embed(x.reshape(rows, 3, 4))
        q, k, v = self.qkv(x).reshape(rows, 3, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, 3, 8))
        x = x + self.down(nn.functional.gelu(self.up(x)))
        return self.head(x[:, 0])


def test_attention_and_mlp_are_blocks_and_their_error_falls():
    network, rows = Tokens().eval(), torch.randn(90, 12, generator=torch.Generator().manual_seed(0))
    prepared, state = prepared_state(network, rows, 2)
    blocks = residual_blocks(prepared)
    assert layers_of(blocks) == [["embed"], ["qkv", "out"], ["up", "down"], ["head"]]
    expected = logits_in_chunks(prepared, state, rows, rounded=False)

    def error(changed) -> float:
        return float((prepared.run(changed, rows) - expected).square().mean())

    learned = reconstruct(prepared, state, state, rows.split(32), blocks, steps=150, learning_rate=0.05)
    assert error(learned) < 0.7 * error(state)


def test_chunks_do_not_matter_and_the_last_block_does_not_get_worse():
    network, rows = residual(0, waves), waves(96, 1)[0]
    prepared, state = prepared_state(network, rows, 4)
    results = [
        reconstruct(prepared, state, state, chunks, layer_blocks(prepared), steps=20)
        for chunks in (rows.split(96), rows.split(40))
    ]
    for layer in prepared.layers:
        different = (results[0][layer.weight] - results[1][layer.weight]).abs() > 1e-6
        assert different.float().mean() < 0.02  # sums in another order
    again = reconstruct(prepared, state, state, rows.split(40), layer_blocks(prepared), steps=20)
    assert all(torch.equal(again[layer.weight], results[1][layer.weight]) for layer in prepared.layers)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, x):
        return self.head(torch.relu(self.first(torch.relu(self.first(x)))))


def test_a_layer_that_computes_two_products_keeps_its_start():
    rows = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
    prepared, state = prepared_state(Twice().eval(), rows, 4)
    assert layers_of(layer_blocks(prepared)) == [["head"]]
    assert layers_of(residual_blocks(prepared)) == [["head"]]
    learned = reconstruct(prepared, state, state, [rows], layer_blocks(prepared), steps=50)
    assert torch.equal(learned["first.weight"], state["first.weight"])


@pytest.mark.parametrize("method", ["adaround", "brecq"])
def test_files_have_the_learned_integers_and_pruned_weights_stay_zero(method):
    network, rows = residual(), images(200, 1)[0]
    state = {k: v.clone() for k, v in network.state_dict().items()}
    for name in ("second.0.weight", "wide.weight"):
        state[name][state[name].abs() < state[name].abs().median()] = 0
    engine = BatchQuantizer.from_module(network, rows)
    (created,) = quantize_many(engine, [state], [rows], Scheme(4), rounding=method, bias_correction=True)
    assert created.details["agreement_with_graph"] > 0.97
    for name in ("second.0.weight", "wide.weight"):
        assert (created.state[name][state[name] == 0] == 0).all()
