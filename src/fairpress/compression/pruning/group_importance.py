"""Choose the weights to keep so that every group retains its share of their importance to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fairpress.core.output_kind import OutputKind
from fairpress.training.data import Data
from fairpress.training.label_loss import label_loss

ROWS = 64  # rows of each group by which the importance of weights is measured
POOLED_ROWS = 256  # rows without regard to groups
ROUNDS, RATE = 12, 4.0

Forward = Callable[[Tensor], Tensor]


def batches_of_groups(
    rows: Sequence[Data], count: int, seeds: Sequence[int], size: int = ROWS
) -> list[tuple[Tensor, Tensor]]:
    """Return per group inputs [networks, size, …] and labels [networks, size], drawn once from each network's rows.

    Rows of a group with fewer rows are repeated. A group without rows in a network is filled with other rows, and must
    not be counted there.
    """
    batches = []
    for group in range(count):
        inputs, labels = [], []
        for data, seed in zip(rows, seeds, strict=True):
            assert data.groups is not None
            index = torch.nonzero(data.groups == group).flatten()
            index = index if len(index) else torch.arange(len(data.labels))
            order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed + group))
            chosen = index[order.repeat(-(-size // len(order)))[:size]]
            inputs.append(data.inputs[chosen])
            labels.append(data.labels[chosen])
        batches.append((torch.stack(inputs), torch.stack(labels)))
    return batches


def importance(
    forward: Forward,
    weights: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    batches: Sequence[tuple[Tensor, Tensor]],
    outputs: OutputKind = "classes",
) -> dict[str, Tensor]:
    """Return how much the loss of each group depends on each weight, (w · ∂L_g/∂w)², as [groups, networks, …].

    The first-order estimate of Molchanov et al. (2019, arXiv 1906.10771), a group at a time. `weights` are [networks, …];
    `parameters` are what `forward` computes with: the same, or those of one network without the first axis.
    """
    importances: dict[str, list[Tensor]] = {name: [] for name in weights}
    for inputs, labels in batches:
        with torch.enable_grad():
            device = next(iter(weights.values())).device
            logits = forward(inputs.to(device))
            loss = label_loss(logits.flatten(0, 1), labels.to(device).flatten(0, 1), outputs, "sum")
            gradients = torch.autograd.grad(
                loss / labels.shape[1], [parameters[name] for name in weights], materialize_grads=True
            )
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            importances[name].append((weight.detach() * gradient.view_as(weight)).square())
    return {name: torch.stack(values) for name, values in importances.items()}


def keep_for_all_groups(importances: Tensor, magnitude: Tensor, n_retained: int, active: Tensor) -> Tensor:
    """Return masks [networks, size] that retain `n_retained` weights and maximise the smallest share of any group.

    A group's share is the sum of its importances over the retained weights, divided by that over all weights. The aim is
    that of FairGRAPE (Lin et al., ECCV 2022), which adds weights one by one. Here whole sets are ranked by a weighted sum
    of the groups' importances, and the weight of a group grows while its share is below the mean (multiplicative weights).
    All groups start with equal weight; the best set of `ROUNDS` is returned.

    Parameters
    ----------
    importances
        [groups, networks, size].
    magnitude
        [networks, size]: breaks ties among weights without importance to any group.
    active
        [networks, groups] bool.
    """
    share = importances / importances.sum(-1, keepdim=True).clamp_min(1e-30)
    counted = active.T.to(share)  # [groups, networks]
    weight = counted / counted.sum(0).clamp_min(1)
    tie = 1e-9 * magnitude / magnitude.amax(-1, keepdim=True).clamp_min(1e-30) / magnitude.shape[-1]
    best, best_worst_share = (
        torch.zeros_like(magnitude),
        torch.full((len(magnitude),), -1.0, device=magnitude.device),
    )
    for _ in range(ROUNDS if len(importances) > 1 else 1):
        score = (weight[..., None] * share).sum(0) + tie
        mask = torch.zeros_like(magnitude).scatter_(
            -1, score.topk(n_retained, dim=-1, sorted=False).indices, 1.0
        )
        retained = (share * mask).sum(-1)
        worst = retained.masked_fill(counted == 0, torch.inf).amin(0)
        better = worst > best_worst_share
        best, best_worst_share = (
            torch.where(better[:, None], mask, best),
            torch.where(better, worst, best_worst_share),
        )
        mean = (retained * counted).sum(0) / counted.sum(0).clamp_min(1)
        weight = weight * torch.exp(-RATE * (retained - mean)) * counted
        weight = weight / weight.sum(0).clamp_min(1e-30)
    return best
