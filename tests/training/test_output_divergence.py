"""The divergence of outputs, against torch.distributions, and the distances that networks are trained on."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from fairpress.core.output_kind import OUTPUT_KINDS
from fairpress.training.distillation import distance, target_of
from fairpress.training.output_divergence import output_divergence

GENERATOR = torch.Generator().manual_seed(0)
EXPECTED = torch.randn(50, 4, generator=GENERATOR, dtype=torch.float64)
CHANGED = EXPECTED + 0.3 * torch.randn(50, 4, generator=GENERATOR, dtype=torch.float64)


def test_divergence_of_classes_and_labels_is_that_of_their_distributions():
    classes = kl_divergence(Categorical(logits=EXPECTED), Categorical(logits=CHANGED))
    labels = kl_divergence(Bernoulli(logits=EXPECTED), Bernoulli(logits=CHANGED)).sum(-1)
    torch.testing.assert_close(output_divergence(CHANGED, EXPECTED, "classes"), classes)
    torch.testing.assert_close(output_divergence(CHANGED, EXPECTED, "labels"), labels)


def test_divergence_of_a_number_is_that_of_normal_distributions_with_the_variance_over_rows():
    expected, changed = EXPECTED[:, :1], CHANGED[:, :1]
    scale = expected.std(correction=0)
    by_hand = kl_divergence(Normal(expected, scale), Normal(changed, scale))[:, 0]
    torch.testing.assert_close(output_divergence(changed, expected, "number"), by_hand)


def test_divergence_of_a_number_does_not_depend_on_its_unit():
    in_months = output_divergence(12 * CHANGED[:, :1], 12 * EXPECTED[:, :1], "number")
    torch.testing.assert_close(in_months, output_divergence(CHANGED[:, :1], EXPECTED[:, :1], "number"))


@pytest.mark.parametrize("kind", OUTPUT_KINDS)
def test_equal_outputs_have_no_distance_and_no_gradient(kind):
    outputs = EXPECTED.float().requires_grad_()
    gap = distance(outputs, target_of(EXPECTED.float(), kind), kind)
    (gradient,) = torch.autograd.grad(gap.sum(), outputs)
    torch.testing.assert_close(gap.detach(), torch.zeros(50), atol=1e-6, rtol=0)
    assert not gradient.any()
    assert float(distance(CHANGED.float(), target_of(EXPECTED.float(), kind), kind).min()) > 0
