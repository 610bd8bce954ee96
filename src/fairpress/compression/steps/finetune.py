"""Fine-tuning to the last state, shared by pruning and quantization-aware training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fairpress.compression.pruning.masks import keep_zeros
from fairpress.compression.step import Step, TrainedNetwork
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.training.constraint_config import ConstraintConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.compression.finetuning import TrainingRun
    from fairpress.models.registry import Architecture
    from fairpress.training.data import Data
    from fairpress.training.objective import Objective
    from fairpress.training.stacked_networks import AfterStep

Towards = Literal["labels", "baseline", "both"]
FINETUNE_DEFAULTS = ("epochs", "learning_rate", "weight_decay", "batch_size")


@dataclass(frozen=True)
class TrainingContext:
    """What a function after every step can read: `forward` gives the networks' current logits [networks, rows, classes]."""

    forward: Callable[[Tensor], Tensor]
    parameters: Mapping[str, Tensor]
    rows: Sequence[Data]
    datasets: Sequence[Dataset]
    seeds: Sequence[int]


class FineTune(ConstraintConfig, Step):
    """Fine-tune with AdamW and cosine decay of the learning rate; no early stopping.

    On its own it is the placebo of every recipe that fine-tunes in this way: the same rows in the same order, the same
    steps, no compression. Pruned weights stay zero. Training may be constrained (`training.group_objective`), with CEAG
    relative to the network that the step receives.

    Attributes
    ----------
    towards
        ``"labels"``: the loss is their cross-entropy. ``"baseline"``: KL(baseline‖network) of the class probabilities in its
        place, where the baseline is the float network that the recipe starts from; no labels are used, and so no class
        weights. ``"both"``: the sum of the two, each with a weight of 1. A constraint's term is added to any.
    epochs, learning_rate, weight_decay, batch_size
        By default 8, 0.001, 0.0001 and 128 for small networks that train as one batch; 3, 0.0003, 0.0001 and 64 for
        those that train alone.
    """

    trains: ClassVar[bool] = True

    towards: Towards = "labels"
    epochs: int | None = Field(default=None, ge=1, le=100_000)
    learning_rate: float | None = Field(default=None, gt=0, le=1_000)
    weight_decay: float | None = Field(default=None, ge=0, le=1_000)
    batch_size: int | None = Field(default=None, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _by_is_used(self) -> Self:
        if self.by is not None and not self.reads_groups:
            raise ValueError("by needs method=penalty, fairalm or ceag here; add one, or leave out by")
        return self

    @property
    def reads_groups(self) -> bool:
        """Whether any option uses the groups of `by`."""
        return self.method is not None

    @property
    def reads_baseline(self) -> bool:
        return self.towards != "labels"

    def training_run(self, architecture: Architecture) -> TrainingRun:
        """Return the training of an architecture with its defaults filled in."""
        from fairpress.compression.finetuning import TrainingRun, trains_alone

        defaults = (
            TrainingRun(3, 3e-4, 1e-4, 64) if trains_alone(architecture) else TrainingRun(8, 1e-3, 1e-4, 128)
        )
        options = {name: getattr(self, name) for name in FINETUNE_DEFAULTS}
        return replace(defaults, **{name: value for name, value in options.items() if value is not None})

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Fine-tune all networks, small ones as one batch."""
        return self.train(networks, datasets, seeds, on_message, lambda context: None)

    def train(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None,
        after_step: Callable[[TrainingContext], AfterStep | None],
    ) -> list[TrainedNetwork]:
        """Return the trained networks.

        `after_step` creates the function that changes the parameters after every step: one for a batch, or one for each
        network that trains alone.
        """
        import torch

        from fairpress.compression.finetuning import train_alone, train_stack, trains_alone
        from fairpress.models.initialize import initialize
        from fairpress.training.stacked_networks import StackedNetworks

        architecture = networks[0].architecture
        training_run, module = self.training_run(architecture), initialize(architecture, datasets[0])
        if not trains_alone(architecture):
            rows, objective = self.rows_and_objective(networks, datasets, on_message)
            stack = StackedNetworks.from_states(
                module, [dict(n.state) for n in networks], torch.device("cpu")
            )
            context = TrainingContext(stack.forward, stack.parameters, rows, datasets, seeds)
            masks = after_step(context) or zero_mask(networks, stack.parameters)
            train_stack(stack, rows, seeds, training_run, on_message, masks, objective=objective)
            return with_trained_states(networks, stack.states(), training_run, [objective] * len(networks))
        states, objectives = [], []
        for network, dataset, seed in zip(networks, datasets, seeds, strict=True):
            (data,), objective = self.rows_and_objective([network], [dataset], on_message)
            module.load_state_dict(dict(network.state))
            context = TrainingContext(
                lambda x: evaluate_logits(module, x),
                dict(module.named_parameters()),
                [data],
                [dataset],
                [seed],
            )
            masks = after_step(context) or zero_mask(
                [network], {k: v[None] for k, v in module.named_parameters()}
            )
            states.append(
                train_alone(
                    module, data, seed, training_run, network.origin, on_message, masks, objective=objective
                )
            )
            objectives.append(objective)
        return with_trained_states(networks, states, training_run, objectives, one_at_a_time=True)

    def rows_and_objective(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        on_message: OnMessage | None = None,
    ) -> tuple[list[Data], Objective | None]:
        """Return the training rows, with groups if training is constrained, and the term that is added to the labels' loss
        or replaces it.
        """
        from fairpress.compression.finetuning import accuracy_by_group, baselines_of
        from fairpress.models.initialize import initialize
        from fairpress.training.data import tensors
        from fairpress.training.group_objective import make_objective
        from fairpress.training.towards_baseline import TowardsBaseline

        def dense(rows: Sequence[Data], count: int) -> Tensor:
            module = initialize(networks[0].architecture, datasets[0])
            return accuracy_by_group(module, [n.state for n in networks], rows, count)

        weights = [n.class_weights for n in networks]
        if self.towards == "baseline" and any(w is not None for w in weights):
            weights = [None] * len(networks)
            if on_message is not None:
                on_message(
                    "towards=baseline: the class weights of the baseline's loss do not apply, since no labels are used; "
                    "towards=both applies them to the labels"
                )
        rows = [tensors(d, "train", w) for d, w in zip(datasets, weights, strict=True)]
        rows, constraint = make_objective(self, datasets, rows, dense)
        if self.towards == "labels":
            return rows, constraint
        teach = baselines_of(networks, datasets[0])
        return rows, TowardsBaseline(teach, constraint, both=self.towards == "both", outputs=rows[0].outputs)

    def plain(self) -> FineTune:
        """Return the same step, trained without a constraint."""
        return self.model_copy(update={k: f.default for k, f in ConstraintConfig.model_fields.items()})

    def placebo(self) -> FineTune:
        """Return the same training without compression and without the effect of a constraint."""
        options = {k: getattr(self, k) for k in ("towards", *FINETUNE_DEFAULTS)}
        return FineTune(**options, **self.control())


def evaluate_logits(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return a network's evaluation-mode logits [1, rows, classes] for inputs [1, rows, …], and restore its mode."""
    from fairpress.training.trainer import set_mode

    training = module.training
    set_mode(module, training=False)
    logits: Tensor = module(inputs[0])
    set_mode(module, training=training)
    return logits[None]


def zero_mask(networks: Sequence[TrainedNetwork], parameters: Mapping[str, Tensor]) -> AfterStep | None:
    """Return a function that keeps the zeros of pruned networks; None if none was pruned."""
    return keep_zeros(parameters) if any("sparsity" in n.details for n in networks) else None


def with_trained_states(
    networks: Sequence[TrainedNetwork],
    states: Sequence[Mapping[str, Tensor]],
    training_run: TrainingRun,
    objectives: Sequence[Objective | None],
    *,
    one_at_a_time: bool = False,
) -> list[TrainedNetwork]:
    """Return the networks with their trained states, and with epochs, loss and constraints in their details.

    With `one_at_a_time`, each network has an objective of its own, at index 0.
    """
    trained = []
    for i, (network, state, objective) in enumerate(zip(networks, states, objectives, strict=True)):
        facts = _facts(objective, 0 if one_at_a_time else i)
        epochs = network.details.get("extra_epochs", 0) + training_run.epochs
        trained.append(
            replace(network, state=state, details={**network.details, "extra_epochs": epochs, **facts})
        )
    return trained


def _facts(objective: Objective | None, network: int) -> dict[str, Any]:
    from fairpress.training.towards_baseline import TowardsBaseline

    if objective is None:
        return {}
    if isinstance(objective, TowardsBaseline):
        return {"towards": objective.facts(network), **_facts(objective.constraint, network)}
    return {"fairness": objective.facts(network)}
