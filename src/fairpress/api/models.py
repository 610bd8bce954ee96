"""Train, compress and mitigate models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.api.opening import open_base, open_huggingface, texts_of
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.core.public_function import public_function
from fairpress.core.seeds import checked_seed
from fairpress.core.time_left import listening
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.model_reference import Model, is_huggingface, open_model
from fairpress.training.device import require_torch
from fairpress.training.threads import use_threads

if TYPE_CHECKING:
    from torch import nn

    from fairpress.compression.compress_onnx import CompressedFile


@public_function
def train(
    model: str,
    data: Dataset | str,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    device: str | None = None,
    threads: int | None = None,
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
    threads
        Threads within an operator; by default as many as torch uses, one for each core. Another number changes the weights,
        because sums are split otherwise; the card records it.
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
    with use_threads(threads):
        return fit(
            architecture,
            [dataset.development()],
            [seed],
            config,
            on_message=on_message,
            device=device or ("cpu" if architecture.reads == "table" else "auto"),
            checkpoints=None if checkpoints is None else Path(checkpoints),
        )[0]


@public_function
def compress(
    base: Model | nn.Module,
    recipe: str,
    *,
    data: Dataset | str | Iterable[Any] | None = None,
    tokenizer: Any = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    positive: str | None = None,
    by: Sequence[str] | str = (),
    max_length: int | None = None,
    outputs: str | None = None,
    label_names: Sequence[str] | None = None,
    seed: int | None = None,
    threads: int | None = None,
    on_message: OnMessage | None = None,
) -> Artifact:
    """Compress a trained model by a recipe such as ``"int8"``, and return the checked artifact.

    Parameters
    ----------
    base
        A model folder or artifact with its float weights; a Hugging Face folder; or a `torch.nn.Module`: with `tokenizer`, a
        classifier of transformers, else any that maps tensors to a logit per class, a number, a logit per label, or an
        embedding. It is not modified.
    data
        A dataset or its name; by default that of the card. For a module also batches (x, y) or (x, y, groups), such as a
        `DataLoader`: `compression.torch_module.compress_module` describes their use. With `tokenizer`, also the path of a
        table, or a DataFrame.
    tokenizer
        The fast tokenizer of a transformers classifier. The outputs are matched with the classes of the data by the names
        in ``model.config.id2label``.
    text, label, positive, by
        With `tokenizer` or a Hugging Face folder, for tables: the columns of the texts (several are joined), the labels and
        the sensitive attributes, and the positive class of two; with `tokenizer` by default that of the model's second
        output.
    max_length
        With `tokenizer` or a Hugging Face folder: the longest sequence of token ids; longer texts lose their end.
    outputs, label_names
        For a module without `tokenizer`: what it predicts, ``"classes"``, ``"number"``, ``"labels"`` or ``"embedding"``; by
        default what the labels in the batches say (`compress_module`). And the names of several labels.
    seed
        Seed of fine-tuning; by default the card's.
    threads
        Threads within an operator; by default as many as torch uses, one for each core. The card records it.
    on_message
        Called with a progress message from time to time.
    """
    from fairpress.compression.apply import compress as apply
    from fairpress.compression.recipes import parse

    chosen = parse(recipe)
    if seed is not None:
        checked_seed(seed)
    if tokenizer is not None:
        outputs_are_known(outputs, label_names)
        artifact, dataset = _with_tokenizer(base, tokenizer, data, text, label, positive, by, max_length)
    elif (text or label) and isinstance(base, str | os.PathLike) and is_huggingface(base):
        dataset = texts_of(data, text=text, label=label, positive=positive, by=by, likely_positive=None)
        artifact = open_huggingface(base, dataset, max_length)
    else:
        given = {"text": text, "label": label, "positive": positive, "by": by}
        if named := [name for name, value in given.items() if value]:
            if isinstance(base, Artifact | str | os.PathLike):
                open_model(base)
                raise UserError(
                    f"`{named[0]}=` names a column of a table, and this model has its data on its card; leave it out."
                )
            raise UserError(
                f"`{named[0]}=` names a column for a transformers model; give its tokenizer too (`tokenizer=`)."
            )
        loaded = load_dataset(data) if isinstance(data, str) else data
        if not isinstance(base, Artifact | str | os.PathLike):
            from fairpress.compression.torch_module import compress_module

            if loaded is None:
                raise UserError("give the calibration data with `data=`: a dataset, or batches (x, y).")
            with use_threads(threads):
                return compress_module(
                    base,
                    chosen,
                    loaded,
                    outputs=outputs,
                    label_names=label_names,
                    seed=seed or 0,
                    on_message=on_message,
                )
        outputs_are_known(outputs, label_names)
        if loaded is not None and not isinstance(loaded, Dataset):
            raise UserError(
                "a model folder is compressed with a dataset, not with batches; give a dataset or its name with `data=`."
            )
        artifact, dataset = open_base(base, loaded, max_length)
    if artifact.mitigation is not None:
        raise UserError(
            "this model has a mitigation, which is fitted to its scores alone; compress the model without the "
            "mitigation, and mitigate the result."
        )
    if not chosen.steps and "imported" in artifact.card.provenance:
        return artifact
    chosen_seed = artifact.card.seed or 0 if seed is None else seed
    with use_threads(threads):
        return apply([artifact], chosen, [dataset], [chosen_seed], on_message)[0]


def outputs_are_known(outputs: str | None, label_names: Sequence[str] | None) -> None:
    """Raise UserError where it is said what a model predicts whose card or tokenizer says it already."""
    for name, value in (("outputs", outputs), ("label_names", label_names)):
        if value is not None:
            raise UserError(
                f"`{name}=` is for a torch.nn.Module without a tokenizer; what this model predicts is known: leave it out."
            )


def _with_tokenizer(
    model: Any,
    tokenizer: Any,
    data: Any,
    text: str | Sequence[str] | None,
    label: str | None,
    positive: str | None,
    by: Sequence[str] | str,
    max_length: int | None,
) -> tuple[Artifact, Dataset]:
    """Return the artifact of a transformers classifier with its tokenizer, and its data."""
    if isinstance(model, Artifact | str | os.PathLike):
        raise UserError("a folder brings its own tokenizer; leave `tokenizer=` out.")
    require_torch("Compressing a network")
    from fairpress.models.huggingface.artifact import artifact_of_model, likely_positive

    dataset = texts_of(
        data, text=text, label=label, positive=positive, by=by, likely_positive=likely_positive(model)
    )
    return artifact_of_model(model, tokenizer, dataset, max_length), dataset


@public_function
def compress_file(
    path: str | os.PathLike[str],
    recipe: str,
    data: Dataset | str,
    *,
    model_config: str | os.PathLike[str] | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    on_message: OnMessage | None = None,
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
    folder
        Where the file and its ``model.yaml`` will be written, by default next to `path`: the tokenizer of a model that reads
        texts is named relative to it.
    on_message
        Called with a progress message from time to time.
    """
    from fairpress.compression.compress_onnx import compress_file as compressed
    from fairpress.compression.recipes import parse

    dataset = load_dataset(data) if isinstance(data, str) else data
    config = None if model_config is None else Path(model_config)
    written_to = None if folder is None else Path(folder)
    with listening(on_message):
        return compressed(Path(path), parse(recipe), dataset, config, seed, written_to)


@public_function
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
    artifact, dataset = open_base(base, data)
    return apply_mitigation(artifact, dataset, method=method, by=by, seed=seed, **options)
