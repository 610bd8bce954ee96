"""The loss that holds a network to its baseline's answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairpress.training.checkpoints import TrainingCheckpoint
from fairpress.training.data import Data
from fairpress.training.distillation import divergence
from fairpress.training.fairalm import FairAlm
from fairpress.training.schedule import Schedule
from fairpress.training.towards_baseline import TowardsBaseline
from fairpress.training.trainer import train_module

NO_GROUP = torch.full((1, 2), -1)
LABELS = torch.zeros(1, 2, dtype=torch.long)


def test_the_gradient_is_the_difference_of_the_probabilities():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    expected = teacher.log_softmax(-1)
    rows = divergence(logits, expected)
    (2 * rows).sum().backward()
    p, q = expected.exp(), logits.detach().softmax(-1)
    assert torch.allclose(rows.detach(), (p * (p / q).log()).sum(-1))
    assert torch.allclose(logits.grad, 2 * (q - p))
    assert torch.autograd.gradcheck(lambda x: divergence(x, expected), logits)


def test_the_loss_is_the_mean_divergence_and_the_labels_count_only_in_both():
    teacher, student = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    p = torch.tensor([2.0, 0.0]).softmax(0)
    by_hand = float((p * (2 * p).log()).sum()) / 2
    for both in (False, True):
        term = TowardsBaseline(lambda x: teacher, both=both)
        term.see(torch.zeros(1, 2, 3))
        assert term.loss(student, LABELS, NO_GROUP).tolist() == pytest.approx([by_hand])
        assert term.uses_labels is both
        term.loss(teacher, LABELS, NO_GROUP)
        term.epoch()
        assert term.facts(0) == {
            "loss": "both" if both else "baseline",
            "divergence": pytest.approx(by_hand / 2),
        }
    assert term.violation(student, LABELS, NO_GROUP).tolist() == [0]
    with pytest.raises(TypeError, match="do not leave the batch"):
        term.only([0])


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))


def rows() -> Data:
    x = torch.randn(70, 3, generator=torch.Generator().manual_seed(1))
    return Data(x, torch.arange(70) % 3, torch.arange(70) % 2)


def trained(student: nn.Module, baseline: nn.Module, *, weight_decay: float = 0.0, **options) -> tuple:
    objective = TowardsBaseline(lambda x: baseline(x[0])[None], **options)
    schedule = Schedule(5, 16, 1e-2, weight_decay)
    return train_module(student, rows(), schedule, seed=3, objective=objective), objective


def test_a_network_that_is_its_baseline_has_no_loss_and_does_not_move():
    result, objective = trained(network(), network())
    assert all(torch.equal(v, result.state[k]) for k, v in network().state_dict().items())
    assert [e.loss for e in result.epochs] == pytest.approx([0.0] * 5, abs=1e-7)
    assert objective.facts(0)["divergence"] == pytest.approx(0.0, abs=1e-7)


def test_another_network_comes_nearer_and_the_labels_pull_it_away():
    (alone, near), (_, far) = trained(network(5), network()), trained(network(5), network(), both=True)
    assert alone.epochs[-1].loss < alone.epochs[0].loss / 3
    assert alone.epochs[-1].loss == pytest.approx(near.facts(0)["divergence"], rel=1e-5)
    assert near.facts(0)["divergence"] < far.facts(0)["divergence"]


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path):
    checkpoint = TrainingCheckpoint(tmp_path, "one")
    checkpoint.prepare()
    baseline = network()

    def train(retained: TrainingCheckpoint | None = None, stop: int | None = None) -> tuple:
        constraint = FairAlm("celeba", 2.0, 2, (1, 0), 1, torch.tensor([[True, True]]))
        objective = TowardsBaseline(lambda x: baseline(x[0])[None], constraint)
        assert objective.inner == 2

        def on_epoch(epoch) -> None:
            if epoch.number == stop:
                raise KeyboardInterrupt

        schedule = Schedule(4, 16, 1e-2, 0.01)
        student = network(5)
        created = train_module(
            student, rows(), schedule, seed=3, checkpoint=retained, on_epoch=on_epoch, objective=objective
        )
        return created.state, objective

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint, stop=2)
    (resumed, first), (whole, second) = train(checkpoint), train()
    assert all(torch.equal(resumed[k], v) for k, v in whole.items())
    assert torch.equal(first.constraint.multipliers, second.constraint.multipliers)
    assert first.constraint.multipliers.abs().max() > 0
    assert first.facts(0) == second.facts(0)
    (again, after) = train(checkpoint)  # nothing is left to train
    assert all(torch.equal(again[k], v) for k, v in whole.items())
    assert after.facts(0) == second.facts(0)
