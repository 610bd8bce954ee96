"""What a network predicts, by its outputs and labels: assumed where one reading is possible, else refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fairpress.compression.held_out import change_sentence, cosine_similarity, value_facts, value_symptom
from fairpress.compression.output_choice import kind_of_labels, shaped_outputs, task_of_outputs
from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError

ROWS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("labels", "single", "width", "kind", "is_said"),
    [
        ([0, 1, 1], True, 1, "classes", False),
        ([0.0, 1.0, 1.0], True, 1, "classes", False),
        ([18, 44, 70], True, 1, "number", True),
        ([0.2, 0.9, 0.5], True, 1, "number", True),
        ([0, 2, 1], False, 3, "classes", False),
        ([[0, 1], [1, 1], [0, 0]], False, 2, "labels", True),
    ],
)
def test_labels_say_what_a_network_predicts(labels, single, width, kind, is_said):
    predicted, sentence = kind_of_labels(np.array(labels), single, width)
    assert predicted == kind
    assert (f"outputs={kind!r}" in sentence) == is_said


@pytest.mark.parametrize(
    ("labels", "single", "width", "message"),
    [
        ([1, 2, 2], True, 1, r"labels are 1 and 2.*outputs='number'"),
        ([0.5, 1.5, 2.0], False, 3, "a label 0.5, and the network has 3 outputs"),
        ([[0, 1], [1, 0], [0, 1]], False, 2, r"pass y.argmax\(1\).*outputs='labels'"),
        ([[0, 1], [1, 1], [0, 0]], False, 3, "2 labels for each row, and the network 3 outputs"),
        ([[0.5, 2.0], [1.0, 0.0], [0.0, 0.0]], False, 2, "not all 0 and 1"),
    ],
)
def test_labels_that_fit_no_reading_or_two_are_refused(labels, single, width, message):
    with pytest.raises(UserError, match=message):
        kind_of_labels(np.array(labels), single, width)


def shaped(module, labels, requested=None):
    return shaped_outputs(module.eval(), lambda net, rows: net(rows).detach(), ROWS, labels, requested)


def test_a_number_is_a_column_and_one_logit_becomes_two():
    net = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    number, kind, width, _, _ = shaped(net, np.linspace(1, 9, 8))
    assert (kind, width, number(ROWS).shape) == ("number", 1, (8, 1))
    logit, kind, width, _, _ = shaped(nn.Linear(3, 1), np.arange(8) % 2)
    assert (kind, width) == ("classes", 2)
    assert not logit(ROWS)[:, 0].any()


def test_a_number_between_0_and_1_is_no_probability_where_the_labels_say_so():
    net = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    assert shaped(net, np.linspace(0.1, 0.9, 8))[1] == "number"
    assert shaped(net, np.arange(8) % 2, "number")[1] == "number"
    with pytest.raises(UserError, match=r"a probability.*outputs='number'"):
        shaped(net, np.arange(8) % 2)


@pytest.mark.parametrize("width", [1, 3])
def test_logits_that_happen_to_lie_between_0_and_1_are_no_probabilities(width):
    net = nn.Linear(3, width)
    nn.init.constant_(net.weight, 0.01)
    nn.init.constant_(net.bias, 0.4)
    labels = (
        np.arange(8) % 2 if width == 1 else np.stack([np.arange(8) % 2, np.ones(8, int), np.ones(8, int)], 1)
    )
    assert ((net(ROWS) > 0) & (net(ROWS) < 1)).all()
    assert shaped(copy.deepcopy(net), labels)[1] == ("classes" if width == 1 else "labels")
    with pytest.raises(UserError, match="logits are needed"):
        shaped(nn.Sequential(net, nn.Sigmoid()), labels)


def test_one_label_is_a_matter_of_two_classes():
    with pytest.raises(UserError, match="a network of one label is one of two classes"):
        shaped(nn.Linear(3, 1), np.arange(8) % 2, "labels")


def test_probabilities_of_labels_are_refused():
    with pytest.raises(UserError, match=r"remove its last sigmoid, or add torch\.logit"):
        shaped(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), np.array([[1, 1], [0, 0]] * 4))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Unflatten(1, (3, 1, 1)), r"\.flatten\(1\)"),
        (nn.Unflatten(1, (1, 3)), r"\.mean\(1\) over tokens"),
    ],
)
def test_an_embedding_of_another_shape_is_refused_with_what_to_do(net, message):
    with pytest.raises(UserError, match=message):
        shaped(net, None, "embedding")


def test_labels_have_names_of_their_own():
    assert task_of_outputs("labels", 2, None).label_names == ("0", "1")
    for names in (["a"], ["a", "a"]):
        with pytest.raises(UserError, match="a name of its own"):
            task_of_outputs("labels", 2, names)


def card(kind, **outputs):
    return ModelCard("y", (), None, {"name": "n"}, {}, outputs={"kind": kind, **outputs})


def test_changes_of_numbers_are_in_the_unit_of_the_labels():
    facts = value_facts(
        np.array([[11.0], [22.0]]), np.array([[10.0], [20.0]]), np.array([10.0, 26.0]), card("number")
    )
    assert facts["mean_absolute_change"] == 1.5
    assert (facts["mean_absolute_error_before"], facts["mean_absolute_error"]) == (3.0, 2.5)
    assert "by 1.5 on average and by 2 at most" in change_sentence(facts, "number")


def test_flips_are_counted_by_label_at_its_threshold():
    logits, before = np.array([[2.0, -1.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [-1e-3, 1.0]])
    facts = value_facts(
        logits, before, np.array([[1, 0], [1, 1]]), card("labels", names=["a", "b"], thresholds=[0.5, 0.5])
    )
    assert facts["flips"] == {"a": 1, "b": 1}  # a probability of exactly ½ is present
    assert (facts["wrong_labels_before"], facts["wrong_labels"]) == (0.5, 0.0)


def test_cosine_similarity_is_that_of_each_row():
    a, b = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 2.0], [2.0, 2.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosine_similarity(a, b), [0.0, 1.0, 0.0], atol=1e-12)


def test_no_better_than_a_constant_is_said():
    labels, train = np.array([1.0, 3.0]), np.array([2.0, 2.0, 2.0])
    assert "always answering 2 has 1" in str(
        value_symptom({"mean_absolute_error": 1.5}, labels, train, "number")
    )
    assert value_symptom({"mean_absolute_error": 0.5}, labels, train, "number") is None
    several = np.array([[1, 0], [1, 1]])
    assert value_symptom({"wrong_labels": 0.25}, several, several, "labels") is not None
    assert value_symptom({"wrong_labels": 0.1}, several, several, "labels") is None
