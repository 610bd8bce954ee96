"""Turn a study's config into a graph of tasks. Pure: nothing is computed, trained or written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from fairpress import __version__
from fairpress.core.canonical import digest
from fairpress.studies.config import StudyConfig

Kind = Literal["train", "compress", "predict"]

# Raised by hand when a task's meaning changes, so that older results are not taken for newer ones.
STEP_VERSION: Mapping[Kind, int] = {"train": 1, "compress": 1, "predict": 1}
LIBRARIES: Mapping[Kind, tuple[str, ...]] = {
    "train": ("numpy", "torch", "onnx", "onnxscript"),
    "compress": ("numpy", "torch", "torchao", "onnx", "onnxscript"),
    "predict": ("numpy", "onnxruntime", "pyarrow"),
}
BASELINE = "fp32"


@dataclass(frozen=True)
class Task:
    """One piece of work with one result in the store.

    Attributes
    ----------
    kind
        What is done.
    recipe
        The recipe it is about; ``"fp32"`` for the baseline.
    networks
        (seed, fold) of every network of the batch.
    params
        Everything else the result depends on, JSON only.
    inputs
        Keys of the tasks whose results it reads.
    key
        sha256 over kind, version, parameters, inputs and library versions; the result's place in the store.
    """

    kind: Kind
    recipe: str
    networks: tuple[tuple[int, int], ...]
    params: Mapping[str, Any]
    inputs: tuple[str, ...]
    key: str

    @property
    def title(self) -> str:
        """Name the task for people: ``train fp32, 10 networks``."""
        seeds, folds = _span(s for s, _ in self.networks), _span(f for _, f in self.networks)
        return f"{self.kind} {self.recipe} (seeds {seeds}, folds {folds})"


@dataclass(frozen=True)
class Plan:
    """All tasks, inputs before those that read them, and the recipes in reporting order."""

    tasks: tuple[Task, ...]
    recipes: tuple[str, ...]
    placebo_of: Mapping[str, str]

    def predictions(self, recipe: str) -> list[Task]:
        """Return the tasks whose results are the recipe's predictions."""
        return [t for t in self.tasks if t.kind == "predict" and t.recipe == recipe]


def plan(config: StudyConfig, fingerprints: Mapping[int, str]) -> Plan:
    """Lay out a study.

    Parameters
    ----------
    config
        The validated config.
    fingerprints
        Fold → fingerprint of the dataset with that fold as its test part.

    Returns
    -------
    The plan. Equal configs on equal data give equal keys, on any machine and with any number of workers.
    """
    from fairpress.compression.recipes import parse
    from fairpress.models import registry
    from fairpress.training.fit import FitConfig

    architecture = registry.get(config.model.name, **config.model.options)
    training = FitConfig.model_validate(config.training)
    recipes: list[str] = []
    placebo_of: dict[str, str] = {}
    for text in config.recipes:
        recipe = parse(text)
        name = str(recipe)
        recipes.append(name)
        placebo = recipe.placebo() if config.placebos else None
        if placebo is not None:
            placebo_of[name] = str(placebo)
    every = list(dict.fromkeys([*recipes, *placebo_of.values()]))

    networks = [(seed, fold) for seed in config.seeds for fold in range(config.folds)]
    size = config.networks_per_task
    tasks: list[Task] = []
    for start in range(0, len(networks), size):
        batch = tuple(networks[start : start + size])
        common = {
            "dataset": {
                "name": config.dataset.name,
                "options": config.dataset.options,
                "folds": config.folds,
            },
            "fingerprints": [fingerprints[fold] for _, fold in batch],
            "device": config.device,
            "threads": 1,
        }
        train = _task(
            "train",
            BASELINE,
            batch,
            {
                **common,
                "model": {"name": config.model.name, "options": architecture.model_dump(mode="json")},
                "training": training.model_dump(mode="json"),
            },
            (),
        )
        tasks += [train, _task("predict", BASELINE, batch, common, (train.key,))]
        for name in every:
            compress = _task(
                "compress", name, batch, {**common, "recipe": parse(name).to_dict()}, (train.key,)
            )
            tasks += [compress, _task("predict", name, batch, common, (compress.key,))]
    return Plan(tuple(tasks), tuple(recipes), placebo_of)


def _task(
    kind: Kind,
    recipe: str,
    batch: tuple[tuple[int, int], ...],
    params: Mapping[str, Any],
    inputs: tuple[str, ...],
) -> Task:
    key = digest(
        {
            "kind": kind,
            "version": STEP_VERSION[kind],
            "networks": batch,
            "params": params,
            "inputs": inputs,
            "libraries": {name: _version(name) for name in LIBRARIES[kind]},
        }
    )
    return Task(kind, recipe, batch, params, inputs, key)


def _version(name: str) -> str:
    if name == "fairpress":
        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _span(values: Iterable[int]) -> str:
    present = sorted(set(values))
    return str(present[0]) if len(present) == 1 else f"{present[0]}–{present[-1]}"
