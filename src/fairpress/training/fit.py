"""Train networks from scratch, each stopped early on its own validation rows; small ones for tables many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.card import ModelCard
from fairpress.core.progress import OnMessage
from fairpress.core.version import installed_version
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import dataset_facts
from fairpress.runtime.artifact import Artifact
from fairpress.training.config import FitConfig, ImageFitConfig, TextFitConfig
from fairpress.training.constant_baseline import constant_answer, constant_baseline_warnings
from fairpress.training.data import (
    ClassWeights,
    check_readable,
    check_trainable,
    tensors,
    verification_rows,
    weights_of_classes,
)
from fairpress.training.device import require_torch, resolve_device

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.models.registry import Architecture


def fit(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    config: FitConfig | None = None,
    on_message: OnMessage | None = None,
    device: str = "cpu",
    checkpoints: Path | None = None,
) -> list[Artifact]:
    """Train network i on datasets[i] with seeds[i]: those that read tables as one batch, the others in turn.

    Each keeps the state of its own epoch of lowest validation loss, among the epochs before its patience
    ran out; networks do not influence one another. Equal arguments give equal artifacts on one kind of processor with as
    many threads (unless the training's `way` is ``"fastest"`` or ``"processor"``).

    Parameters
    ----------
    config
        As `training_config` makes it.
    checkpoints
        A folder where the training on images or texts keeps the state after each epoch, and goes on from it.

    Raises
    ------
    UserError
        NaN in inputs, a training part with one class, datasets of different shapes, a network that does not accept
        such data, or groups that cannot be constrained.
    MissingExtra
        torch is not installed.
    """
    require_torch("Training a network")
    import torch

    from fairpress.models.export import export_many
    from fairpress.models.mlp import Mlp
    from fairpress.models.weights_io import to_bytes
    from fairpress.training.batched_trainer import train_together
    from fairpress.training.group_objective import make_objective, with_groups

    torch_device = resolve_device(device)
    for dataset in datasets:
        check_trainable(dataset)
        check_readable(architecture, dataset)
    if architecture.reads == "images":
        return _fit_images(architecture, datasets, seeds, config, on_message, torch_device, checkpoints)
    if architecture.reads == "text":
        return _fit_texts(architecture, datasets, seeds, config, on_message, torch_device, checkpoints)
    config = config or FitConfig()
    task = datasets[0].task
    classes = len(task.classes)
    rows = min(map(len, datasets))  # of whole tables: all folds of one have networks of one size
    config = config.settled(architecture, rows)
    if isinstance(architecture, Mlp):
        architecture = architecture.sized(rows, classes)
    weighted = config.class_weights
    train, objective = make_objective(config, datasets, [tensors(d, "train", weighted) for d in datasets])
    validation = with_groups(
        objective, datasets, [tensors(d, "validation", weighted) for d in datasets], "validation"
    )
    columns = train[0].inputs.shape[1]
    result = train_together(
        architecture, train, validation, classes, seeds, config, torch_device, on_message, objective
    )
    key = (architecture, classes)
    check_inputs = [verification_rows(d) for d in datasets]
    files = export_many(
        result.module, [n.state for n in result.networks], train[0].inputs[:2], key, check_inputs
    )
    out = []
    for dataset, seed, network, file, rows_seen in zip(
        datasets, seeds, result.networks, files, validation, strict=True
    ):
        card = ModelCard(
            target=task.target,
            classes=task.classes,
            positive=task.positive,
            architecture={"name": architecture.name, **architecture.model_dump(mode="json")},
            inputs={"name": "x", "shape": [columns], "columns": list(dataset.input_names)},
            data=dataset_facts(dataset),
            seed=seed,
            provenance={
                "training": config.model_dump(mode="json"),
                "networks_in_batch": len(seeds),
                "device": str(torch_device),
                "threads": torch.get_num_threads(),
                "epochs": network.epochs,
                "best_epoch": network.best_epoch,
                "validation_loss": network.validation_loss,
                "validation_accuracy": network.validation_accuracy,
                **_constant_baseline_facts(
                    dataset, predict_classes(result.module, network.state, rows_seen.inputs), weighted
                ),
                "parameters": int(sum(p.numel() for p in result.module.parameters())),
                **({} if network.fairness is None else {"fairness": network.fairness}),
                "versions": {name: installed_version(name) for name in ("torch", "onnx", "onnxscript")},
            },
        )
        out.append(Artifact(card, file, to_bytes(network.state)))
    return out


def _constant_baseline_facts(
    dataset: Dataset, y_pred: np.ndarray | None, class_weights: ClassWeights | None
) -> dict[str, Any]:
    """Return the card's facts on the constant baseline (validation rows), with a warning if the network is no better."""
    train_labels, labels = (dataset.labels[dataset.index(part)] for part in ("train", "validation"))
    classes = dataset.task.classes
    weights = None if class_weights is None else weights_of_classes(dataset, class_weights)
    warnings = (
        [] if y_pred is None else constant_baseline_warnings(y_pred, labels, classes, train_labels, weights)
    )
    return {
        "constant_answer": constant_answer(labels, classes, train_labels),
        **({} if weights is None else {"class_weights": dict(zip(classes, weights.tolist(), strict=True))}),
        **({"warnings": warnings} if warnings else {}),
    }


def predict_classes(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> np.ndarray:
    """Return the predicted class of each row of inputs [rows, …] for a network with this state."""
    import torch

    from fairpress.models.functional_call import FastFunctionalCall

    with torch.no_grad():
        logits: Tensor = FastFunctionalCall(module).call(dict(state), inputs)
        y_pred: np.ndarray = logits.argmax(-1).numpy()
    return y_pred


def _fit_images(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    config: FitConfig | None,
    on_message: OnMessage | None,
    device: Any,
    checkpoints: Path | None,
) -> list[Artifact]:
    from fairpress.models.image_architecture import ImageNetwork
    from fairpress.training.fit_images import fit_image_network

    assert isinstance(architecture, ImageNetwork)
    config = ImageFitConfig() if config is None else config
    if not isinstance(config, ImageFitConfig):
        # Its defaults are those for tables, and values that the user set cannot be distinguished from defaults.
        raise TypeError("networks that read images take an ImageFitConfig; training_config makes it")
    return [
        fit_image_network(
            architecture,
            dataset,
            seed,
            config,
            device,
            on_message,
            None if checkpoints is None else checkpoints / str(i),
        )
        for i, (dataset, seed) in enumerate(zip(datasets, seeds, strict=True))
    ]


def _fit_texts(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    config: FitConfig | None,
    on_message: OnMessage | None,
    device: Any,
    checkpoints: Path | None,
) -> list[Artifact]:
    from fairpress.tokenization.tokenizer import require_tokenizers
    from fairpress.training.fit_text import fit_text_networks

    require_tokenizers("Training on texts")
    config = TextFitConfig() if config is None else config
    if not isinstance(config, TextFitConfig):
        raise TypeError("networks that read texts take a TextFitConfig; training_config makes it")
    return fit_text_networks(
        architecture, list(datasets), list(seeds), config, device, on_message, checkpoints
    )
