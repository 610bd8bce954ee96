"""Distillation: train a smaller architecture to reproduce the network's predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fairpress.compression.step import Step, TrainedNetwork
from fairpress.compression.steps.finetune import FINETUNE_DEFAULTS
from fairpress.compression.steps.quantize import split_names
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.models.mlp import Width

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.compression.finetuning import TrainingRun
    from fairpress.models.registry import Architecture
    from fairpress.tokenization.tokenizer import TextTokenizer
    from fairpress.training.data import Data
    from fairpress.training.distillation import Distillation
    from fairpress.training.group_objective import Groups


class Distill(Step):
    """Train another architecture on cross-entropy plus weight · T²·KL(teacher‖student) (`training.distillation`).

    The teacher is the network that the step receives. The student's initial weights are drawn from its seed. AdamW with
    cosine decay of the learning rate (one cycle for networks that train alone); no early stopping. A student that reads
    texts reads them with the teacher's tokenizer.

    Attributes
    ----------
    into
        Name of the student's architecture; by default the teacher's, with other `widths`.
    widths
        Hidden layers of an mlp: ``widths=32|32``.
    layers, width
        Of a student that reads texts: its number of blocks, and the width of its embeddings. Heads keep their size, and
        feed-forward layers their ratio to the width; what is not given is as in the teacher, or, for a student of
        another architecture, its default.
    start
        ``"teacher"``: tensors that fit are copied from the teacher, and of its blocks as many as the student has, evenly
        spaced (Sanh et al. 2019, DistilBERT, arXiv 1910.01108); ``"random"``: all weights are drawn. By default the
        teacher's if the student reads texts and has the teacher's architecture and width.
    temperature
        T, which softens the class probabilities of both networks.
    weight
        Weight of the teacher's term; 0 is training on the labels alone, the control for having a teacher.
    by, step, hold, least
        Rows of groups of `by` whose predictions are further from the teacher's get larger weights, epoch by epoch; `step`
        (0.2) is the rate. With `hold` all weights stay 1. Groups with fewer than `least` training rows have weight 1.
    epochs, learning_rate, weight_decay, batch_size
        By default 40, 0.001, 0.0001 and 128 for small networks that train as one batch; 16, 0.001, 0.05 and 64 for those
        that train alone.
    """

    trains: ClassVar[bool] = True

    into: str | None = None
    widths: Annotated[tuple[Width, ...], Field(max_length=64), BeforeValidator(split_names)] = ()
    layers: int | None = Field(default=None, ge=1, le=1_000)
    width: int | None = Field(default=None, ge=1, le=100_000)
    start: Literal["teacher", "random"] | None = None
    temperature: float = Field(default=4.0, gt=0, le=1e6)
    weight: float = Field(default=1.0, ge=0, le=1e9)
    by: str | None = None
    step: float | None = Field(default=None, gt=0, le=1e9)
    hold: bool = False
    least: int = Field(default=30, ge=1, le=10**9)
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    learning_rate: float | None = Field(default=None, gt=0, le=1_000)
    weight_decay: float | None = Field(default=None, ge=0, le=1_000)
    batch_size: int | None = Field(default=None, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.into is None and not (self.widths or self.layers or self.width):
            raise ValueError(
                "distill needs a student: widths=32|32 for an mlp, layers=2 for texts, or into=squeezenet1_1"
            )
        if self.widths and (self.layers or self.width):
            raise ValueError(
                "widths is for an mlp, layers and width are for networks of texts; leave out one"
            )
        if self.by is None and (self.step is not None or self.hold):
            raise ValueError("step and hold apply to weights of groups; add by, such as by=race")
        if self.by is not None and self.weight == 0:
            raise ValueError(
                "by weights rows in the teacher's term, which weight=0 removes; leave out one of them"
            )
        return self

    def architectures(self) -> tuple[str, ...]:
        """Return the student's architecture if it differs from the teacher's."""
        return () if self.into is None else (self.into,)

    def plain(self) -> Distill:
        """Return the same step with the weights of all rows at 1."""
        return self.model_copy(update={"by": None, "step": None, "hold": False, "least": 30})

    def placebo(self) -> Distill:
        """Return the same training with the weights of all rows at 1."""
        return self.plain()

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Train a student for each network, small ones as one batch. Raises UserError if it cannot read the data."""
        import torch

        from fairpress.compression.finetuning import train_alone, train_stack, trains_alone
        from fairpress.models.feature_scaling import fit_standardize
        from fairpress.models.initialize import initialize, row_shape
        from fairpress.models.registry import build
        from fairpress.training.data import check_readable, tensors
        from fairpress.training.device import device_of
        from fairpress.training.distillation import Distillation
        from fairpress.training.stacked_networks import StackedNetworks

        teacher = networks[0].architecture
        student = self.student(teacher, networks[0].tokenizer)
        check_readable(student, datasets[0])
        training_run, width = self.training_run(student), datasets[0].task.width
        rows, groups = self._grouped(
            datasets,
            [tensors(d, "train", n.class_weights) for d, n in zip(datasets, networks, strict=True)],
        )
        shares = None if groups is None else _shares(groups)
        step = 0.2 if self.step is None else self.step
        blank_teacher = initialize(teacher, datasets[0])

        def objective(teach: Callable[[Tensor], Tensor], group_shares: Tensor | None) -> Distillation:
            return Distillation(
                teach,
                self.temperature,
                self.weight,
                group_shares,
                step,
                hold=self.hold,
                outputs=rows[0].outputs,
            )

        modules = [build(student, row_shape(d), width, s) for d, s in zip(datasets, seeds, strict=True)]
        taken = [self._begin(m, student, n) for m, n in zip(modules, networks, strict=True)]
        if datasets[0].task.outputs == "number":
            for module, data in zip(modules, rows, strict=True):
                _start_at_mean(module, data)
        if not trains_alone(student) and not trains_alone(teacher):
            states = []
            for module, data in zip(modules, rows, strict=True):
                state = {k: v.detach().clone() for k, v in module.state_dict().items()}
                state["0.mean"], state["0.scale"] = fit_standardize(data.inputs)
                states.append(state)
            device = torch.device("cpu")
            teachers = StackedNetworks.from_states(blank_teacher, [dict(n.state) for n in networks], device)
            stack, term = (
                StackedNetworks.from_states(modules[0], states, device),
                objective(teachers.forward, shares),
            )
            train_stack(stack, rows, seeds, training_run, on_message, objective=term)
            student_states, objective_facts = stack.states(), [term.facts(i) for i in range(len(networks))]
        else:
            student_states, objective_facts = [], []
            for i, (network, seed) in enumerate(zip(networks, seeds, strict=True)):
                if student.reads == "table":
                    mean, scale = fit_standardize(rows[i].inputs)
                    modules[i].load_state_dict({**modules[i].state_dict(), "0.mean": mean, "0.scale": scale})
                blank_teacher.load_state_dict(dict(network.state))
                teacher_network = blank_teacher.eval().to(device_of(network.origin))
                term = objective(
                    lambda x: teacher_network(x[0])[None],  # noqa: B023  used before the next network is loaded
                    None if shares is None else shares[i : i + 1],
                )
                student_states.append(
                    train_alone(
                        modules[i], rows[i], seed, training_run, network.origin, on_message, objective=term
                    )
                )
                objective_facts.append(term.facts(0))
        facts = self._facts(student, modules[0], blank_teacher)
        if taken[0] is not None:
            facts["blocks_of_teacher"] = taken[0]
        return [
            replace(
                network,
                architecture=student,
                state=state,
                details={
                    **{
                        k: v for k, v in network.details.items() if k not in ("sparsity", "channels", "heads")
                    },
                    "distilled": {**facts, **_by_group(groups, i, self.by, group_facts)},
                },
            )
            for i, (network, state, group_facts) in enumerate(
                zip(networks, student_states, objective_facts, strict=True)
            )
        ]

    def student(self, teacher: Architecture, tokenizer: TextTokenizer | None = None) -> Architecture:
        """Return the architecture that is trained; `tokenizer` is that of a teacher of texts.

        Raises UserError for an unknown architecture, or one of another kind.
        """
        from fairpress.models import registry
        from fairpress.models.smaller_texts import smaller

        if self.into is None and teacher.name not in registry.names():
            raise UserError(
                f"{teacher.name} is not an architecture of fairpress; name the student's, such as "
                f"into={registry.names()[0]}."
            )
        if teacher.reads != "text":
            if self.layers or self.width or self.start == "teacher":
                raise UserError(
                    "distill: layers, width and start=teacher are for networks of texts, and the teacher is "
                    f"{teacher.name}; take widths=32|32 for an mlp, or another architecture by into=."
                )
            return registry.get(self.into or teacher.name, **({"widths": self.widths} if self.widths else {}))
        if self.widths:
            raise UserError(
                f"distill: widths is for an mlp, and the teacher is {teacher.name}; take layers and width."
            )
        assert tokenizer is not None
        return smaller(teacher, tokenizer, self.into, self.layers, self.width)

    def _begin(self, module: nn.Module, student: Architecture, teacher: TrainedNetwork) -> list[int] | None:
        """Copy what fits from a teacher of texts into a new student; return the blocks taken, or None for none."""
        if student.reads != "text" or self.start == "random":
            return None
        from fairpress.models.smaller_texts import begin_from, fits

        if not fits(module, teacher.state):
            if self.start == "teacher":
                raise UserError(
                    "distill: start=teacher needs a student of the teacher's architecture and width; leave out start, or "
                    "width and into."
                )
            return None
        return begin_from(module, teacher.state)

    def training_run(self, student: Architecture) -> TrainingRun:
        """Return the training of an architecture with its defaults filled in."""
        from fairpress.compression.finetuning import TrainingRun, trains_alone

        defaults = (
            TrainingRun(16, 1e-3, 0.05, 64) if trains_alone(student) else TrainingRun(40, 1e-3, 1e-4, 128)
        )
        options = {name: getattr(self, name) for name in FINETUNE_DEFAULTS}
        return replace(defaults, **{name: value for name, value in options.items() if value is not None})

    def _grouped(
        self, datasets: Sequence[Dataset], rows: Sequence[Data]
    ) -> tuple[Sequence[Data], Groups | None]:
        import torch

        from fairpress.training.constraint_config import ConstraintConfig
        from fairpress.training.group_objective import constrained_groups

        if self.by is None:
            none = [torch.full((len(r.labels),), -1) for r in rows]
            return [replace(r, groups=codes) for r, codes in zip(rows, none, strict=True)], None
        groups = constrained_groups(ConstraintConfig(by=self.by, least=self.least), datasets, None)
        return [replace(r, groups=codes) for r, codes in zip(rows, groups.codes, strict=True)], groups

    def _facts(self, student: Architecture, small: Any, large: Any) -> dict[str, Any]:
        return {
            "into": {"name": student.name, **student.model_dump(mode="json")},
            "temperature": self.temperature,
            "weight": self.weight,
            "parameters": sum(p.numel() for p in small.parameters()),
            "parameters_of_teacher": sum(p.numel() for p in large.parameters()),
        }


def _start_at_mean(module: nn.Module, data: Data) -> None:
    """Set the bias of a number's output to the mean of the labels, which training would take many epochs to reach."""
    import torch

    biases = [p for name, p in module.named_parameters() if name.endswith("bias") and p.shape == (1,)]
    if biases:
        with torch.no_grad():
            biases[-1].fill_(float(data.labels.mean()))


def _shares(groups: Groups) -> Tensor:
    """Return the share of each network's training rows in each group [networks, groups]."""
    import torch

    count = len(groups.names)
    return torch.stack([torch.bincount(c[c >= 0], minlength=count) / len(c) for c in groups.codes])


def _by_group(groups: Groups | None, network: int, by: str | None, facts: dict[str, Any]) -> dict[str, Any]:
    if groups is None:
        return {}
    names = groups.names
    return {
        "by": by,
        "hold": facts["hold"],
        **{key: dict(zip(names, facts[key], strict=True)) for key in ("divergence", "weights")},
        "not_weighed": groups.left_out[network],
    }
