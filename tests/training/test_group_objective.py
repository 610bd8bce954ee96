"""Constrained training: against formulas of the papers, a known optimum, and training without a constraint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fairpress.core.errors import UserError
from fairpress.models.mlp import Mlp
from fairpress.models.weights_io import from_bytes
from fairpress.training.ceag import Ceag
from fairpress.training.config import FitConfig
from fairpress.training.data import Data
from fairpress.training.fairalm import FairAlm
from fairpress.training.fit import fit
from fairpress.training.fit_images import ImageFitConfig
from fairpress.training.group_means import means
from fairpress.training.group_objective import make_objective
from fairpress.training.penalty import Penalty, between
from fairpress.training.stacked_networks import Batches, StackedNetworks, train_epoch
from made_dataset import make_dataset

SMALL = Mlp(widths=(8,))
FAIR = {"by": "sex", "constraint": "equal_opportunity"}
BOTH = torch.tensor([[True, True]])


def _states(data, **options):
    config = FitConfig.model_validate({"max_epochs": 3, "keep": "last", "learning_rate": 1e-2, **options})
    return [from_bytes(a.weights) for a in fit(SMALL, data, list(range(len(data))), config)]


@pytest.mark.parametrize(
    "options",
    [
        {"method": "penalty", "strength": 0.0, **FAIR},
        {"method": "fairalm", "step": 0.0, **FAIR},
        {"method": "fairalm", "step": 0.0, "variant": "celeba", "inner": 1, **FAIR},
    ],
)
def test_a_weight_of_zero_is_training_without_a_constraint_to_the_last_bit(options):
    data = [make_dataset(fold=i) for i in range(2)]
    for plain, constrained in zip(_states(data), _states(data, **options), strict=True):
        assert plain.keys() == constrained.keys()
        assert all(torch.equal(plain[k], constrained[k]) for k in plain)
    # And a weight that is not zero is not.
    acting = {**options, "strength": 1.0} if options["method"] == "penalty" else {**options, "step": 0.1}
    assert any(not torch.equal(plain[k], v) for k, v in _states(data, **acting)[1].items())


def test_a_network_is_constrained_alike_alone_and_in_company():
    data = [make_dataset(fold=i) for i in range(2)]
    options = {"method": "fairalm", "step": 0.5, "by": "sex", "constraint": "equalized_odds"}
    together, alone = _states(data, **options)[0], _states(data[:1], **options)[0]
    assert all(together[k] == pytest.approx(alone[k], abs=1e-4) for k in together)


# --- a known optimum -------------------------------------------------------------------------------------------------


def _two_groups(rates=(0.7, 0.3), rows=20):
    """One cell per group: the network can only say a probability per group, which has a closed form."""
    groups = torch.arange(2).repeat_interleave(rows)
    labels = torch.cat([(torch.arange(rows) < round(rate * rows)).long() for rate in rates])
    return Data(nn.functional.one_hot(groups, 2).float(), labels, groups)


def _solved(objective, data, steps=700, rate=1.0):
    """Return the probability of each group after descent on the whole data."""
    stack = StackedNetworks.from_states(
        nn.Linear(2, 2),
        [{k: torch.zeros_like(v) for k, v in nn.Linear(2, 2).state_dict().items()}],
        torch.device("cpu"),
    )
    optimizer = torch.optim.SGD(stack.parameters.values(), lr=rate)
    batches = Batches([data], [0], len(data.labels))
    for _ in range(steps):
        train_epoch(stack, optimizer, batches, torch.device("cpu"), objective=objective)
    return stack.forward(torch.eye(2)[None])[0].softmax(-1)[:, 1].detach()


def test_fairalm_reaches_the_constrained_optimum():
    # min ½Σ CE subject to −log p₀ = −log p₁ and with Algorithm 2's η(μ₀ + μ₁): p₀ = p₁ = p, half of all rows
    # positive: p maximises ½ log p + ½ log(1−p) + 2η log p, which is p = (½ + 2η) / (1 + 2η).
    data, step = _two_groups(), 0.02
    objective = FairAlm("paper", step, 1, (1,), 1, BOTH)
    assert _solved(objective, data) == pytest.approx([(0.5 + 2 * step) / (1 + 2 * step)] * 2, abs=2e-3)
    # Without multipliers the groups keep their own rates: p_s maximises (½r + η) log p + ½(1−r) log(1−p).
    held = _solved(FairAlm("paper", step, 1, (1,), 1, BOTH, hold=True), data)
    assert held == pytest.approx([(r / 2 + step) / (0.5 + step) for r in (0.7, 0.3)], abs=2e-3)


def test_the_quadratic_term_of_the_celeba_variant_raises_both_rates_before_any_multiplier_acts():
    # η/4 = 5 per group: both groups' positives count eleven times. This, not the constraint, is what raises TPR and FPR.
    objective = FairAlm("celeba", 20.0, 1, (1,), 1, BOTH, hold=True)
    objective.epoch = lambda: None  # a step that grows has no fixed point
    held = _solved(objective, _two_groups(), rate=0.2)
    assert held == pytest.approx([(r / 2 + 5) / 5.5 for r in (0.7, 0.3)], abs=2e-3)


def test_the_penalty_moves_along_its_known_path():
    # Two groups of equal size: min ½Σ CE(p_s; r_s) + λ(p₀ − p₁)²; at the optimum r₀ − p₀ = 4λ(p₀ − p₁)p₀(1 − p₀).
    for strength in (0.3, 3.0):
        p, q = _solved(Penalty(strength, (None,), 1, 2), _two_groups(), rate=0.5).tolist()
        assert 0.7 - p == pytest.approx(4 * strength * (p - q) * p * (1 - p), abs=2e-3)
        assert p + q == pytest.approx(1, abs=2e-3)
        assert 0 < p - q < 0.4


# --- the updates, by hand --------------------------------------------------------------------------------------------


def _seen(objective, losses):
    objective._seen = [(torch.tensor([losses]), torch.tensor([[True] * len(losses)]))]
    objective.dual()
    return objective.multipliers[0, 0].tolist()


def test_the_celeba_update_uses_the_old_multiplier_for_both():
    # λ₀ ← ½(λ₀−λ₁) + ½η(ℓ₀−ℓ₁), λ₁ ← ½(λ₁−λ₀) + ½η(ℓ₁−ℓ₀), both from the old pair.
    objective, old, step = FairAlm("celeba", 20.0, 5, (1,), 1, BOTH), (0.0, 0.0), 20.0
    for losses in ((0.7, 0.4), (0.2, 0.9), (0.5, 0.45)):
        first = 0.5 * (old[0] - old[1]) + 0.5 * step * (losses[0] - losses[1])
        second = 0.5 * (old[1] - old[0]) + 0.5 * step * (losses[1] - losses[0])
        assert _seen(objective, list(losses)) == pytest.approx([first, second], rel=1e-5)
        old = (first, second)
    coefficients = objective._coefficients(0)[0].tolist()
    assert coefficients == pytest.approx([5 + (old[0] - old[1]) / 2, 5 + (old[1] - old[0]) / 2], rel=1e-5)
    objective.epoch()
    assert objective.step == pytest.approx(20.2)


def test_the_paper_update_is_algorithm_2_and_for_three_groups_the_mean_over_pairs():
    objective, multiplier, step = FairAlm("paper", 0.1, 1, (1,), 1, BOTH), 0.0, 0.1
    for losses in ((0.7, 0.4), (0.2, 0.9)):
        _seen(objective, list(losses))
        multiplier += step * (losses[0] - losses[1])
        expected = [step + multiplier, step - multiplier]
        assert objective._coefficients(0)[0].tolist() == pytest.approx(expected, abs=1e-6)
    three = FairAlm("paper", 0.1, 1, (1,), 1, torch.tensor([[True] * 3]))
    _seen(three, [0.7, 0.4, 0.1])
    pairs = np.subtract.outer([0.7, 0.4, 0.1], [0.7, 0.4, 0.1]) * 0.1
    # Each of the three pairs (i, j) adds (λᵢⱼ + η) μᵢ − (λᵢⱼ − η) μⱼ.
    assert three._coefficients(0)[0].tolist() == pytest.approx((2 * 0.1 + pairs.sum(1)) / 3, abs=1e-6)


def test_an_empty_cell_is_no_nan_and_moves_nothing():
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], requires_grad=True)
    labels, groups = torch.tensor([[1, 0]]), torch.tensor([[0, 1]])  # group 1 has no positives
    objective = FairAlm("celeba", 20.0, 1, (1,), 1, BOTH)
    loss = objective.loss(logits, labels, groups).sum()
    loss.backward()
    objective.dual()
    assert torch.isfinite(logits.grad).all()
    assert objective.multipliers.abs().sum() == 0
    assert between(*means(torch.rand(1, 2), torch.tensor([[0, -1]]), 2)).tolist() == [0.0]


def test_ceag_raises_the_multiplier_of_whoever_lost_most():
    # Dense .9 and .9; now 8 of 10 and 9 of 10. Drops .1 and 0, overall .05: ψ = (.05, −.05), ε = .01.
    objective = Ceag(0.01, 2.0, torch.tensor([[0.9, 0.9]]), torch.tensor([[0.5, 0.5]]), BOTH)
    right = torch.tensor([[1.0] * 8 + [0.0] * 2 + [1.0] * 9 + [0.0]])
    labels, groups = torch.ones(1, 20, dtype=torch.long), torch.tensor([[0] * 10 + [1] * 10])
    logits = torch.stack([1 - right, right], -1)
    objective.loss(logits, labels, groups)
    objective.dual()
    assert objective.multipliers[0].tolist() == pytest.approx([2.0 * 0.04, 0.0])
    extra = objective.loss(logits, labels, groups)
    rows = nn.functional.cross_entropy(logits[0], labels[0], reduction="none")
    assert float(extra) == pytest.approx(float(0.08 * (rows[:10].mean() - rows.mean())), rel=1e-4)
    objective.loss(
        logits[:, :10].repeat(1, 60, 1), labels[:, :1].expand(1, 600), torch.zeros(1, 600, dtype=torch.long)
    )
    assert objective._known[0].sum(-1).tolist() == [512, 20]  # the oldest are forgotten


# --- what is asked for and said --------------------------------------------------------------------------------------


def test_small_groups_are_left_out_and_named():
    data = make_dataset()
    sex = data.attributes["sex"].copy()
    sex[data.parts["train"][:7]] = "Other"
    data = replace(data, attributes={"sex": sex})
    config = FitConfig.model_validate({"max_epochs": 1, "method": "fairalm", **FAIR})
    assert config.keep == "best"
    (created,) = fit(SMALL, [data], [0], config)
    reported = created.card.provenance["fairness"]
    assert reported["groups"] == ["Female", "Male"]
    assert reported["not_constrained"] == {"Other": 7}
    assert any(m != 0 for m in reported["multipliers"][0])
    with pytest.raises(UserError, match="fewer than two groups have 5000 training rows"):
        fit(SMALL, [data], [0], config.model_copy(update={"least": 5000}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "fairalm", "constraint": "equal_opportunity"}, "needs a sensitive attribute"),
        ({"method": "penalty", "by": "sex"}, "needs a constraint"),
        ({"strength": 1.0}, "strength belongs to method=penalty"),
        ({"method": "penalty", "variant": "celeba", **FAIR}, "variant belongs to method=fairalm"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, sentence):
    for kind in (FitConfig, ImageFitConfig):
        with pytest.raises(ValueError, match=sentence):
            kind.model_validate(options)


def test_ceag_needs_a_network_to_compare_with():
    with pytest.raises(UserError, match="it works only in recipes"):
        fit(SMALL, [make_dataset()], [0], FitConfig(method="ceag", by="sex"))
    data = make_dataset()
    config = FitConfig(method="ceag", by="sx")
    rows = [Data(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long))]
    with pytest.raises(UserError, match="Did you mean 'sex'"):
        make_objective(config, [data], rows, lambda rows, count: torch.ones(1, count))


def test_the_violation_of_validation_rows_has_a_say_in_early_stopping(monkeypatch):
    logits = torch.log(torch.tensor([[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1], [0.4, 0.6], [0.1, 0.9]]]))
    labels, groups = torch.tensor([[1, 1, 1, 0, 1]]), torch.tensor([[0, 0, 1, 1, -1]])
    alm = FairAlm("paper", 0.1, 1, (1, 0), 1, BOTH)
    # Positives of group 0: mean of −log .8 and −log .5; of group 1: −log .1. Negatives are in one group only.
    expected = -np.log(0.1) + (np.log(0.8) + np.log(0.5)) / 2
    assert float(alm.violation(logits, labels, groups)) == pytest.approx(expected, rel=1e-5)
    assert float(FairAlm("paper", 0.0, 1, (1, 0), 1, BOTH).violation(logits, labels, groups)) == 0
    assert float(Penalty(2.0, (1,), 1, 2).violation(logits, labels, groups)) == pytest.approx(2 * 0.55**2)
    # A violation that grows keeps the first epoch, though the loss falls to the last.
    config = FitConfig.model_validate({"max_epochs": 5, "learning_rate": 1e-2, "method": "penalty", **FAIR})
    epochs = []
    for growth in (0.0, 10.0):
        seen = iter(range(5))
        monkeypatch.setattr(Penalty, "violation", lambda *_, g=growth, s=seen: torch.tensor([g * next(s)]))
        epochs.append(fit(SMALL, [make_dataset()], [0], config)[0].card.provenance["best_epoch"])
    assert epochs == [5, 1]
