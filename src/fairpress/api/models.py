"""Train, compress and mitigate models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.core.seeds import checked_seed
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.model_reference import (
    Model,
    data_for,
    data_of,
    open_model,
)

if TYPE_CHECKING:
    from torch import nn

    from fairpress.compression.compress_onnx import CompressedFile


def train(
    model: str,
    data: Dataset | str,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    device: str | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    on_message: OnMessage | None = None,
) -> Artifact:
    """Train one network, ``"mlp"`` on a table, one like ``"resnet18"`` on images or ``"text"`` on texts.

    Parameters
    ----------
    data
        A dataset, or its name for `load_dataset`.
    options, training
        The architecture's options, and those of its training (`training.config.FitConfig`, `ImageFitConfig`,
        `TextFitConfig`).
    device
        ``"cpu"``, ``"cuda"`` and so on, or ``"auto"``; by default the CPU for tables, else a GPU, if available.
    checkpoints
        A folder in which training on images or texts saves its state after each epoch; the same call resumes from it.
    on_message
        Called with a progress message from time to time.
    """
    from fairpress.models import registry
    from fairpress.training.config import training_config
    from fairpress.training.fit import fit

    checked_seed(seed)
    architecture = registry.get(model, **(options or {}))
    config = training_config(architecture, training)
    dataset = load_dataset(data) if isinstance(data, str) else data
    return fit(
        architecture,
        [dataset.development()],
        [seed],
        config,
        on_message=on_message,
        device=device or ("cpu" if architecture.reads == "table" else "auto"),
        checkpoints=None if checkpoints is None else Path(checkpoints),
    )[0]


def compress(
    base: Model | nn.Module,
    recipe: str,
    *,
    data: Dataset | str | Iterable[Any] | None = None,
    seed: int | None = None,
    on_message: OnMessage | None = None,
) -> Artifact:
    """Compress a trained model by a recipe such as ``"int8"``, and return the checked artifact.

    Parameters
    ----------
    base
        A model folder or artifact with its float weights, or any `torch.nn.Module` that maps a tensor to one logit per
        class. It is not modified.
    data
        A dataset or its name; by default that of the card. For a module also batches (x, y) or (x, y, groups), such as a
        `DataLoader`: `compression.module.compress_module` describes their use.
    seed
        Seed of fine-tuning; by default the card's.
    on_message
        Called with a progress message from time to time.
    """
    from fairpress.compression.apply import compress as apply
    from fairpress.compression.recipes import parse

    chosen = parse(recipe)
    if seed is not None:
        checked_seed(seed)
    dataset = load_dataset(data) if isinstance(data, str) else data
    if not isinstance(base, Artifact | str | os.PathLike):
        from fairpress.compression.torch_module import compress_module

        if dataset is None:
            raise UserError("give the calibration data with `data=`: a dataset, or batches (x, y).")
        return compress_module(base, chosen, dataset, seed=seed or 0, on_message=on_message)
    artifact = open_model(base)
    if artifact.mitigation is not None:
        raise UserError(
            "this model has a mitigation, which is fitted to its scores alone; compress the model without the "
            "mitigation, and mitigate the result."
        )
    if dataset is None:
        dataset = data_of(artifact)
    if not isinstance(dataset, Dataset):
        raise UserError(
            "a model folder is compressed with a dataset, not with batches; give a dataset or its name with `data=`."
        )
    return apply(
        [artifact], chosen, [dataset], [artifact.card.seed or 0 if seed is None else seed], on_message
    )[0]


def compress_file(
    path: str | os.PathLike[str],
    recipe: str,
    data: Dataset | str,
    *,
    model_config: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> CompressedFile:
    """Compress an external ONNX file by ONNX Runtime's quantizer: ``"int8"``, ``"int8-dynamic"`` or ``"w4"``.

    Parameters
    ----------
    data
        A dataset or its name: calibration rows set the ranges, and the result is evaluated on validation rows.
    model_config
        YAML with what the file does not record; by default ``NAME.model.yaml`` or ``model.yaml`` in its folder.
    seed
        Seed of the sample of calibration rows.
    """
    from fairpress.compression.compress_onnx import compress_file as compressed
    from fairpress.compression.recipes import parse

    dataset = load_dataset(data) if isinstance(data, str) else data
    config = None if model_config is None else Path(model_config)
    return compressed(Path(path), parse(recipe), dataset, config, seed)


def mitigate(
    base: Model,
    *,
    by: str,
    method: str = "calibrated-equalized-odds",
    data: Dataset | str | None = None,
    seed: int = 0,
    **options: Any,
) -> Artifact:
    """Fit a mitigation of a finished model's scores or decisions on validation rows, and return the artifact with it.

    The ONNX file is unchanged: `predict` applies the mitigation, and needs the attributes `by` of every row. Compress first:
    a mitigation fits the scores of one file.

    Parameters
    ----------
    base
        A model folder or artifact of a task of two classes, compressed or not.
    by
        A sensitive attribute, or an intersection such as ``"sex*race"``.
    method
        ``"calibrated-equalized-odds"``, with ``cost`` (``"weighted"``, ``"fnr"`` or ``"fpr"``) and ``calibration``
        (``"platt"`` or ``"none"``): `mitigation.calibrated_equalized_odds`. Or ``"thresholds"``, with ``constraint``:
        `mitigation.thresholds`.
    data
        A dataset or its name; by default that of the card.
    seed
        Seed of the random decision of each row.

    Raises
    ------
    UserError
        The model already has a mitigation, the task does not have two classes, an option or attribute is unknown, or too few
        groups have rows.
    """
    from fairpress.runtime.mitigate import apply_mitigation

    checked_seed(seed)
    artifact = open_model(base)
    dataset = data_for(artifact, data)
    return apply_mitigation(artifact, dataset, method=method, by=by, seed=seed, **options)
