"""Apply a recipe to models: artifacts in, smaller artifacts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from fairpress.compression.recipes import Recipe
from fairpress.compression.step import Network, Progress
from fairpress.core.errors import UserError
from fairpress.datasets.base import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.training.fit import check_trainable, require_torch


def compress(
    bases: Sequence[Artifact],
    recipe: Recipe,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[Artifact]:
    """Return bases[i] compressed with rows of datasets[i]; all bases share one architecture.

    Test rows are taken away first. The result's card keeps the base's target, data and threshold, and
    tells the recipe, the base's digest, and what the steps did.

    Raises
    ------
    UserError
        A base is compressed already or has no weights to go on from, or does not fit the data.
    """
    require_torch("Compressing a network")
    from fairpress.models import registry
    from fairpress.models.checkpoint import from_bytes, to_bytes
    from fairpress.models.export import export_many
    from fairpress.training.fit import tensors

    data = [d.development() for d in datasets]
    networks = []
    for base, dataset in zip(bases, data, strict=True):
        if base.weights is None:
            raise UserError(
                f"this model ({base.card.recipe}) has no float weights to go on from; compress the baseline instead."
            )
        check_trainable(dataset)
        check_fit(base, dataset)
        parameters = {k: v for k, v in base.card.architecture.items() if k != "name"}
        architecture = registry.get(str(base.card.architecture["name"]), **parameters)
        networks.append(Network(architecture, from_bytes(base.weights)))
    for step in recipe.steps:
        networks = step.apply(networks, data, seeds, progress)
    unfinished = [n for n in networks if n.onnx is None]
    if unfinished:
        example = tensors(data[0], "train").inputs[:2]
        module = registry.build(networks[0].architecture, example.shape[1], len(data[0].task.classes))
        files = export_many(module, [n.state for n in networks], example)
        networks = [replace(n, onnx=file) for n, file in zip(networks, files, strict=True)]
    out = []
    for base, network, seed in zip(bases, networks, seeds, strict=True):
        assert network.onnx is not None
        quantized = any(step.final for step in recipe.steps)
        card = replace(
            base.card,
            recipe=str(recipe) if base.card.recipe == "fp32" else f"{base.card.recipe}+{recipe}",
            seed=seed,
            baseline=base.digest,
            provenance={
                "steps": recipe.to_dict(),
                "details": dict(network.details),
                "versions": {
                    n: version(n) for n in ("torch", "torchao", "onnx", "onnxscript", "onnxruntime")
                },
            },
        )
        out.append(Artifact(card, network.onnx, None if quantized else to_bytes(network.state)))
    return out


def check_fit(base: Artifact, dataset: Dataset) -> None:
    """Raise UserError unless the data has the columns and classes of the model's card."""
    if list(base.card.inputs["columns"]) != list(dataset.input_names):
        raise UserError(
            f"the model reads the columns {', '.join(base.card.inputs['columns'])}; "
            f"{dataset.name!r} has {', '.join(dataset.input_names)}. Use the data the model was trained on."
        )
    if tuple(base.card.classes) != dataset.task.classes or base.card.target != dataset.task.target:
        raise UserError(
            f"the model predicts {base.card.target!r} ({', '.join(base.card.classes)}); "
            f"{dataset.name!r} has {dataset.task.target!r} ({', '.join(dataset.task.classes)})."
        )
