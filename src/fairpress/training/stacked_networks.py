"""Many networks of one architecture trained as one batch: weights stacked, each on its own rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import vmap

from fairpress.models.feature_scaling import Standardize
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.training.data import Data
from fairpress.training.linear_chain import (
    ChainOperator,
    LinearChain,
    StackedLinear,
    StackedReLU,
    StackedScale,
)

if TYPE_CHECKING:
    from fairpress.training.objective import Objective

State = dict[str, Tensor]
AfterStep = Callable[[float, State], None]


@dataclass
class StackedNetworks:
    """Networks side by side: every parameter and buffer has a leading axis over networks.

    `forward` maps stacked states and inputs [networks, rows, …] to logits [networks, rows, classes].
    What `chain` computes is what `vmap` over the networks computes, digit for digit, without its cost:
    a sixth of a training step.
    """

    slots: FastFunctionalCall
    parameters: State
    buffers: State
    chain: LinearChain | None = None

    @classmethod
    def from_states(
        cls,
        module: nn.Module,
        states: Sequence[State],
        device: torch.device,
        chain: LinearChain | None = None,
    ) -> StackedNetworks:
        """Stack the states of a module, or of a graph, which computes `chain` if it is known; the module is not changed."""
        module = copy.deepcopy(module).to(device)
        names = {name for name, _ in module.named_parameters()}
        slots = FastFunctionalCall(module)
        stacked = {k: torch.stack([s[k] for s in states]).to(device) for k in slots.names}
        return cls(
            slots,
            {k: v.requires_grad_() for k, v in stacked.items() if k in names},
            {k: v for k, v in stacked.items() if k not in names},
            chain or plain_chain(slots),
        )

    def __len__(self) -> int:
        return len(next(iter((*self.parameters.values(), *self.buffers.values()))))

    def forward(self, inputs: Tensor) -> Tensor:
        both = {**self.parameters, **self.buffers}
        if len(self) == 1:  # a convolution with a batch of weights is slow
            alone: Tensor = self.slots.call({k: v.squeeze(0) for k, v in both.items()}, inputs.squeeze(0))
            return alone[None]
        if self.chain is not None:
            return self.chain(both, inputs)
        logits: Tensor = vmap(self.slots.call)(both, inputs)
        return logits

    def states(self) -> list[State]:
        """Return each network's state, copied."""
        both = {k: v.detach().cpu() for k, v in (*self.parameters.items(), *self.buffers.items())}
        both |= {alias: both[name] for alias, name in self.slots.aliases.items()}
        return [{k: v[i].clone() for k, v in both.items()} for i in range(len(self))]

    def only(self, which: Sequence[int], optimizer: torch.optim.Optimizer) -> None:
        """Keep some of the networks, and of an optimizer's memory what is about them."""
        rows = torch.as_tensor(which)
        for group in optimizer.param_groups:
            for i, parameter in enumerate(group["params"]):
                name = next(k for k, v in self.parameters.items() if v is parameter)
                selected = parameter.detach()[rows].requires_grad_()
                memory = optimizer.state.pop(parameter)
                optimizer.state[selected] = {
                    k: v[rows] if v.shape == parameter.shape else v for k, v in memory.items()
                }
                self.parameters[name] = group["params"][i] = selected
        self.buffers = {k: v[rows] for k, v in self.buffers.items()}


def plain_chain(slots: FastFunctionalCall) -> LinearChain | None:
    """Return the operators of a sequence of scaled columns, linear layers and ReLUs that share no weights; else None."""
    module = slots.module
    if (
        type(module) is not nn.Sequential
        or slots.aliases
        or len(set(module)) < len(module)
        or any(m._forward_hooks or m._forward_pre_hooks for m in (module, *module))
    ):
        return None
    operators: list[ChainOperator] = []
    for name, layer in module.named_children():
        if type(layer) is Standardize:
            operators.append(StackedScale(f"{name}.mean", f"{name}.scale"))
        elif type(layer) is nn.Linear:
            operators.append(StackedLinear(f"{name}.weight", None if layer.bias is None else f"{name}.bias"))
        elif type(layer) is nn.ReLU and operators:
            operators.append(StackedReLU())
        else:
            return None
    return LinearChain(tuple(operators)) if operators and isinstance(operators[-1], StackedLinear) else None


class Batches:
    """Minibatches for all networks at once, each network's rows shuffled by its own generator."""

    def __init__(self, data: Sequence[Data], seeds: Sequence[int], size: int) -> None:
        rows = min(len(d.labels) for d in data)
        self.size = min(size, rows)
        self.steps = rows // self.size
        self.data = data
        self.weighted = any(d.weights is not None for d in data)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def only(self, which: Sequence[int]) -> None:
        """Go on with some of the networks; each goes on as it would have in company."""
        self.data = [self.data[i] for i in which]
        self.generators = [self.generators[i] for i in which]

    def epoch(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Return one epoch's batches: inputs [networks, batch, …]; labels, groups (−1: none), weights [networks, batch].

        Folds differ by a few rows; the last rows of a permutation that fill no batch sit this epoch out.
        """
        used = self.steps * self.size
        inputs, labels, groups, weights = [], [], [], []
        for data, generator in zip(self.data, self.generators, strict=True):
            order = torch.randperm(len(data.labels), generator=generator)[:used]
            inputs.append(data.inputs[order])
            labels.append(data.labels[order])
            groups.append(torch.full_like(order, -1) if data.groups is None else data.groups[order])
            weights.append(torch.ones(used) if data.weights is None else data.weights[order])
        parts = (inputs, labels, groups, weights)
        stacked = (torch.stack(values).split(self.size, dim=1) for values in parts)
        return list(zip(*stacked, strict=True))


def adamw(stack: StackedNetworks, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019) over all networks; it is element-wise, so none knows of another."""
    return torch.optim.AdamW(
        stack.parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )


def train_epoch(
    stack: StackedNetworks,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    device: torch.device,
    progress: float = 0.0,
    share: float = 1.0,
    after_step: AfterStep | None = None,
    part: float = 1.0,
    objective: Objective | None = None,
) -> None:
    """Take one epoch of steps on the summed cross-entropy; summing keeps the networks' gradients apart.

    `after_step` receives the share of all training done (progress … progress + share) and the parameters. With
    `part` below 1, only so much of the epoch's steps is taken, at least one. An `objective` adds to the loss or replaces it.
    """
    steps = batches.epoch()
    for i, batch in enumerate(steps[: max(1, round(part * len(steps)))]):
        x, y, groups, weights = (values.to(device) for values in batch)
        if objective is not None:
            objective.see(x)
        for _ in range(1 if objective is None else objective.inner):
            logits = stack.forward(x)
            if objective is not None and not objective.uses_labels:
                loss = logits.new_zeros(())
            elif batches.weighted:
                rows = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
                loss = (rows * weights.flatten()).sum()
            else:
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum")
            loss = loss / batches.size
            if objective is not None:
                loss = loss + objective.loss(logits, y, groups).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if after_step is not None:
                with torch.no_grad():
                    after_step(progress + share * (i + 1) / len(steps), stack.parameters)
        if objective is not None:
            objective.dual()
    if objective is not None:
        objective.epoch()


@torch.no_grad()
def evaluate(
    stack: StackedNetworks, data: Sequence[Data], device: torch.device, objective: Objective | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each network's mean cross-entropy (weighted where rows have weights), accuracy and violation of the constraint
    on its own rows, all [networks].
    """
    rows = max(len(d.labels) for d in data)
    x = torch.stack([_pad(d.inputs, rows) for d in data]).to(device)
    y = torch.stack([_pad(d.labels, rows) for d in data]).to(device)
    is_row = torch.stack([torch.arange(rows) < len(d.labels) for d in data]).to(device)
    logits = stack.forward(x)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view_as(y)
    right = (logits.argmax(-1) == y).float()
    n = is_row.sum(1)
    if any(d.weights is not None for d in data):
        row_weights = [torch.ones(len(d.labels)) if d.weights is None else d.weights for d in data]
        loss = loss * torch.stack([_pad(w, rows) for w in row_weights]).to(device)
    violation = torch.zeros_like(n, dtype=loss.dtype)
    if objective is not None:
        groups = [torch.full_like(d.labels, -1) if d.groups is None else d.groups for d in data]
        padded = torch.stack([torch.cat([g, g.new_full((rows - len(g),), -1)]) for g in groups])
        violation = objective.violation(logits, y, padded.to(device))
    return (loss * is_row).sum(1) / n, (right * is_row).sum(1) / n, violation


@torch.no_grad()
def row_losses(stack: StackedNetworks, data: Sequence[Data], device: torch.device) -> list[Tensor]:
    """Return the cross-entropy of each network's own rows, each [rows], weighted where rows have weights."""
    rows = max(len(d.labels) for d in data)
    x = torch.stack([_pad(d.inputs, rows) for d in data]).to(device)
    logits = stack.forward(x)
    out = []
    for d, network_logits in zip(data, logits, strict=True):
        loss = nn.functional.cross_entropy(network_logits[: len(d.labels)].cpu(), d.labels, reduction="none")
        out.append(loss if d.weights is None else loss * d.weights)
    return out


def _pad(x: Tensor, rows: int) -> Tensor:
    return torch.cat([x, x[:1].expand(rows - len(x), *x.shape[1:])]) if len(x) < rows else x
