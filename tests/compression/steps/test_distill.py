"""Smaller architectures that learn from the network they replace."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.runtime.backends.onnxruntime import run
from fairpress.training.distillation import Distillation
from trained import brightness_group_batches, easy, hard, residual

FEW = "epochs=6,batch_size=32,learning_rate=0.01"


def test_the_term_is_that_of_hinton_and_grows_with_distance():
    teacher, student = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    term = Distillation(lambda x: teacher, temperature=4.0, weight=0.5)
    term.see(torch.zeros(1, 2, 3))
    result = term.loss(student, torch.zeros(1, 2, dtype=torch.long), torch.full((1, 2), -1))
    p = torch.tensor([0.5, 0.0]).softmax(0)
    expected = 0.5 * 16 * float((p * (p / 0.5).log()).sum()) / 2
    assert result.tolist() == pytest.approx([expected])
    assert float(term.loss(teacher, torch.zeros(1, 2, dtype=torch.long), torch.full((1, 2), -1))) == 0


@pytest.mark.parametrize("hold", [False, True])
def test_rows_of_the_group_that_is_further_away_come_to_weigh_more(hold):
    teacher = torch.tensor([[[3.0, 0.0]] * 4])
    student = torch.tensor([[[0.0, 0.0]] * 2 + [[2.5, 0.0]] * 2], requires_grad=True)
    groups, labels = torch.tensor([[0, 0, 1, 1]]), torch.zeros(1, 4, dtype=torch.long)
    shares = torch.tensor([[0.5, 0.5]])
    term = Distillation(lambda x: teacher, 1.0, 1.0, shares, step=0.3, hold=hold)
    term.see(torch.zeros(1, 4, 1))
    first = term.loss(student, labels, groups)
    assert term.weights.tolist() == [[1.0, 1.0]]
    term.epoch()
    second = term.loss(student, labels, groups)
    if hold:
        assert term.weights.tolist() == [[1.0, 1.0]]
        assert float(second.detach()) == float(first.detach())
    else:
        assert term.weights[0, 0] > 1.2 > 1 > term.weights[0, 1]
        assert float((term.weights * shares).sum()) == pytest.approx(1.0)
        assert float(second.detach()) > float(first.detach())
    facts = term.facts(0)
    assert facts["divergence"][0] > facts["divergence"][1] > 0
    assert facts["weights"] == [1.0, 1.0]  # of the epoch that is over
    trained_with = term.weights[0].tolist()
    term.epoch()
    assert term.facts(0)["weights"] == trained_with


def test_a_student_is_smaller_goes_on_like_any_network_and_is_quantized():
    data, bases = easy()
    both = compress(bases, parse(f"distill(widths=8,{FEW})"), data, [0, 1])
    for created, base, dataset in zip(both, bases, data, strict=True):
        assert created.size < base.size
        assert created.card.architecture == {"name": "mlp", "widths": [8]}
        reported = created.card.provenance["details"]["distilled"]
        assert reported["parameters"] < reported["parameters_of_teacher"]
        rows = dataset.part("test")
        assert (run(created.onnx, rows.inputs).argmax(1) == rows.labels).mean() > 0.8
    at_once = compress(bases, parse(f"distill(widths=8,{FEW})+int8"), data, [0, 1])
    after = compress(both, parse("int8"), data, [0, 1])
    assert [a.onnx for a in at_once] == [a.onnx for a in after]
    (alone,) = compress(bases[1:], parse(f"distill(widths=8,{FEW})"), data[1:], [1])
    x = data[1].inputs
    assert (run(alone.onnx, x).argmax(1) == run(both[1].onnx, x).argmax(1)).mean() > 0.99


def test_a_teacher_brings_the_student_nearer_to_its_answers_than_labels_do():
    data, bases = hard()
    apart = {}
    for weight in (0, 1):
        created = compress(bases, parse(f"distill(widths=16|16,weight={weight},epochs=15)"), data, [0, 1, 2])
        expected, result = (
            torch.from_numpy(run(a.onnx, data[0].part("calibration").inputs)).log_softmax(-1)
            for a in (bases[0], created[0])
        )
        apart[weight] = float((expected.exp() * (expected - result)).sum(1).mean())
    assert apart[1] < apart[0]


def test_groups_may_weigh_and_are_named():
    data, bases = easy()
    created = compress(bases, parse(f"distill(widths=8,by=sex,{FEW})"), data, [0, 1])[1]
    reported = created.card.provenance["details"]["distilled"]
    assert set(reported["weights"]) == set(reported["divergence"]) == {"Female", "Male"}
    assert reported["weights"]["Female"] != reported["weights"]["Male"]
    held = compress(bases, parse(f"distill(widths=8,by=sex,hold=true,{FEW})"), data, [0, 1])[1]
    plain = compress(bases, parse(f"distill(widths=8,{FEW})"), data, [0, 1])[1]
    assert held.onnx == plain.onnx != created.onnx


class Pixels(nn.Module):
    """A network of somebody's own that reads pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = residual()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.float() / 32 - 4)


def test_networks_of_images_learn_alone_from_anybody():
    def pixels():
        for x, y, groups in brightness_group_batches():
            yield (
                (32 * (x + 4)).clamp(0, 255).byte().repeat_interleave(4, 2).repeat_interleave(4, 3),
                y,
                groups,
            )

    with warnings.catch_warnings():
        # One epoch from random weights may end in one answer, which is warned of.
        warnings.filterwarnings("ignore", message="the compressed file answers")
        created = fp.compress(
            Pixels(), "distill(into=squeezenet1_1,epochs=1,batch_size=64,by=group)", data=pixels()
        )
    assert created.card.architecture == {"name": "squeezenet1_1"}
    assert set(created.card.provenance["details"]["distilled"]["weights"]) == {"dark", "light"}
    assert created.weights is not None


def test_names_controls_and_what_is_refused():
    recipe = parse("distill(by=race, temperature=2, widths=32|32)+int8")
    assert str(recipe) == "distill(widths=32|32,temperature=2,by=race)+int8"
    assert parse(str(recipe)) == recipe
    assert str(recipe.plain()) == "distill(widths=32|32,temperature=2)+int8"
    assert str(recipe.placebo()) == "distill(widths=32|32,temperature=2)"
    assert parse("distill(widths=32)").placebo() is None
    for text, sentence in {
        "distill": "distill needs a student: widths=32",
        "distill(widths=0)": "widths",
        "distill(widths=8,hold=true)": "step and hold apply to weights of groups",
        "distill(widths=8,temperature=0)": "temperature",
        "distill(widths=8,by=sex,weight=0)": "which weight=0 removes",
    }.items():
        with pytest.raises(UserError, match=sentence):
            parse(text)
    data, bases = easy()
    with pytest.raises(UserError, match=r"there is no model 'resnet19'.*resnet18"):
        fp.compress(bases[0], "distill(into=resnet19)", data=data[0])
    with pytest.raises(UserError, match="resnet18 reads images"):
        fp.compress(bases[0], "distill(into=resnet18)", data=data[0])
    with pytest.raises(UserError, match="Residual is not an architecture of fairpress; name the student"):
        fp.compress(residual(), "distill(widths=8)", data=brightness_group_batches())
