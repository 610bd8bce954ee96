"""Pruning that looks at what weights are worth to whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.compression.pruning.group_importance import batches_of_groups, importance, keep_for_all_groups
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.training.data import Data
from trained import easy, random_group_batches, residual

BOTH = torch.tensor([[True, True]])
FEW = "epochs=1,batch_size=32"


def test_the_least_served_group_keeps_as_much_as_it_can():
    # Group 0 (the loss of many) lives on weights 0 and 1, group 1 on weight 2; two may stay.
    worth = torch.tensor([[[6.0, 4.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 0.0]]])
    mask = keep_for_all_groups(worth, torch.ones(1, 4), 2, BOTH)
    assert mask.tolist() == [
        [1, 0, 1, 0]
    ]  # shares .6 and 1; summed importance would take 6 + 4 and leave group 1 none
    alone = keep_for_all_groups(worth, torch.ones(1, 4), 2, torch.tensor([[True, False]]))
    assert alone.tolist() == [[1, 1, 0, 0]]


def test_it_is_near_the_best_of_all_sets():
    from itertools import combinations

    generator = torch.Generator().manual_seed(0)
    worth = torch.rand(2, 6, 10, generator=generator) ** 4
    share = worth / worth.sum(-1, keepdim=True)
    mask = keep_for_all_groups(worth, torch.ones(6, 10), 4, BOTH.expand(6, 2))
    assert mask.sum(1).tolist() == [4] * 6
    reached = (share * mask).sum(-1).amin(0)
    best = torch.stack([share[..., list(c)].sum(-1).amin(0) for c in combinations(range(10), 4)]).amax(0)
    pooled = torch.zeros(6, 10).scatter_(-1, worth.sum(0).topk(4, dim=-1).indices, 1.0)
    assert (reached > 0.93 * best).all()
    assert (reached >= (share * pooled).sum(-1).amin(0)).all()


def test_worth_is_what_the_loss_of_a_group_depends_on():
    # A linear network of two inputs: group 0's rows have only the first, so the second is worth nothing to it.
    groups = torch.arange(200) % 2
    x = torch.stack([torch.ones(200), groups.float()], 1)
    data = Data(x, torch.ones(200, dtype=torch.long), groups)
    weight = torch.full((1, 2, 2), 0.3, requires_grad=True)
    result = importance(
        lambda v: v @ weight.transpose(1, 2), {"w": weight}, {"w": weight}, batches_of_groups([data], 2, [0])
    )["w"]
    assert result.shape == (2, 1, 2, 2)
    assert result[0, 0, :, 1].abs().max() == 0
    assert result[1, 0, :, 1].min() > 0
    logits = torch.tensor([[0.3, 0.3]], requires_grad=True)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.tensor([1])), logits)
    assert result[0, 0, :, 0].tolist() == pytest.approx((0.3 * gradient[0]).square().tolist())


def test_a_group_with_few_rows_fills_its_batch():
    data = Data(
        torch.arange(50.0)[:, None], torch.zeros(50, dtype=torch.long), torch.tensor([0] * 47 + [1] * 3)
    )
    (_, _), (inputs, _) = batches_of_groups([data], 2, [0])
    assert inputs.shape == (1, 64, 1)
    assert set(inputs.flatten().tolist()) == {47.0, 48.0, 49.0}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_small_networks_lose_as_many_weights_and_others(scope):
    data, bases = easy()
    recipe = f"prune-80({FEW},scope={scope},importance=groups,by=sex)"
    created, plain = (
        fp.compress(bases[0], r, data=data[0]) for r in (recipe, f"prune-80({FEW},scope={scope})")
    )
    assert created.card.provenance["details"]["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert created.digest != plain.digest
    accuracy = created.card.provenance["details"]["validation"]["accuracy"]
    assert accuracy > 0.7
    fold = replace(data[0], attributes={"sex": np.full(len(data[0]), "Female")})
    with pytest.raises(UserError, match="fewer than two groups"):
        fp.compress(bases[0], recipe, data=fold)


def test_networks_that_train_alone_too():
    created = fp.compress(
        residual(), "prune-50(epochs=1,batch_size=64,importance=groups,by=group)", data=random_group_batches()
    )
    assert created.card.provenance["details"]["sparsity"] == pytest.approx(0.5, abs=0.02)


def test_it_has_a_name_a_counterpart_and_needs_a_group():
    recipe = parse("prune-80(by=race,importance=groups)")
    assert str(recipe) == "prune-80(importance=groups,by=race)"
    assert recipe.plain() == parse("prune-80(importance=gradient)")
    assert recipe.plain().plain() is None
    assert recipe.placebo() == parse("placebo")
    with pytest.raises(UserError, match="importance=groups needs a sensitive attribute"):
        parse("prune-80(importance=groups)")
    with pytest.raises(UserError, match="by needs"):
        parse("prune-80(importance=gradient,by=race)")


@pytest.mark.parametrize("draw", ["tables", "images"])
def test_its_control_looks_at_gradients_and_not_at_groups(draw):
    if draw == "tables":
        data, bases = easy()
        created = {
            r: fp.compress(bases[0], f"prune-80({FEW}{r})", data=data[0])
            for r in ("", ",importance=gradient", ",importance=groups,by=sex")
        }
        assert len({m.digest for m in created.values()}) == 3
        relabelled = replace(data[0], attributes={"sex": np.roll(data[0].attributes["sex"], 7)})
        again = fp.compress(bases[0], f"prune-80({FEW},importance=gradient)", data=relabelled)
        assert again.onnx == created[",importance=gradient"].onnx
        result = created[",importance=gradient"].card.provenance["details"]
        assert result["sparsity"] == pytest.approx(0.8, abs=0.01)
        assert result["validation"]["accuracy"] > 0.7
    else:
        own = fp.compress(
            residual(), "prune-50(epochs=1,batch_size=64,importance=gradient)", data=random_group_batches()
        )
        assert own.card.provenance["details"]["sparsity"] == pytest.approx(0.5, abs=0.02)
