"""Compress a network of the user's own: any module that torch.export can follow, with any loader of batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fairpress.compression.apply import apply_steps, artifact
from fairpress.compression.checks import untouched
from fairpress.compression.recipes import Recipe
from fairpress.compression.step import Network, Progress
from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.datasets.base import Dataset, Part, Task
from fairpress.models.graph import layer_at_fault
from fairpress.models.slots import Slots
from fairpress.runtime.artifact import Artifact

ENOUGH = 2048  # rows of a loader, for a recipe that does not train


@dataclass(frozen=True, eq=False)
class OwnModule:
    """An architecture that is known by its module alone; it trains alone, and no two of them are equal."""

    reads: ClassVar[Literal["table", "images"]] = "table"
    version: ClassVar[int] = 1
    alone: ClassVar[bool] = True

    module: nn.Module

    @property
    def name(self) -> str:
        return type(self.module).__qualname__

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        return copy.deepcopy(self.module)

    def model_dump(self, *, mode: str = "json") -> dict[str, Any]:
        return {"module": type(self.module).__module__}


def compress_module(
    module: nn.Module,
    recipe: Recipe,
    data: Dataset | Iterable[Any],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Artifact:
    """Return a compressed copy of a network; the network itself is not changed.

    Parameters
    ----------
    module
        Maps a float32 or uint8 tensor [rows, …] to a logit per class [rows, classes].
    data
        A dataset, whose test rows are taken away; or batches (x, y) or (x, y, groups) with y the index of the class.
        Batches are read once, in their order, and kept in memory: all of them when the recipe trains, otherwise the
        first 2,048 rows. Every tenth row is held out as validation row, as many set ranges; a recipe that does not
        train sets them by half of the rows. Give rows the network was trained on or may be: never test rows.

    Raises
    ------
    UserError
        The module does not read such rows or has no logit per class, cannot be exported (the sentence names the
        layer), or a batch is something else.
    NotAsAsked
        The finished file is not what the recipe says.
    """
    trains = any(step.trains for step in recipe.steps)
    dataset = data.development() if isinstance(data, Dataset) else _collected(data, trains)
    with untouched(module):
        classes = _classes(module, dataset)
        if isinstance(data, Dataset):
            if classes != len(dataset.task.classes):
                raise UserError(
                    f"the network has {classes} outputs, {dataset.name!r} has {len(dataset.task.classes)} classes."
                )
        else:
            dataset = _with_classes(dataset, classes)
        state = {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
        architecture = OwnModule(copy.deepcopy(module).cpu())
        (made,) = apply_steps([Network(architecture, state)], recipe, [dataset], [seed], progress)
    card = ModelCard(
        target=dataset.task.target,
        classes=dataset.task.classes,
        positive=dataset.task.positive,
        architecture={"name": architecture.name, **architecture.model_dump()},
        inputs={
            "name": "x",
            "shape": list(dataset.inputs.shape[1:]),
            "dtype": str(dataset.inputs.dtype),
            "columns": list(dataset.input_names),
        },
        data={"name": dataset.name, "config": dict(dataset.config), "fingerprint": dataset.fingerprint},
        seed=seed,
    )
    return artifact(card, None, recipe, made, dataset, seed)


def _classes(module: nn.Module, dataset: Dataset) -> int:
    """Return how many outputs a network has, by running two rows."""
    index = dataset.index("train")[:2]
    rows = torch.from_numpy(np.ascontiguousarray(dataset.inputs[index]))
    own = copy.deepcopy(module).cpu().eval()
    try:
        with torch.no_grad():
            out = Slots(own).call({}, rows)
    except Exception as error:
        layer = layer_at_fault(own, error.__traceback__)
        where = "the network" if layer is None else f"layer {layer!r}"
        shape, dtype = "×".join(map(str, rows.shape[1:])), str(rows.dtype).removeprefix("torch.")
        raise UserError(
            f"{where} cannot read rows of {shape} numbers ({dtype}): {str(error).splitlines()[0]}."
        ) from error
    if not isinstance(out, Tensor) or out.dim() != 2 or out.shape[1] < 2:
        what = f"a tensor {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise UserError(
            f"the network returns {what} for 2 rows; it must return a logit per class, [2, classes] with two classes "
            "or more. Wrap it in a module that does."
        )
    return int(out.shape[1])


def _collected(batches: Iterable[Any], trains: bool) -> Dataset:
    """Read batches into a dataset with training, calibration and validation rows."""
    inputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[np.ndarray] = []
    for batch in batches:
        if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
            raise UserError(
                f"a batch is (x, y) or (x, y, groups); this loader yields {_described(batch)}. Wrap it in a generator."
            )
        x, y = (_array(part) for part in batch[:2])
        if len(x) != len(y) or y.ndim != 1 or y.dtype.kind not in "iu":
            raise UserError(
                f"a batch has inputs {x.shape} and labels {y.shape} {y.dtype}; labels are class indices [rows]."
            )
        inputs.append(x if x.dtype == np.uint8 else x.astype(np.float32))
        labels.append(y.astype(np.int64))
        if len(batch) == 3:
            groups.append(np.asarray(_array(batch[2]), dtype=str))
        if not trains and sum(map(len, labels)) >= ENOUGH:
            break
    rows = sum(map(len, labels))
    if rows < 20:
        raise UserError(f"the loader has {rows} rows; give at least 20, better some hundred.")
    every = np.arange(rows)
    parts: dict[Part, np.ndarray] = {
        "train": every[every % 10 > 1],
        "calibration": every[every % 10 == 1] if trains else every[every % 10 % 2 == 1],
        "validation": every[every % 10 == 0],
    }
    ids = every.astype(str)
    y = np.concatenate(labels)
    return Dataset(
        "loader",
        Task("label", tuple(map(str, range(int(y.max()) + 1 if y.max() > 0 else 2))), None),
        np.concatenate(inputs),
        (),
        y,
        {"group": np.concatenate(groups)} if len(groups) == len(labels) else {},
        ids,
        ids,
        parts,
        "",
    )


def _with_classes(dataset: Dataset, classes: int) -> Dataset:
    from dataclasses import replace

    highest = int(dataset.labels.max())
    if highest >= classes or dataset.labels.min() < 0:
        raise UserError(f"the loader has the label {highest}, the network has {classes} outputs.")
    task = Task("label", tuple(map(str, range(classes))), "1" if classes == 2 else None)
    return replace(dataset, task=task)


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _described(batch: Any) -> str:
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__} of {len(batch)}"
    if isinstance(batch, dict):
        return f"dict with the keys {', '.join(map(repr, batch))}"
    return type(batch).__name__
