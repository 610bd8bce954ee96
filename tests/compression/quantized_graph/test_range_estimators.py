"""Ranges: the least squared error is the least, zero is kept, pieces count like the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fairpress.compression.quantized_graph.range_estimators import (
    BINS,
    Histogram,
    activation_scale,
    weight_scales,
)


def error(weight: torch.Tensor, scale: torch.Tensor, top: int) -> torch.Tensor:
    q = (weight / scale[:, None]).round().clamp(-top, top)
    return (weight - q * scale[:, None]).square().sum(1)


@pytest.mark.parametrize("top", [127, 7, 1])
@pytest.mark.parametrize("draw", ["normal", "laplace"])
def test_mse_scales_are_close_to_an_exhaustive_search(top, draw):
    torch.manual_seed(0)
    distribution = (
        torch.distributions.Laplace(0.0, 1.0) if draw == "laplace" else torch.distributions.Normal(0.0, 1.0)
    )
    weight = distribution.sample((16, 256))
    best = torch.stack(
        [error(weight, weight.abs().amax(1) * r / top, top) for r in torch.linspace(1.02, 0.05, 600)]
    ).amin(0)
    result = error(weight, weight_scales(weight, top, "mse"), top)
    assert (result <= error(weight, weight_scales(weight, top, "minmax"), top)).all()
    assert result.sum() <= {127: 1.08, 7: 1.01, 1: 1.01}[top] * best.sum()


def test_minmax_reaches_the_largest_weight_and_percentile_leaves_it_out():
    weight = torch.cat([torch.linspace(-1, 1, 1999), torch.tensor([50.0])])[None]
    assert weight_scales(weight, 7, "minmax") == pytest.approx(50 / 7)
    assert weight_scales(weight, 7, "percentile") == pytest.approx(1 / 7, rel=0.01)


def test_scales_of_a_stack_are_those_of_its_networks():
    weights = torch.randn(3, 5, 40)
    together = weight_scales(weights, 7, "mse")
    assert torch.equal(together, torch.stack([weight_scales(w, 7, "mse") for w in weights]))


def test_a_scale_grows_with_its_weights_whatever_their_sign():
    """What allows folding a batch norm after training: s(c·w) = |c|·s(w)."""
    weight = torch.randn(6, 50)
    factor = torch.tensor([0.5, -2.0, 1.0, -1.0, 4.0, 0.25])
    for how in ("minmax", "percentile", "mse"):
        scaled = weight_scales(weight * factor[:, None], 7, how)
        assert torch.allclose(scaled, weight_scales(weight, 7, how) * factor.abs(), rtol=1e-5)


def test_a_channel_of_zeros_has_a_scale():
    assert (weight_scales(torch.zeros(2, 9), 7, "mse") > 0).all()


def test_pieces_are_counted_like_the_whole():
    torch.manual_seed(1)
    x = torch.randn(3000) * torch.linspace(0.1, 7, 3000)
    whole, pieces = Histogram(), Histogram()
    whole.add(x)
    for piece in x.split(170):
        pieces.add(piece)
    assert pieces.limit == whole.limit == 2 ** np.ceil(np.log2(float(x.abs().max())))
    assert (pieces.low, pieces.high) == (float(x.min()), float(x.max()))
    assert pieces.counts.sum() == 3000
    # A value on the edge of a bin may fall to either side.
    assert (pieces.counts - whole.counts).abs().sum() <= 4
    expected, _ = np.histogram(x.numpy(), len(whole.counts), (-whole.limit, whole.limit))
    assert np.abs(whole.counts.numpy() - expected).sum() <= 4


@pytest.mark.parametrize("how", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_zero_is_an_integer_of_every_activation(how, shift):
    seen = Histogram()
    seen.add(torch.randn(5000) + shift)
    scale, zero = activation_scale(seen, 255, how)
    assert zero == round(zero)
    assert 0 <= zero <= 255
    assert scale > 0


def test_an_outlier_is_clipped_by_mse_and_percentile_and_not_by_minmax():
    seen = Histogram()
    seen.add(torch.cat([torch.rand(100_000), torch.tensor([4.0])]))
    reach = {how: activation_scale(seen, 255, how)[0] * 255 for how in ("minmax", "percentile", "mse")}
    assert reach["minmax"] == pytest.approx(4.0)
    assert reach["percentile"] == pytest.approx(1.0, abs=0.01)
    assert reach["mse"] < 4.0


def test_mse_loses_no_more_than_minmax():
    torch.manual_seed(2)
    x = torch.randn(20_000).relu() ** 2
    seen = Histogram()
    seen.add(x)

    def loss(how: str) -> float:
        scale, zero = activation_scale(seen, 15, how)
        return float((x - ((x / scale).round().add(zero).clamp(0, 15) - zero) * scale).square().mean())

    assert loss("mse") < 0.8 * loss("minmax")


def test_a_value_that_is_always_zero_has_a_range():
    seen = Histogram()
    seen.add(torch.zeros(10))
    assert activation_scale(seen, 255, "mse")[0] > 0


@pytest.mark.parametrize("how", ["minmax", "percentile", "mse"])
def test_a_channel_without_weights_has_a_scale_at_which_a_bias_can_be_stored(how):
    weight = torch.randn(4, 30, generator=torch.Generator().manual_seed(2))
    whole = weight_scales(weight, 7, how)
    weight[1] = 0
    scales = weight_scales(weight, 7, how)
    assert torch.equal(scales[[0, 2, 3]], whole[[0, 2, 3]])
    assert scales[1] == whole[[0, 2, 3]].max()
    stack = weight_scales(torch.stack([weight, torch.zeros_like(weight)]), 7, how)
    assert torch.equal(stack[0], scales)
    assert (stack[1] > 1e-4).all()


def test_bins_are_counted_as_torch_counts_them():
    generator = torch.Generator().manual_seed(0)
    x = torch.cat(
        [torch.randn(200_000, generator=generator).relu(), torch.tensor([-4.0, 4.0, 0.0, -0.0, 1e-30])]
    )
    histogram = Histogram()
    histogram.add(x[:1000] / 100)
    histogram.add(x)
    expected = Histogram()
    expected.add(x)
    both = torch.histc(torch.cat([x[:1000] / 100, x]), BINS, -histogram.limit, histogram.limit)
    assert torch.equal(histogram.counts, both)
    assert torch.equal(expected.counts, torch.histc(x, BINS, -expected.limit, expected.limit))
