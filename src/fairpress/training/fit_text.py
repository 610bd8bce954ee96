"""Train networks on texts, one after another: tokenizer from training rows, batches by length, best epoch, checked file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from fairpress.core.card import ModelCard
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import dataset_facts
from fairpress.models.export import export_many
from fairpress.models.registry import Architecture, build
from fairpress.models.weights_io import to_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.tokenization.byte_pair import train_byte_pair
from fairpress.tokenization.encoded_dataset import encode_dataset, truncated_rows
from fairpress.tokenization.model_inputs import model_inputs
from fairpress.tokenization.tokenizer import TextTokenizer
from fairpress.training.batches import padding_share, training_batches
from fairpress.training.config import TextFitConfig
from fairpress.training.data import tensors, verification_rows
from fairpress.training.group_objective import make_objective, with_groups
from fairpress.training.one_network import (
    check_export,
    constant_baseline_facts,
    open_checkpoint,
    provenance,
    schedule_of,
    versions,
)
from fairpress.training.token_rows import TokenRows
from fairpress.training.trainer import train_module
from fairpress.training.training_format import choose_format

CHECKED_ROWS = 32


class TextArchitecture(Architecture, Protocol):
    """An architecture that reads token ids.

    One with a method ``tokenizer()`` brings its tokenizer, one with ``start(network)`` loads initial weights and returns
    their provenance; the others are trained from random weights, with a tokenizer of at most `vocabulary` pieces.
    """

    def sized(self, tokenizer: TextTokenizer) -> Architecture:
        """Return the architecture for the token ids of a tokenizer."""


def tokenizer_for(architecture: Architecture, dataset: Dataset) -> TextTokenizer:
    """Return the tokenizer that an architecture brings, or one trained on the texts of the training rows."""
    make: Callable[[], TextTokenizer] | None = getattr(architecture, "tokenizer", None)
    if make is not None:
        return make()
    assert dataset.texts is not None
    sizes = architecture.model_dump()
    return train_byte_pair(dataset.texts[dataset.index("train")], sizes["vocabulary"], sizes["max_length"])


def fit_text_network(
    architecture: Architecture,
    dataset: Dataset,
    tokenizer: TextTokenizer,
    seed: int,
    config: TextFitConfig,
    device: torch.device,
    on_message: OnMessage | None = None,
    checkpoints: Path | None = None,
) -> Artifact:
    """Train one network on texts and return its artifact, which contains the tokenizer.

    Parameters
    ----------
    dataset
        As `encode_dataset` returns it for `tokenizer`.
    on_message
        Receives progress messages.
    checkpoints
        A folder for the state after each epoch; the same call resumes from it. The caller removes it after saving the
        artifact.

    Raises
    ------
    UserError
        Weights to start from do not fit, the training diverges, or the checkpoint cannot be written.
    FairpressError
        The exported file does not compute what the network computes.
    """
    notify = on_message or (lambda _: None)
    architecture = cast("TextArchitecture", architecture).sized(tokenizer)
    described = {"name": architecture.name, **architecture.model_dump(mode="json")}
    classes = dataset.task.classes
    module = build(architecture, dataset.inputs.shape[1:], len(classes), seed)
    start: Callable[[torch.nn.Module], dict[str, Any]] | None = getattr(architecture, "start", None)
    started_from = {} if start is None else start(module)
    (data,), objective = make_objective(config, [dataset], [tensors(dataset, "train", config.class_weights)])
    (validation,) = with_groups(
        objective, [dataset], [tensors(dataset, "validation", config.class_weights)], "validation"
    )
    lengths = cast("TokenRows", data.inputs).lengths
    depends_on = {
        "architecture": described,
        "started_from": started_from,
        "tokenizer": tokenizer.facts(),
        "device": device.type,
    }
    checkpoint = open_checkpoint(checkpoints, dataset, seed, config, depends_on, notify)
    chosen = choose_format(module, data, config, device, checkpoint)
    training_format = chosen.training_format
    schedule = schedule_of(config)
    batches = training_batches(data.inputs, schedule.batch_size, torch.Generator().manual_seed(seed))
    padding = padding_share(lengths, batches)
    notify(
        f"{chosen.sentence(device, 'texts')}: {len(lengths):,} texts, {tokenizer.size:,} pieces, "
        f"{float(lengths.float().mean()):.1f} tokens a text, {padding:.1%} padding"
    )
    trained = train_module(
        module,
        data,
        schedule,
        seed=seed,
        device=device,
        training_format=training_format,
        validation=validation,
        patience=config.patience if config.keep == "best" else None,
        checkpoint=None if checkpoint is None else replace(checkpoint, remember=chosen.remember()),
        on_message=on_message,
        objective=objective,
    )
    notify("exporting the network, and comparing the file with it")
    (file,) = export_many(module, [trained.state], _example(data.inputs), rows=[verification_rows(dataset)])
    check_export(file, module, validation.inputs[:CHECKED_ROWS], device)
    tokens_per_row = float(lengths.float().mean())
    card = ModelCard(
        target=dataset.task.target,
        classes=classes,
        positive=dataset.task.positive,
        architecture=described,
        inputs=model_inputs(
            tokenizer, float(truncated_rows(dataset, dataset.index("train"), tokenizer).mean())
        ),
        data=dataset_facts(dataset),
        seed=seed,
        provenance={
            **provenance(trained, config, device, training_format.name, module, started_from),
            "rows_per_second_tried": {name: round(rate, 1) for name, rate in chosen.tried.items()},
            "rows_per_second": round(trained.rows_per_second, 1),
            "tokens_per_second": round(trained.rows_per_second * tokens_per_row, 1),
            "tokens_per_row": round(tokens_per_row, 2),
            "padding": round(padding, 4),
            "versions": versions("tokenizers", *getattr(architecture, "packages", ())),
            **constant_baseline_facts(dataset, trained, config),
            **({} if objective is None else {"fairness": objective.facts(0)}),
        },
    )
    return Artifact(card, file, to_bytes(trained.state), tokenizer=tokenizer.data)


def fit_text_networks(
    architecture: Architecture,
    datasets: list[Dataset],
    seeds: list[int],
    config: TextFitConfig,
    device: torch.device,
    on_message: OnMessage | None = None,
    checkpoints: Path | None = None,
) -> list[Artifact]:
    """Train network i on the texts of datasets[i] with seeds[i]; equal training texts give one tokenizer."""
    notify = on_message or (lambda _: None)
    encoded: dict[str, tuple[TextTokenizer, Dataset]] = {}
    artifacts = []
    for i, (dataset, seed) in enumerate(zip(datasets, seeds, strict=True)):
        if dataset.fingerprint not in encoded:
            notify(f"encoding {len(dataset):,} texts as token ids")
            tokenizer = tokenizer_for(architecture, dataset)
            encoded[dataset.fingerprint] = tokenizer, encode_dataset(dataset, tokenizer)
        tokenizer, ready = encoded[dataset.fingerprint]
        folder = None if checkpoints is None else checkpoints / str(i)
        artifacts.append(
            fit_text_network(architecture, ready, tokenizer, seed, config, device, on_message, folder)
        )
    return artifacts


def _example(inputs: torch.Tensor) -> torch.Tensor:
    """Return two rows to trace a network with."""
    return inputs[torch.arange(2)]
