"""Apply a recipe to models: artifacts in, smaller artifacts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fairpress.compression.recipes import Recipe
from fairpress.compression.step import TrainedNetwork
from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError, listed
from fairpress.core.progress import OnMessage
from fairpress.core.time_left import listening
from fairpress.core.version import installed_version
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import last_session_kept
from fairpress.runtime.decision_rule import decide
from fairpress.runtime.onnx.stored_widths import shares, stored_widths
from fairpress.runtime.text_predictions import UNKNOWN_TRAINING_ROWS
from fairpress.tokenization.encoded_dataset import encode_dataset
from fairpress.tokenization.model_inputs import model_inputs
from fairpress.training.constant_baseline import collapse_warnings, constant_symptom
from fairpress.training.data import check_trainable
from fairpress.training.device import require_torch

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from fairpress.models.registry import Architecture

PACKAGES = ("torch", "torchao", "onnx", "onnxscript", "onnxruntime")
# Fields of the baseline's training that later steps read.
ORIGIN_FIELDS = ("training", "networks_in_batch", "device", "way", "warnings")


@last_session_kept()
def compress(
    bases: Sequence[Artifact],
    recipe: Recipe,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    on_message: OnMessage | None = None,
) -> list[Artifact]:
    """Return bases[i] compressed with rows of datasets[i]; all bases share one architecture.

    Test rows are removed first. The result's card keeps the base's target, data and threshold, and records the recipe,
    the baseline's digest, what the steps did, and the finished file's accuracy on validation rows. Two recipes applied
    in sequence give the same result as both joined by ``+``.

    Raises
    ------
    UserError
        A base is already compressed, has no float weights, or does not match the data.
    VerificationError
        A finished file does not match the recipe.
    """
    require_torch("Compressing a network")
    data, networks = [], []
    for base, every_row in zip(bases, datasets, strict=True):
        check_applicable(base, recipe)
        network, dataset = float_network(base, every_row)
        data.append(dataset)
        networks.append(network)
    compressed = apply_steps(networks, recipe, data, seeds, on_message)
    artifacts = [
        artifact(base.card, base.card.baseline or base.digest, recipe, network, dataset, seed)
        for base, network, dataset, seed in zip(bases, compressed, data, seeds, strict=True)
    ]
    if on_message is not None:
        warn_of_collapse(artifacts, on_message)
    return artifacts


def check_applicable(base: Artifact, recipe: Recipe) -> None:
    """Raise UserError if a recipe's steps need a baseline, and the model is compressed already."""
    if base.card.recipe == "fp32" or base.weights is None:
        return
    if any(step.first for step in recipe.steps):
        raise UserError(
            f"{recipe} applies to a baseline; this model ({base.card.recipe}) is already compressed."
        )
    if any(step.reads_baseline for step in recipe.steps):
        raise UserError(
            f"towards= in {recipe} needs the baseline's weights, and this model ({base.card.recipe}) has only its own; "
            f"compress the baseline by {base.card.recipe}+{recipe}."
        )


def float_network(base: Artifact, dataset: Dataset) -> tuple[TrainedNetwork, Dataset]:
    """Return the network of an artifact, and the dataset without its test rows as the network reads it.

    Raises UserError if the artifact has no float weights, or does not match the data.
    """
    from fairpress.models import registry
    from fairpress.models.weights_io import from_bytes

    dataset, tokenizer = dataset.development(), base.text_tokenizer
    if base.weights is None:
        raise UserError(
            f"this model ({base.card.recipe}) has no float weights; compress the baseline instead."
        )
    if "module" in base.card.architecture:
        raise UserError(
            f"this model was made of a torch module ({base.card.architecture['name']}), whose code its folder does not "
            "hold; compress the module itself again: fairpress.compress(module, recipe, data=…)."
        )
    check_fit(base, dataset)
    if tokenizer is not None:
        dataset = encode_dataset(dataset, tokenizer)
    check_trainable(dataset)
    parameters = {k: v for k, v in base.card.architecture.items() if k != "name"}
    architecture = registry.get(str(base.card.architecture["name"]), **parameters)
    # A network that was pruned earlier stays pruned: its zeros and the details of that step are kept.
    details = dict(base.card.provenance.get("details", {}))
    details.pop("validation", None)
    origin = base.card.provenance.get("origin", base.card.provenance)
    state = from_bytes(base.weights)
    check_weights(architecture, state, dataset)
    return TrainedNetwork(architecture, state, details=details, origin=origin, tokenizer=tokenizer), dataset


def warn_of_collapse(artifacts: Sequence[Artifact], on_message: OnMessage) -> None:
    """Report files that are no better than a constant prediction: the first warning, and how many files have one."""
    sentences = [w for a in artifacts for w in a.card.provenance.get("warnings", ())]
    if sentences:
        count = "" if len(artifacts) == 1 else f"{len(sentences)} of {len(artifacts)} files; the first: "
        on_message(f"warning: {count}{sentences[0]}")


def apply_steps(
    networks: Sequence[TrainedNetwork],
    recipe: Recipe,
    data: Sequence[Dataset],
    seeds: Sequence[int],
    on_message: OnMessage | None = None,
) -> list[TrainedNetwork]:
    """Return the networks after all steps, each with its finished file."""
    from fairpress.models.export import export_many
    from fairpress.models.initialize import initialize
    from fairpress.training.data import tensors, verification_rows

    results = [replace(n, baseline=n.baseline or n) for n in networks]
    for step in recipe.steps:
        before = results
        with listening(on_message):
            results = step.apply(before, data, seeds, on_message)
        data = [
            d if n.tokenizer == old.tokenizer else _encoded(d, n)
            for d, n, old in zip(data, results, before, strict=True)
        ]
    if all(n.onnx is not None for n in results):
        return results
    architecture = results[0].architecture
    # The export template of a user's own module is not cached.
    key = None if getattr(architecture, "trains_alone", False) else (architecture, data[0].task.width)
    example = tensors(data[0], "train").inputs[:2]
    rows = [verification_rows(d) for d in data]
    files = export_many(initialize(architecture, data[0]), [n.state for n in results], example, key, rows)
    return [replace(n, onnx=file) for n, file in zip(results, files, strict=True)]


def _encoded(dataset: Dataset, network: TrainedNetwork) -> Dataset:
    """Return a dataset as a network reads it."""
    return dataset if network.tokenizer is None else encode_dataset(dataset, network.tokenizer)


def artifact(
    card: ModelCard, digest: str | None, recipe: Recipe, network: TrainedNetwork, dataset: Dataset, seed: int
) -> Artifact:
    """Return a compressed network's artifact; `card` and `digest` are its baseline's."""
    import torch

    from fairpress.models.weights_io import to_bytes

    assert network.onnx is not None
    quantized = any(step.final for step in recipe.steps)
    validation, warnings = _validation(card, network, dataset, recipe)
    earlier_steps = card.provenance.get("steps", [])
    compressed_card = replace(
        card,
        architecture={**_architecture(card, network), **_pruned(network)},
        inputs=_inputs(card, network),
        recipe=str(recipe) if card.recipe == "fp32" else f"{card.recipe}+{recipe}",
        seed=seed,
        baseline=digest,
        provenance={
            "steps": [*earlier_steps, *recipe.to_dict()],
            "origin": {k: v for k, v in network.origin.items() if k in ORIGIN_FIELDS},
            "details": {
                **network.details,
                "shares_at_bits": shares(stored_widths(network.onnx)),
                "validation": validation,
            },
            "threads": torch.get_num_threads(),
            **({"warnings": warnings} if warnings else {}),
            "versions": {
                n: installed_version(n) for n in (*PACKAGES, *getattr(network.architecture, "packages", ()))
            },
        },
    )
    return Artifact(
        compressed_card,
        network.onnx,
        None if quantized else to_bytes(network.state),
        tokenizer=None if network.tokenizer is None else network.tokenizer.data,
    )


def _architecture(card: ModelCard, network: TrainedNetwork) -> dict[str, Any]:
    """Return the architecture for the card: the baseline's, or that of a student, a trimmed vocabulary or fewer neurons."""
    if not {"distilled", "vocabulary", "neurons"} & set(network.details):
        return dict(card.architecture)
    return {"name": network.architecture.name, **network.architecture.model_dump(mode="json")}


def _pruned(network: TrainedNetwork) -> dict[str, Any]:
    """Return the shapes of tensors that lost channels, for the card; empty if none did."""
    channels = getattr(network.architecture, "channels", ())
    return {"channels": {name: list(shape) for name, shape in channels}} if channels else {}


def _inputs(card: ModelCard, network: TrainedNetwork) -> dict[str, Any]:
    """Return the inputs for the card: the baseline's, with the tokenizer that a trimmed vocabulary left."""
    if network.tokenizer is None or "vocabulary" not in network.details:
        return dict(card.inputs)
    return {
        **card.inputs,
        **model_inputs(network.tokenizer, network.details["vocabulary"]["truncated"]["after"]),
    }


def _validation(
    card: ModelCard, network: TrainedNetwork, dataset: Dataset, recipe: Recipe
) -> tuple[dict[str, Any], list[str]]:
    """Return the finished file's accuracy on validation rows, and a warning if it is no better than a constant prediction.

    Of networks that predict no classes the error and the changes (`held_out.value_facts`).

    By the accuracy a control of equal accuracy is chosen.
    """
    from fairpress.runtime.probabilities import score
    from fairpress.training.data import weights_of_classes

    index = dataset.index("validation")
    kind = card.output_kind
    if not len(index):
        return {"rows": 0, **({"accuracy": None} if kind == "classes" else {})}, []
    assert network.onnx is not None
    finished = Artifact(replace(card, inputs=_inputs(card, network)), network.onnx)
    if kind != "classes":
        return _validation_of_values(finished, network, dataset, index, recipe)
    scores, _ = score(finished, _encoded(dataset, network).inputs, index)
    predicted = decide(scores, card.classes, card.positive, card.threshold)
    labels, weights = dataset.labels[index], network.class_weights
    symptom = constant_symptom(
        predicted,
        labels,
        card.classes,
        dataset.labels[dataset.index("train")],
        None if weights is None else weights_of_classes(dataset, weights),
        network.origin.get("validation_accuracy"),
    )
    warnings = collapse_warnings(
        symptom,
        trained=any(step.trains for step in recipe.steps),
        baseline_warned=bool(set(network.origin.get("warnings", ())) - {UNKNOWN_TRAINING_ROWS}),
    )
    return {"rows": len(index), "accuracy": float((predicted == labels).mean())}, warnings


def _validation_of_values(
    finished: Artifact, network: TrainedNetwork, dataset: Dataset, index: np.ndarray, recipe: Recipe
) -> tuple[dict[str, Any], list[str]]:
    """Return the facts and warnings of `_validation` for a network that predicts no classes."""
    from fairpress.compression.finetuning import outputs_in_batches
    from fairpress.compression.held_out import value_facts, value_symptom
    from fairpress.runtime.probabilities import raw_outputs
    from fairpress.training.data import tensors

    outputs, _ = raw_outputs(finished, dataset.inputs, index)
    before = outputs_in_batches(network.baseline or network, dataset, tensors(dataset, "validation").inputs)
    labels, train_labels = dataset.labels[index], dataset.labels[dataset.index("train")]
    facts = value_facts(outputs, before, labels, finished.card)
    warnings = collapse_warnings(
        value_symptom(facts, labels, train_labels, finished.card.output_kind),
        trained=any(step.trains for step in recipe.steps),
        baseline_warned=bool(network.origin.get("warnings", ())),
    )
    return facts, warnings


def check_weights(architecture: Architecture, state: Mapping[str, Tensor], dataset: Dataset) -> None:
    """Raise UserError unless the weights match the network that the card describes."""
    from fairpress.models.initialize import row_shape

    for name, expected in _shapes(architecture, row_shape(dataset), dataset.task.width).items():
        if name not in state or state[name].shape != expected:
            raise UserError(
                f"the weights of this model do not match the network on its card ({architecture.name}): {name!r} "
                f"{'is missing' if name not in state else 'has another shape'}; create the model again."
            )


@lru_cache(maxsize=16)
def _shapes(architecture: Architecture, row_shape: tuple[int, ...], width: int) -> dict[str, torch.Size]:
    """Return the shapes of a network's tensors: a batch has many networks of one architecture."""
    from fairpress.models.registry import build

    return {name: value.shape for name, value in build(architecture, row_shape, width).state_dict().items()}


def check_fit(base: Artifact, dataset: Dataset) -> None:
    """Raise UserError unless the data has the kind, columns and classes of the model's card."""
    if base.reads_texts != (dataset.kind == "text"):
        reads = "texts" if base.reads_texts else "no texts"
        has = "texts" if dataset.kind == "text" else "none"
        raise UserError(
            f"the model reads {reads}, and {dataset.name!r} has {has}; use the data the model was trained on."
        )
    columns = list(base.card.inputs.get("columns") or [])
    if columns != list(dataset.input_names):
        raise UserError(
            f"the model reads the columns {listed(columns)}; "
            f"{dataset.name!r} has {listed(dataset.input_names)}. Use the data the model was trained on."
        )
    if tuple(base.card.classes) != dataset.task.classes or base.card.target != dataset.task.target:
        raise UserError(
            f"the model predicts {base.card.target!r} ({listed(base.card.classes)}); "
            f"{dataset.name!r} has {dataset.task.target!r} ({listed(dataset.task.classes)})."
        )
