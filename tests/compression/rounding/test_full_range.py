"""All four integers of 2 bits and all eight of 3: the sign of a channel's scale says which end reaches further."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.range_estimators import weight_scales
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification.checks import check_file, stored_weights
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.batching import outputs, rows_at_once
from fairpress.runtime.backends.registry import open_session
from trained import images, residual


def error(weight, scale, low, top):
    q = torch.clamp((weight / scale[:, None]).round(), low, top)
    return (q * scale[:, None] - weight).square().sum(1)


def test_the_scale_is_the_best_of_both_signs():
    weight = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    weight[0, 3], weight[1, 3] = 9.0, -9.0
    for top in (1, 3):
        low = -top - 1
        scale = weight_scales(weight, top, "mse", low)
        full = error(weight, scale, low, top)
        assert (
            full <= error(weight, weight_scales(weight, top, "mse"), -top, top) + 1e-6
        ).float().mean() > 0.9
        assert (full <= error(weight, -scale, low, top) + 1e-4).all()
        grid = torch.linspace(0.02, 9, 2000)
        for channel in range(5):
            several = weight[channel].expand(2000, -1)
            best = min(float(error(several, sign * grid, low, top).min()) for sign in (1, -1))
            assert float(full[channel]) <= 1.03 * best
    assert set(scale.sign().tolist()) == {-1.0, 1.0}
    steps = weight / weight_scales(weight, 1, "minmax", -2)[:, None]
    assert steps.min() >= -2.00001
    assert steps.max() <= 1.00001
    assert torch.allclose(weight_scales(weight, 7, "mse", -7).abs(), weight_scales(weight, 7, "mse"))


def test_a_channel_without_weights_has_the_largest_scale():
    weight = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    weight[1] = 0
    scale = weight_scales(weight, 1, "mse", -2)
    assert scale[1] == scale.abs().max()


@pytest.fixture(scope="module")
def engine():
    return BatchQuantizer.from_module(residual(), images(2)[0])


@pytest.mark.parametrize("scheme", [Scheme(b, a, full_range=True) for b in (2, 3) for a in (True, False)])
def test_runtimes_compute_what_the_graph_does(engine, scheme):
    rows = images(300, 1)[0]
    (created,) = quantize_many(engine, [residual().state_dict()], [rows], scheme, rounding="gptq")
    stored = stored_weights(onnx.load_from_string(created.onnx))
    bits = scheme.weight_bits
    assert {int(v) for w in stored for v in np.unique(w.values)} == set(
        range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    )
    assert {w.bits for w in stored} == {bits}
    scales = [created.state[f"{n.module}.scale"] for n in created.prepared.layers]
    assert min(float(s.min()) for s in scales) < 0 < max(float(s.max()) for s in scales)
    expected = created.graph(rows).numpy()
    for backend in (Backend(), Backend(variant="exact"), Backend("openvino")):
        x = rows.numpy()
        logits = outputs(open_session(created.onnx, backend), x, np.arange(300), rows_at_once(created.onnx))
        assert np.abs(logits - expected).mean() < 0.02 * np.abs(expected).mean() + 1e-4, backend


def test_preserved_channels_are_symmetric_and_the_others_are_not(engine):
    rows = images(100, 1)[0]
    scheme = Scheme(2, preserve=0.25, full_range=True)
    prepared = engine.prepare(scheme)
    tops = {n.channel_tops: torch.full((n.shape[0],), 1.0) for n in prepared.layers}
    for layer in prepared.layers:
        tops[layer.channel_tops][: layer.preserved] = 63.0
    (created,) = quantize_many(
        engine, [residual().state_dict()], [rows], scheme, tops=[tops], rounding="gptq"
    )
    for layer, w in zip(prepared.layers, stored_weights(onnx.load_from_string(created.onnx)), strict=True):
        assert layer.name == "head" or 30 < np.abs(w.values[w.preserved]).max() <= 63
        assert w.values[~w.preserved].min() >= -2
        assert w.values[~w.preserved].max() <= 1
        assert w.preserved.sum() == layer.preserved


def test_a_symmetric_layer_may_not_use_the_fourth_integer(engine):
    rows = images(100, 1)[0]
    full, state = Scheme(2, full_range=True), residual().state_dict()
    (created,) = quantize_many(engine, [state], [rows], full, rounding="gptq")
    with pytest.raises(VerificationError, match=r"stores integers -2 … 1, outside of ±1"):
        check_file(created.onnx, engine.prepare(Scheme(2)).layers, created.state, integer=True)
    (created,) = quantize_many(engine, [state], [rows], Scheme(2), rounding="gptq")
    check_file(created.onnx, engine.prepare(Scheme(2)).layers, created.state, integer=True)
    assert Scheme(4, full_range=True).low(4) == -7
    assert (Scheme(3, full_range=True).low(3), Scheme(3).low(3)) == (-4, -3)
