"""Networks whose weights are rounded with error compensation, layer by layer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantization.calibrate import calibrate, logits_in_chunks, scales_of_weights
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding import compensate as module
from fairpress.compression.rounding.compensate import compensate
from fairpress.compression.rounding.gptq import error_compensated, factorize
from fairpress.compression.rounding.layer_sweep import bytes_per_row, sweep
from fairpress.compression.verification.checks import stored_weights
from fairpress.core.errors import UserError
from trained import easy, images, residual, waves


def engine_of(network: nn.Module, rows: torch.Tensor):
    engine = BatchQuantizer.from_module(network, rows)
    return engine, engine.fold(network.state_dict())


def on_grid(weight: torch.Tensor, scale: torch.Tensor, top: int) -> bool:
    q = weight.flatten(1) / scale[:, None]
    return bool(torch.allclose(q, q.round(), atol=1e-3) and q.abs().max() < top + 0.5)


@pytest.mark.parametrize("bits", [4, 2])
def test_outputs_stay_nearer_to_the_float_network_on_other_rows(bits):
    network, rows = residual(0, waves), waves(300, 1)[0]
    engine, state = engine_of(network, rows)
    prepared, others = engine.prepare(Scheme(bits)), waves(400, 2)[0]
    expected = logits_in_chunks(prepared, state, others, rounded=False).log_softmax(-1)

    def divergence(rounding):
        calibrated = calibrate(prepared, state, rows, rounding=rounding)
        for layer in prepared.layers:
            if rounding == "gptq":
                assert on_grid(
                    calibrated.state[layer.weight], calibrated.state[f"{layer.module}.scale"], layer.top
                )
        result = logits_in_chunks(prepared, calibrated.state, others, rounded=True).log_softmax(-1)
        return float((expected.exp() * (expected - result)).sum(1).mean())

    assert divergence("gptq") < 0.8 * divergence("nearest")


def test_a_file_has_the_compensated_integers():
    network, rows = residual(), images(300, 1)[0]
    engine, state = engine_of(network, rows)
    (created,) = quantize_many(engine, [network.state_dict()], [rows], Scheme(4), rounding="gptq")
    assert created.details["rounding_rows"] == 300
    assert created.details["agreement_with_graph"] > 0.97
    scales = scales_of_weights(created.prepared, state, "mse")
    changed, _ = compensate(created.prepared, {**state, **scales}, rows)
    weights = stored_weights(onnx.load_from_string(created.onnx))
    for layer, stored in zip(created.prepared.layers, weights, strict=True):
        step = changed[f"{layer.module}.scale"].view(-1, *[1] * (len(layer.shape) - 1))
        assert np.array_equal(stored.values, (changed[layer.weight] / step).round().to(torch.int8).numpy())
        assert not torch.equal(changed[layer.weight], ((state[layer.weight] / step).round() * step))


class Twice(nn.Module):
    """A layer that runs twice, and one that shares its weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.again, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 2)
        self.again.weight = self.first.weight

    def forward(self, x):
        x = torch.relu(self.first(torch.relu(self.first(x))))
        return self.head(torch.relu(self.again(x)))


def test_every_layer_reads_what_the_changed_layers_before_it_compute():
    network = Twice()
    rows = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(4))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    seen = []

    def visit(layer, node, inputs, weight):
        seen.append((layer.name, torch.cat(list(inputs))))
        return weight * 0.5

    changed = sweep(prepared, scaled, rows.split(7), visit)
    assert [name for name, _ in seen] == [layer.name for layer in prepared.layers]
    assert torch.equal(seen[0][1], rows)
    with torch.no_grad():
        rounded = {}
        for layer in prepared.layers:
            step = scaled[f"{layer.module}.scale"][:, None]
            rounded[layer.name] = (
                torch.clamp((changed[layer.weight] / step).round(), -layer.top, layer.top) * step
            )
        first, again = network.first, network.again
        x = rows
        for bias in (first.bias, first.bias, again.bias):
            x = torch.relu(x @ rounded[seen[0][0]].T + bias)
    assert torch.allclose(seen[-1][1], x, atol=1e-5)
    for name, tensor in state.items():  # what was given is not changed
        assert torch.equal(tensor, engine.fold(network.state_dict())[name])
    result, _ = compensate(prepared, scaled, rows)
    assert on_grid(result["again.weight"], result[f"{prepared.layers[0].module}.scale"], 7)


def test_a_linear_layer_is_rounded_by_the_moments_of_its_inputs():
    network = nn.Sequential(nn.Linear(20, 2))
    rows = torch.randn(50, 20, generator=torch.Generator().manual_seed(0)) @ torch.randn(20, 20)
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(2))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    (layer,) = prepared.layers
    step = scaled[f"{layer.module}.scale"]
    q, _ = error_compensated(
        state[layer.weight][None], factorize((rows.T @ rows / 50)[None]), step[None], -1, 1
    )
    changed, facts = compensate(prepared, scaled, rows)
    assert torch.equal(changed[layer.weight], q[0] * step[:, None])
    assert facts == {"rounding_rows": 50}


def test_more_rows_than_fit_into_memory_are_thinned_evenly(monkeypatch):
    network, rows = residual(), images(100, 1)[0]
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(4))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    size = bytes_per_row(prepared, scaled, rows)
    widest = 4 * (8 * 64 * 2 + 16 * 64)  # the join holds what it joins
    assert 0.5 * widest <= size <= 2 * widest
    monkeypatch.setattr(module, "MAX_BYTES", 25 * size + 1)
    changed, facts = compensate(prepared, scaled, rows)
    assert facts == {"rounding_rows": 25}
    spread = torch.linspace(0, 99, 25).round().long()
    monkeypatch.undo()
    again, _ = compensate(prepared, scaled, rows[spread])
    assert all(torch.equal(changed[layer.weight], again[layer.weight]) for layer in prepared.layers)


def test_chunks_of_rows_change_nothing(monkeypatch):
    network, rows = residual(), images(60, 1)[0]
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(4))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    whole, _ = compensate(prepared, scaled, rows)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    small, _ = compensate(prepared, scaled, rows)
    same = [(whole[n.weight] == small[n.weight]).float().mean() for n in prepared.layers]
    assert min(same) > 0.98  # sums in another order


def test_a_layer_of_very_many_inputs_is_rounded_in_parts(monkeypatch):
    monkeypatch.setattr(module, "RATIOS", (1.0,))
    network = nn.Sequential(nn.Linear(30, 2))
    rows = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) @ torch.randn(30, 30)
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(4))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    monkeypatch.setattr(module, "MAX_COLUMNS", 12)
    changed, _ = compensate(prepared, scaled, rows)
    (layer,) = prepared.layers
    step = scaled[f"{layer.module}.scale"]
    for part in (slice(0, 10), slice(10, 20), slice(20, 30)):
        h = (rows[:, part].T @ rows[:, part] / 50)[None]
        q, _ = error_compensated(state[layer.weight][None, :, part], factorize(h), step[None], -7, 7)
        assert torch.equal(changed[layer.weight][:, part], q[0] * step[:, None])


def test_values_that_are_not_finite_are_refused_with_the_layer():
    network, rows = residual(), images(20, 1)[0].clone()
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(4))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    rows[3, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"layer 'first\.0' reads values that are not finite"):
        compensate(prepared, scaled, rows)


def test_one_row_and_inputs_that_are_always_0_give_a_file():
    network, rows = residual(), images(1, 1)[0]
    engine, state = engine_of(network, rows.repeat(2, 1, 1, 1))
    prepared = engine.prepare(Scheme(4))
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    for some in (rows, torch.zeros_like(rows)):
        changed, _ = compensate(prepared, scaled, some)
        for layer in prepared.layers:
            assert on_grid(changed[layer.weight], changed[f"{layer.module}.scale"], 7)


def test_zeros_float_layers_and_preserved_channels_stay_what_they_are():
    network, rows = residual(), images(64, 1)[0]
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(4, keep=("wide",), preserve=0.25))
    tops = {n.channel_tops: torch.full((n.shape[0],), 7.0) for n in prepared.layers}
    for layer in prepared.layers:
        state[layer.weight] = state[layer.weight].clone()
        state[layer.weight].flatten()[::3] = 0
        tops[layer.channel_tops][: layer.preserved] = 63.0
    scaled = {**state, **tops, **scales_of_weights(prepared, {**state, **tops}, "mse")}
    changed, _ = compensate(prepared, scaled, rows)
    assert torch.equal(changed["wide.weight"], state["wide.weight"])
    for layer in prepared.layers:
        assert (changed[layer.weight][state[layer.weight] == 0] == 0).all()
        q = changed[layer.weight].flatten(1) / changed[f"{layer.module}.scale"][:, None]
        assert (q[: layer.preserved].abs().amax(1) > 25).all()
        assert (q[layer.preserved :].abs().amax(1) < 7.5).all()


def test_a_recipe_says_how_many_rows_it_used():
    data, bases = easy()
    created = fp.compress(bases[0], "int4(rounding=gptq)", data=data[0])
    details = created.card.provenance["details"]
    assert details["rounding_rows"] == details["calibration_rows"]
    assert created.card.recipe == "int4(rounding=gptq)"


def test_dynamic_and_mixed_recipes_round_with_compensation_too():
    data, bases = easy()
    for text in ("int8-dynamic(rounding=gptq)", "mixed(rounding=gptq,budget=3100)", "w2(rounding=gptq)"):
        created = fp.compress(bases[0], text, data=data[0])
        plain = fp.compress(
            bases[0], text.replace("rounding=gptq,", "").replace("(rounding=gptq)", ""), data=data[0]
        )
        assert created.card.recipe == text
        assert created.onnx != plain.onnx
        assert created.card.provenance["details"]["agreement_with_graph"] > 0.95


class Tied(nn.Module):
    """An embedding whose weight is also that of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.middle, self.head = nn.Embedding(40, 16), nn.Linear(16, 16), nn.Linear(40, 2)

    def forward(self, x):
        hidden = self.middle(self.embedding(x.long()).mean(1)).relu()
        return self.head(nn.functional.linear(hidden, self.embedding.weight))


@pytest.mark.parametrize("rounding", ["gptq", "brecq"])
def test_a_weight_that_an_embedding_reads_too_has_one_set_of_integers(rounding):
    torch.manual_seed(0)
    network = Tied().eval()
    rows = torch.randint(0, 40, (200, 7), generator=torch.Generator().manual_seed(0)).float()
    engine, state = engine_of(network, rows)
    prepared = engine.prepare(Scheme(2, activations=False, full_range=True))
    rounded = calibrate(prepared, state, rows, rounding=rounding).state
    for name in ("embedding.weight", "middle.weight"):
        assert not torch.equal(rounded[name], state[name])
        assert max(len(row.unique()) for row in rounded[name]) <= 4  # 2 bits, a scale for each row


def test_a_weight_of_two_layers_is_compensated():
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    network[2].weight = network[0].weight
    rows = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    engine, state = engine_of(network.eval(), rows)
    prepared = engine.prepare(Scheme(2, activations=False))
    rounded = calibrate(prepared, state, rows, rounding="gptq").state
    assert all(not torch.equal(rounded[layer.weight], state[layer.weight]) for layer in prepared.layers)
