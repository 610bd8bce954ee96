"""Train networks from scratch, many seeds and folds at once, each stopped early on its own validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fairpress.core.card import ModelCard
from fairpress.core.errors import MissingExtra, UserError
from fairpress.datasets.base import Dataset, Part
from fairpress.runtime.artifact import Artifact

if TYPE_CHECKING:
    from fairpress.models.registry import Architecture
    from fairpress.training.loop import Data


class FitConfig(BaseModel):
    """How long and how fast to learn. Early stopping looks at the validation loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    patience: int = Field(default=8, ge=1)


def fit(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    config: FitConfig | None = None,
    progress: Callable[[str], None] | None = None,
    device: str = "cpu",
) -> list[Artifact]:
    """Train network i on datasets[i] with seeds[i], all as one batch.

    Each keeps the state of its own epoch of lowest validation loss, among the epochs before its patience
    ran out; networks do not influence one another. Equal arguments give equal artifacts.

    Raises
    ------
    UserError
        NaN in inputs, a training part with one class, or datasets of different shapes.
    MissingExtra
        torch is not installed.
    """
    require_torch("Training a network")
    import torch

    from fairpress.models.checkpoint import to_bytes
    from fairpress.models.export import export_many
    from fairpress.training.together import train_together

    config = config or FitConfig()
    where = resolve_device(device)
    for dataset in datasets:
        check_trainable(dataset)
    train = [tensors(d, "train") for d in datasets]
    validation = [tensors(d, "validation") for d in datasets]
    task, columns = datasets[0].task, train[0].inputs.shape[1]
    classes = len(task.classes)
    made = train_together(architecture, train, validation, classes, seeds, config, where, progress)
    key = (architecture, classes)
    files = export_many(made.module, [n.state for n in made.networks], train[0].inputs[:2], key)
    out = []
    for dataset, seed, network, file in zip(datasets, seeds, made.networks, files, strict=True):
        card = ModelCard(
            target=task.target,
            classes=task.classes,
            positive=task.positive,
            architecture={"name": architecture.name, **architecture.model_dump(mode="json")},
            inputs={"name": "x", "shape": [columns], "columns": list(dataset.input_names)},
            data=data_of(dataset),
            seed=seed,
            provenance={
                "training": config.model_dump(mode="json"),
                "networks_in_batch": len(seeds),
                "device": str(where),
                "epochs": network.epochs,
                "best_epoch": network.best_epoch,
                "validation_loss": network.validation_loss,
                "validation_accuracy": network.validation_accuracy,
                "parameters": int(sum(p.numel() for p in made.module.parameters())),
                "versions": {name: version(name) for name in ("torch", "onnx", "onnxscript")},
            },
        )
        out.append(Artifact(card, file, to_bytes(network.state)))
    return out


def data_of(dataset: Dataset) -> dict[str, Any]:
    """Return what a card says about its data."""
    return {"name": dataset.name, "config": dict(dataset.config), "fingerprint": dataset.fingerprint}


def tensors(dataset: Dataset, part: Part) -> Data:
    """Return one part's inputs and labels as tensors."""
    import torch

    from fairpress.training.loop import Data

    rows = dataset.part(part)
    return Data(torch.from_numpy(np.ascontiguousarray(rows.inputs)).float(), torch.from_numpy(rows.labels))


def check_trainable(dataset: Dataset) -> None:
    """Refuse what training would turn into nonsense, before any time is spent."""
    bad = ~np.isfinite(dataset.inputs).reshape(len(dataset), -1)
    if bad.any():
        column = int(bad.sum(0).argmax())
        name = dataset.input_names[column] if dataset.input_names else f"input {column}"
        raise UserError(
            f"{dataset.name}: column {name!r} has {int(bad[:, column].sum())} missing or infinite values; "
            "fill them or drop those rows."
        )
    present = np.unique(dataset.part("train").labels)
    if len(present) < 2:
        raise UserError(
            f"{dataset.name}: all training rows have one class of {dataset.task.target!r}; two are needed."
        )


def resolve_device(name: str) -> Any:
    """Return the torch device; ``"auto"`` takes an accelerator where there is one."""
    import torch

    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} does not work here ({str(error).splitlines()[0]}); try --device cpu."
        ) from None


def require_torch(what: str) -> None:
    """Raise MissingExtra unless the packages of the torch extra are there."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("torch", "torchao", "onnxscript", "safetensors")):
        raise MissingExtra(what, "torch")
