"""Learned rounding of one weight, against all roundings that there are."""

from __future__ import annotations

import itertools

import pytest
import torch

from fairpress.compression.rounding.gptq import error_compensated, factorize
from fairpress.compression.rounding.learned import RoundedWeight, learn_rounding, squared_error


def layer(seed: int, channels: int = 1, k: int = 8, rows: int = 200, scale: float = 0.25, top: int = 7):
    """A linear layer that reads correlated inputs, started from nearest rounding."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, k, generator=generator) @ torch.randn(k, k, generator=generator)
    weight = 0.4 * torch.randn(channels, k, generator=generator)
    step, limit = torch.full((channels, 1), scale), torch.tensor(float(top))
    integers = torch.clamp((weight / step).round(), -limit, limit)

    def compute(chosen, weights):
        return x[chosen] @ weights[0].T

    return compute, x @ weight.T, RoundedWeight(weight, integers, step, -limit, limit)


def test_few_of_all_roundings_are_better():
    ratios = []
    for seed in range(6):
        compute, target, rounded = layer(seed)
        (learned,) = learn_rounding(compute, target, [rounded], learning_rate=0.05)
        floor = (rounded.weight / rounded.scale).floor()
        errors = {
            ups: squared_error(compute, target, [(floor + torch.tensor(ups)) * rounded.scale])
            for ups in itertools.product((0, 1), repeat=8)
        }
        start, error = (squared_error(compute, target, [w]) for w in (rounded.grid, learned))
        assert error <= start
        assert sum(e < error for e in errors.values()) < 32  # of 256
        ratios.append(error / start)
    assert sum(ratios) / len(ratios) < 0.8


def test_an_error_compensated_start_is_improved():
    ratios, of_nearest = [], []
    for seed in range(4):
        compute, target, nearest = layer(seed, channels=16, k=48, rows=256, scale=0.5, top=1)
        x = compute(torch.arange(256), [torch.eye(48)])
        low, top, scale = nearest.low, nearest.top, nearest.scale
        factor = factorize((x.T @ x / len(x))[None])
        (integers,), _ = error_compensated(nearest.weight[None], factor, scale.view(1, -1), low, top)
        start = RoundedWeight(nearest.weight, integers, scale, low, top)
        (learned,) = learn_rounding(compute, target, [start])
        before, after, rounded = (
            squared_error(compute, target, [w]) for w in (start.grid, learned, nearest.grid)
        )
        ratios.append(after / before)
        of_nearest.append(rounded / before)
    assert min(of_nearest) > 1.4  # where a short training towards the float weights ends
    assert max(ratios) <= 1
    assert sum(ratios) / len(ratios) < 0.85


@pytest.mark.parametrize("options", [{"steps": 0}, {"learning_rate": 1e3}, {"regularization": 1e6}])
def test_the_error_of_the_start_is_never_exceeded(options):
    for seed in range(5):
        compute, target, rounded = layer(seed, channels=3)
        (learned,) = learn_rounding(compute, target, [rounded], **{"steps": 20, **options})
        before, after = (squared_error(compute, target, [w]) for w in (rounded.grid, learned))
        assert after <= before
        q = learned / rounded.scale
        assert torch.allclose(q, q.round(), atol=1e-4)


def test_weights_stay_in_their_range_and_zeros_stay_zero():
    compute, target, rounded = layer(0, channels=4, scale=0.2, top=1)
    weight = rounded.weight.clone()
    weight[:, ::3] = 0
    integers = torch.clamp((weight / rounded.scale).round(), -1, 1)
    start = RoundedWeight(weight, integers, rounded.scale, rounded.low, rounded.top)
    (learned,) = learn_rounding(compute, target, [start], learning_rate=0.1)
    assert not torch.equal(learned, start.grid)
    assert torch.equal(learned == 0, (learned == 0) | (weight == 0))
    assert float((learned / rounded.scale).abs().max()) <= 1.001


def test_the_two_integers_of_a_weight_are_its_start_and_the_one_towards_the_float_weight():
    weight = torch.tensor([[0.6, -0.6, 3.4, -9.0, 9.0, 1.0]])
    start = torch.tensor([[1.0, -1.0, 1.0, -7.0, 7.0, 1.0]])
    one, limit = torch.ones(1, 1), torch.tensor(7.0)
    rounded = RoundedWeight(weight, start, one, -limit, limit)
    assert rounded.lower.tolist() == [[0, -1, 1, -7, 6, 1]]
    # A negative step turns the weight's axis around; the smallest integer need not be the negative of the largest.
    turned = RoundedWeight(-weight, start, -one, -limit - 1, limit)
    assert turned.lower.tolist() == [[0, -1, 1, -8, 6, 1]]
    narrow = RoundedWeight(weight, start.clamp(-1, 1), one, -one, one)
    assert narrow.lower.tolist() == [[0, -1, 0, -1, 0, 0]]


def test_one_seed_gives_one_rounding():
    compute, target, rounded = layer(3, channels=4)
    first, again = (learn_rounding(compute, target, [rounded], steps=60, seed=1)[0] for _ in range(2))
    assert torch.equal(first, again)


def test_a_start_without_error_is_kept():
    compute, _, rounded = layer(1)
    target = compute(torch.arange(200), [rounded.grid])
    assert torch.equal(learn_rounding(compute, target, [rounded])[0], rounded.grid)
