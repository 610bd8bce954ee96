"""The loss of labels by what a network predicts, against torch's own losses and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairpress.training.label_loss import label_loss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(6, 3, generator=GENERATOR)


def test_loss_of_classes_is_the_cross_entropy():
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    for reduction in ("mean", "sum", "none"):
        expected = nn.functional.cross_entropy(LOGITS, labels, reduction=reduction)
        assert torch.equal(label_loss(LOGITS, labels, "classes", reduction), expected)


def test_loss_of_a_number_is_the_squared_error_whatever_the_shape_of_the_output():
    outputs, labels = torch.tensor([[1.0], [4.0]]), torch.tensor([3.0, 4.0])
    assert label_loss(outputs, labels, "number").item() == 2.0
    assert label_loss(outputs[:, 0], labels, "number", "sum").item() == 4.0
    assert label_loss(outputs, labels, "number", "none").tolist() == [4.0, 0.0]


def test_loss_of_several_labels_is_the_mean_over_the_labels_of_a_row():
    labels = (torch.randn(6, 3, generator=GENERATOR) > 0).float()
    present = LOGITS.sigmoid()
    by_hand = -(labels * present.log() + (1 - labels) * (1 - present).log()).mean(1)
    torch.testing.assert_close(label_loss(LOGITS, labels, "labels", "none"), by_hand)
    torch.testing.assert_close(label_loss(LOGITS, labels, "labels"), by_hand.mean())
    torch.testing.assert_close(label_loss(LOGITS, labels.long(), "labels", "sum"), by_hand.sum())


def test_embeddings_have_no_loss():
    with pytest.raises(TypeError, match="no labels"):
        label_loss(LOGITS, torch.zeros(6), "embedding")
