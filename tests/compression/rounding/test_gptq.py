"""Rounding with error compensation, against a re-solved least-squares problem and against all roundings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from fairpress.compression.rounding.gptq import DAMPING, error_compensated, factorize


def problem(channels: int, k: int, *, groups: int = 1, rows: int = 200, seed: int = 0):
    """Weights [groups, channels, k], inputs [groups, rows, k] that depend on each other, and moments."""
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(groups, channels, k, generator=draw)
    inputs = torch.randn(groups, rows, k, generator=draw) @ torch.randn(groups, k, k, generator=draw)
    return weight, inputs, inputs.mT @ inputs / rows


def squared_error(weight, rounded, moments):
    d = (weight - rounded).double()
    return (d @ moments.double() * d).sum(-1)


def by_least_squares(weight, moments, scale, top):
    """Round one column after the other; each time, the columns that are left are solved for anew (float64)."""
    h = moments.double().numpy()
    h = h + DAMPING * np.diag(h).mean() * np.eye(len(h))
    order = np.argsort(-np.diag(h), kind="stable")
    w = weight.double().numpy()
    out = np.empty_like(w)
    for channel, step in enumerate(scale.double().numpy()):
        fixed: dict[int, float] = {}
        for position, column in enumerate(order):
            left = list(order[position:])
            done = list(order[:position])
            error = np.array([w[channel, j] - fixed[j] for j in done])
            # min over the rest of (w − ŵ)·H·(w − ŵ)ᵀ, the errors of `done` being fixed
            rest = np.linalg.solve(h[np.ix_(left, left)], -h[np.ix_(left, done)] @ error) if done else 0.0
            aim = (w[channel, left] - rest)[0]
            fixed[column] = float(np.clip(np.round(aim / step), -top, top) * step)
        out[channel] = [fixed[j] for j in range(len(order))]
    return torch.from_numpy(out)


@pytest.mark.parametrize("top", [1, 3, 7])
def test_each_column_is_the_rounded_solution_of_the_least_squares_problem_that_is_left(top):
    weight, _, moments = problem(6, 24)
    scale = weight.abs().amax(-1) / top * 0.8
    q, _ = error_compensated(weight, factorize(moments), scale, -top, top)
    expected = by_least_squares(weight[0], moments[0], scale[0], top)
    assert torch.allclose((q * scale[..., None])[0].double(), expected, atol=1e-5)


def test_columns_of_several_blocks_make_up_for_each_other_as_those_of_one_do(monkeypatch):
    weight, _, moments = problem(5, 70)
    scale = weight.abs().amax(-1) / 7
    whole = error_compensated(weight, factorize(moments), scale, -7, 7)[0]
    monkeypatch.setattr("fairpress.compression.rounding.gptq.BLOCK", 16)
    assert torch.equal(error_compensated(weight, factorize(moments), scale, -7, 7)[0], whole)


def test_it_lies_between_the_nearest_and_the_best_of_all_roundings():
    top, worse = 1, 0
    for seed in range(20):
        weight, _, moments = problem(1, 7, seed=seed)
        scale = weight.abs().amax(-1) * 0.7
        grid = torch.tensor(list(itertools.product(range(-top, top + 1), repeat=7))) * scale
        best = float(squared_error(weight[0], grid, moments[0]).min())
        nearest = torch.clamp((weight / scale[..., None]).round(), -top, top) * scale[..., None]
        q, _ = error_compensated(weight, factorize(moments, 1e-6), scale, -top, top)
        error = float(squared_error(weight, q * scale[..., None], moments))
        assert error >= best - 1e-6
        worse += error > float(squared_error(weight, nearest, moments)) + 1e-6
    assert worse <= 2  # it is greedy: not better each time


def test_the_error_that_it_returns_is_that_of_the_outputs():
    weight, inputs, moments = problem(4, 12)
    scale = weight.abs().amax(-1) / 3
    q, error = error_compensated(weight, factorize(moments, 1e-9), scale, -3, 3)
    difference = inputs @ (weight - q * scale[..., None]).mT
    assert torch.allclose(error, difference.square().mean(1), rtol=1e-3)


def test_groups_are_rounded_as_layers_of_their_own():
    weight, _, moments = problem(1, 9, groups=5)
    scale = weight.abs().amax(-1) / 1.5
    together, _ = error_compensated(weight, factorize(moments), scale, -1, 1)
    for g in range(5):
        one = slice(g, g + 1)
        alone, _ = error_compensated(weight[one], factorize(moments[one]), scale[one], -1, 1)
        assert torch.equal(together[one], alone)


def test_independent_inputs_are_rounded_to_nearest():
    weight, _, _ = problem(3, 10)
    moments = torch.diag(torch.rand(10, generator=torch.Generator().manual_seed(1)) + 0.1)[None]
    scale = weight.abs().amax(-1) / 7
    q, _ = error_compensated(weight, factorize(moments), scale, -7, 7)
    assert torch.equal(q, (weight / scale[..., None]).round())


def test_integers_stay_within_the_limits_of_their_channel():
    weight, _, moments = problem(3, 16)
    low, high = torch.tensor([[-2.0, -1.0, -63.0]]), torch.tensor([[1.0, 2.0, 63.0]])
    q, _ = error_compensated(
        weight, factorize(moments), weight.abs().amax(-1) / torch.tensor([2, 2, 63]), low, high
    )
    assert (q.amin(-1) >= low).all()
    assert (q.amax(-1) <= high).all()
    assert q[0, 0].min() == -2
    assert q[0, 1].max() == 2
    assert q[0, 2].abs().max() > 30


def test_weights_of_0_stay_0_though_they_could_make_up_for_errors():
    weight, _, moments = problem(8, 40)
    weight[..., ::3] = 0
    q, _ = error_compensated(weight, factorize(moments), weight.abs().amax(-1) / 7, -7, 7)
    assert (q[..., ::3] == 0).all()
    assert (q != 0).any()


def test_inputs_that_are_always_0_have_no_influence():
    weight, inputs, _ = problem(4, 12)
    inputs[..., [2, 7]] = 0
    scale = weight.abs().amax(-1) / 3
    q, error = error_compensated(weight, factorize(inputs.mT @ inputs / 200), scale, -3, 3)
    living = [i for i in range(12) if i not in (2, 7)]
    few = inputs[..., living]
    ratio = 10 / 12  # damping is a share of the mean of the diagonal
    alone, _ = error_compensated(
        weight[..., living], factorize(few.mT @ few / 200, DAMPING * ratio), scale, -3, 3
    )
    assert torch.equal(q[..., living], alone)
    assert torch.equal(q[..., [2, 7]], (weight[..., [2, 7]] / scale[..., None]).round())
    nothing, error = error_compensated(weight, factorize(torch.zeros(1, 12, 12)), scale, -3, 3)
    assert torch.equal(nothing, (weight / scale[..., None]).round())
    assert error.isfinite().all()


def test_one_calibration_row_is_enough():
    weight, inputs, _ = problem(4, 30, rows=1)
    scale = weight.abs().amax(-1) / 7
    q, _ = error_compensated(weight, factorize(inputs.mT @ inputs), scale, -7, 7)
    nearest = (weight / scale[..., None]).round() * scale[..., None]
    error = (inputs @ (weight - q * scale[..., None]).mT).abs()
    assert float(error.mean()) < 0.5 * float((inputs @ (weight - nearest).mT).abs().mean())


def test_moments_that_rounding_errors_left_indefinite_are_damped_more():
    _, _, moments = problem(1, 20)
    values, vectors = torch.linalg.eigh(moments)
    values[..., 0] = -0.02 * values.mean()
    moments = vectors @ torch.diag_embed(values) @ vectors.mT
    factor = factorize(moments)
    order = factor.order[0]
    damped = moments[0][order][:, order] + 10 * DAMPING * moments.diagonal(
        dim1=-2, dim2=-1
    ).mean() * torch.eye(20)
    assert torch.allclose(factor.v[0] @ factor.v[0].mT, damped, atol=1e-4 * float(damped.max()))
    assert torch.equal(factor.v, factor.v.triu())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_moments_that_are_not_finite_end(value):
    with pytest.raises(ValueError, match="finite"):
        factorize(torch.eye(3)[None] * value)
