"""The fairness objective that training adds to the mean cross-entropy, built from its config and row groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Part
from fairpress.datasets.grouping import group_rows, keys_of_groups, parse_by
from fairpress.training.ceag import Ceag
from fairpress.training.constraint_config import ConstraintConfig
from fairpress.training.data import Data
from fairpress.training.fairalm import FairAlm
from fairpress.training.objective import Objective
from fairpress.training.penalty import Penalty

LABELS: dict[str | None, tuple[int | None, ...]] = {
    "demographic_parity": (None,),
    "equal_opportunity": (1,),
    "predictive_equality": (0,),
    "equalized_odds": (1, 0),
    None: (None,),
}
# Rows of every network with their groups, and the number of groups → accuracy of the dense networks [networks, groups].
Dense = Callable[[Sequence[Data], int], Tensor]


@dataclass(frozen=True)
class Groups:
    """Groups of the training rows of several networks.

    Attributes
    ----------
    names
        The groups that some network constrains.
    codes
        Per network [rows] int64: index of the row's group, −1 where it is not constrained.
    active
        [networks, groups] bool.
    left_out
        Per network: group → training rows, of those with fewer than `least` under a constraint.
    """

    names: tuple[str, ...]
    codes: tuple[Tensor, ...]
    active: Tensor
    left_out: tuple[dict[str, int], ...]


def make_objective(
    config: ConstraintConfig, datasets: Sequence[Dataset], rows: Sequence[Data], dense: Dense | None = None
) -> tuple[list[Data], GroupObjective | None]:
    """Return the training rows with their groups, and the objective; the rows alone where there is no method.

    Raises
    ------
    UserError
        An unknown attribute, no positive class, fewer than two groups to constrain, or CEAG without a dense network.
    """
    if config.method is None:
        return list(rows), None
    task = datasets[0].task
    if config.method != "ceag" and task.positive is None:
        raise UserError(
            f"method={config.method} needs a positive class, and {task.target!r} has none; take method=ceag, or a target "
            "of two classes."
        )
    if config.method == "ceag" and dense is None:
        raise UserError(
            "method=ceag bounds the loss relative to the baseline, so it works only in recipes, such as "
            f"`recipe='qat-int8(method=ceag,by={config.by})'` of compress."
        )
    positive = None if task.positive is None else task.classes.index(task.positive)
    groups = constrained_groups(config, datasets, positive)
    grouped_rows = [replace(r, groups=codes) for r, codes in zip(rows, groups.codes, strict=True)]
    return grouped_rows, GroupObjective(
        _objective(config, groups, positive or 0, grouped_rows, dense), groups, config
    )


def with_groups(
    objective: GroupObjective | None, datasets: Sequence[Dataset], rows: Sequence[Data], part: Part
) -> list[Data]:
    """Return the rows of another part with the groups that are constrained in training."""
    if objective is None:
        return list(rows)
    assert objective.config.by is not None
    by, out = parse_by(objective.config.by), []
    for i, (dataset, network_rows) in enumerate(zip(datasets, rows, strict=True)):
        index = dataset.index(part)
        attributes = {name: values[index] for name, values in dataset.attributes.items()}
        places = {name: j if objective.active[i, j] else -1 for j, name in enumerate(objective.names)}
        keys = keys_of_groups(attributes, by, repr(dataset.name))
        codes = torch.tensor([places.get(", ".join(key), -1) for key in keys], dtype=torch.long)
        out.append(replace(network_rows, groups=codes))
    return out


def constrained_groups(config: ConstraintConfig, datasets: Sequence[Dataset], positive: int | None) -> Groups:
    """Return the groups of all networks' training rows. Raises UserError if there are fewer than two."""
    assert config.by is not None
    by = parse_by(config.by)
    constrained, left_out = [], []
    for dataset in datasets:
        index = dataset.index("train")
        attributes = {name: values[index] for name, values in dataset.attributes.items()}
        rows = group_rows(keys_of_groups(attributes, by, repr(dataset.name)))
        is_positive = dataset.labels[index] == positive
        n_rows = {
            key: _min_rows(is_positive[indices], LABELS[config.constraint]) for key, indices in rows.items()
        }
        enough = {key: indices for key, indices in rows.items() if n_rows[key] >= config.least}
        if len(enough) < 2:
            raise UserError(
                f"by={config.by}: fewer than two groups have {config.least} training rows under the constraint; set "
                "least= lower, or take another attribute."
            )
        constrained.append((enough, len(index)))
        left_out.append({", ".join(key): len(indices) for key, indices in rows.items() if key not in enough})
    keys = sorted({key for enough, _ in constrained for key in enough})
    codes = []
    for enough, count in constrained:
        row_codes = np.full(count, -1)
        for key, indices in enough.items():
            row_codes[indices] = keys.index(key)
        codes.append(torch.from_numpy(row_codes))
    active = torch.tensor([[key in enough for key in keys] for enough, _ in constrained])
    return Groups(tuple(map(", ".join, keys)), tuple(codes), active, tuple(left_out))


def _min_rows(is_positive: np.ndarray, labels: Sequence[int | None]) -> int:
    counts = {None: len(is_positive), 1: int(is_positive.sum()), 0: int((~is_positive).sum())}
    return min(counts[label] for label in labels)


def _objective(
    config: ConstraintConfig, groups: Groups, positive: int, rows: Sequence[Data], dense: Dense | None
) -> Objective:
    labels, count = LABELS[config.constraint], len(groups.names)
    if config.method == "penalty":
        return Penalty(10.0 if config.strength is None else config.strength, labels, positive, count)
    if config.method == "fairalm":
        variant = config.variant or "paper"
        step, inner = {"paper": (0.05, 1), "celeba": (20.0, 5)}[variant]
        step = step if config.step is None else config.step
        return FairAlm(variant, step, config.inner or inner, labels, positive, groups.active, config.hold)
    assert dense is not None
    shares = torch.stack([torch.bincount(c[c >= 0], minlength=count) / (c >= 0).sum() for c in groups.codes])
    step = 1.0 if config.step is None else config.step
    tolerance = 0.01 if config.tolerance is None else config.tolerance
    return Ceag(tolerance, step, dense(rows, count), shares, groups.active, config.hold)


class GroupObjective:
    """An objective with its config and groups, which can be found among other rows."""

    uses_labels = True

    def __init__(self, objective: Objective, groups: Groups, config: ConstraintConfig) -> None:
        self.objective, self.names, self.config = objective, groups.names, config
        self.left_out, self.active = list(groups.left_out), groups.active
        self.see, self.loss, self.dual, self.epoch = (
            objective.see,
            objective.loss,
            objective.dual,
            objective.epoch,
        )
        self.tensors, self.load, self.violation = objective.tensors, objective.load, objective.violation

    @property
    def inner(self) -> int:
        return self.objective.inner

    def only(self, which: Sequence[int]) -> None:
        self.objective.only(which)
        self.left_out = [self.left_out[i] for i in which]

    def facts(self, network: int) -> dict[str, Any]:
        """Return the card's facts for one of the networks still in the batch."""
        return {
            "method": self.config.method,
            "constraint": self.config.constraint,
            "by": self.config.by,
            "hold": self.config.hold,
            "groups": list(self.names),
            "not_constrained": self.left_out[network],
            **self.objective.facts(network),
        }
