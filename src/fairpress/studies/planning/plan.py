"""Turn a study's config into a graph of tasks. Pure: nothing is trained or written here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fairpress.core.canonical_json import digest
from fairpress.core.errors import UserError
from fairpress.core.version import installed_version
from fairpress.studies.config.recipe_names import BASELINE, MITIGATION_SEPARATOR
from fairpress.studies.config.study import DatasetChoice, StudyConfig
from fairpress.studies.planning.matrix import Groups, MatrixCell, ReportPart, SeedFold, parts

if TYPE_CHECKING:
    from fairpress.models.registry import Architecture

Kind = Literal["train", "compress", "predict", "naive", "join", "audit", "tradeoff", "claims"]

# Incremented by hand when the meaning of a task changes, so that older results are not reused.
STEP_VERSION: Mapping[Kind, int] = {
    "train": 3,  # single networks are trained with fused steps; SqueezeNet's logits are not clipped
    "compress": 3,  # as for training; earlier, max-pools propagated their quantization scale
    "predict": 1,
    "naive": 1,
    "join": 1,
    "audit": 2,  # bounds over fewer than six seeds, as for the next two
    "tradeoff": 2,
    "claims": 2,
}
ABSENT = "absent"
LIBRARIES: Mapping[Kind, tuple[str, ...]] = {
    "train": ("numpy", "torch", "onnx", "onnxscript"),
    "compress": ("numpy", "torch", "torchao", "onnx", "onnxscript"),
    "predict": ("numpy", "onnxruntime", "pyarrow"),
    "naive": ("numpy", "pyarrow"),
    "join": ("pyarrow",),
    "audit": ("numpy", "scipy", "duckdb", "pyarrow", "altair", "vl-convert-python"),
    "tradeoff": ("numpy", "scipy", "pyarrow"),
    "claims": ("numpy", "scipy", "pyarrow"),
}


@dataclass(frozen=True)
class StudyTask:
    """One task with one result in the store.

    Attributes
    ----------
    kind
        The kind of task.
    recipe
        The recipe, ``"fp32"`` for the baseline; for audits and other report tasks the heading.
    networks
        (seed, fold) of every network of the batch.
    params
        Everything else on which the result depends, as JSON values.
    inputs
        Keys of the tasks whose results it reads.
    key
        sha256 over kind, version, parameters, inputs and library versions; the key of the result in the store.
    label
        The part of the study, for display.
    """

    kind: Kind
    recipe: str
    networks: tuple[SeedFold, ...]
    params: Mapping[str, Any]
    inputs: tuple[str, ...]
    key: str
    label: str = ""

    @property
    def title(self) -> str:
        """Return the name of the task for display: ``train fp32 (seeds 0–1, folds 0–4)``."""
        details = [self.label] if self.label else []
        if self.networks:
            seeds, folds = _span(s for s, _ in self.networks), _span(f for _, f in self.networks)
            details.append(f"seeds {seeds}, folds {folds}")
        return f"{self.kind} {self.recipe}" + (f" ({'; '.join(details)})" if details else "")


@dataclass(frozen=True)
class StudyPlan:
    """The tasks that compute the predictions of a study, inputs before their readers.

    Attributes
    ----------
    parts
        The parts of the report.
    recipes
        In reporting order, without baseline and placebos.
    placebo_of
        Recipe that fine-tunes → its placebo.
    plain_of
        Recipe with a fairness step → the same recipe without it, if it is in the study.
    naive
        Predictors without a network.
    """

    tasks: tuple[StudyTask, ...]
    parts: tuple[ReportPart, ...]
    recipes: tuple[str, ...]
    placebo_of: Mapping[str, str]
    plain_of: Mapping[str, str] = field(default_factory=dict)
    naive: tuple[str, ...] = ()
    predictions_of: Mapping[tuple[str, str], tuple[StudyTask, ...]] = field(default_factory=dict)

    def predictions(self, model: str, part: str | None = None) -> list[StudyTask]:
        """Return the tasks whose results are a model's predictions, in one part (by its label) or in all."""
        return [
            t
            for (p, m), tasks in self.predictions_of.items()
            for t in tasks
            if m == model and part in (None, p)
        ]

    @property
    def models(self) -> tuple[str, ...]:
        """Return all columns of predictions: baseline, recipes, placebos, predictors without a network."""
        return tuple(dict.fromkeys([BASELINE, *self.recipes, *self.placebo_of.values(), *self.naive]))


def plan_study(
    config: StudyConfig, fingerprint: Callable[[DatasetChoice, int], str], groups: Groups = lambda d, a: ()
) -> StudyPlan:
    """Plan the tasks of a study.

    Parameters
    ----------
    config
        The validated config.
    fingerprint
        Function (dataset, fold) → fingerprint of the dataset with that fold as its test part.
    groups
        Function (dataset, sensitive attribute) → its groups; called only if each group has separate networks.

    Returns
    -------
    The plan. Equal configs on equal data give equal keys, on any machine and with any number of workers.
    """
    from fairpress.compression.recipes import parse

    recipes: list[str] = []
    placebo_of: dict[str, str] = {}
    plain_of: dict[str, str] = {}
    for text in config.recipes:
        recipe = parse(text)
        name = str(recipe)
        recipes.append(name)
        placebo = recipe.placebo() if config.placebos else None
        if placebo is not None:
            placebo_of[name] = str(placebo)
        plain = recipe.plain()
        if plain is not None:
            plain_of[name] = str(plain)
    compressions = list(dict.fromkeys([*recipes, *placebo_of.values()]))
    for label, mitigation in config.mitigations.items():
        for name in map(str, map(parse, mitigation.of)):
            if name not in (BASELINE, *compressions):
                raise UserError(
                    f"the mitigation {label!r} applies to {name}, which is not a recipe of this study; add it to `recipes`."
                )
            recipes.append(f"{name}{MITIGATION_SEPARATOR}{label}")
            plain_of[recipes[-1]] = name
    tasks: dict[str, StudyTask] = {}
    predictions: dict[tuple[str, str], list[StudyTask]] = {}
    report_parts = parts(config, groups)
    for part in report_parts:
        for cell in part.cells:
            for candidate in _cell(config, part.label, cell, compressions, fingerprint):
                task = tasks.setdefault(candidate.key, candidate)
                if task.kind in ("predict", "naive"):
                    predictions.setdefault((part.label, task.recipe), []).append(task)
    return StudyPlan(
        tuple(tasks.values()),
        tuple(report_parts),
        tuple(recipes),
        placebo_of,
        {
            r: plain
            for r, plain in plain_of.items()
            if plain in (BASELINE, *compressions) and placebo_of.get(r) != plain
        },
        config.naive,
        {key: tuple(predict_tasks) for key, predict_tasks in predictions.items()},
    )


def _cell(
    config: StudyConfig,
    label: str,
    cell: MatrixCell,
    recipes: Sequence[str],
    fingerprint: Callable[[DatasetChoice, int], str],
) -> Iterable[StudyTask]:
    from fairpress.compression.recipes import parse
    from fairpress.models import registry
    from fairpress.training.config import training_config

    architecture = registry.get(cell.model.name, **cell.model.options)
    _refuse_initial_weights(architecture)
    training = training_config(
        architecture, {**config.training, **cell.dataset.training, **cell.model.training}
    )
    if cell.group:
        label = f"{label}: {', '.join(cell.group.values())}"
    size = config.networks_per_task
    for start in range(0, len(cell.networks), size):
        batch = cell.networks[start : start + size]
        data: dict[str, Any] = {
            "dataset": {
                "name": cell.dataset.name,
                "options": cell.dataset.options,
                "folds": config.folds,
                **({"group": dict(cell.group)} if cell.group else {}),
            },
            "fingerprints": [fingerprint(cell.dataset, fold) for _, fold in batch],
        }
        common = {**data, "device": config.device, "threads": 1, **_readers(architecture)}
        model: dict[str, Any] = {"name": cell.model.name, "options": architecture.model_dump(mode="json")}
        if architecture.version > 1:
            model["version"] = architecture.version
        train = make_task(
            "train",
            BASELINE,
            {
                **common,
                "model": model,
                "training": training.model_dump(mode="json"),
            },
            networks=batch,
            label=label,
        )
        yield train
        yield make_task("predict", BASELINE, common, (train.key,), batch, label)
        keys = {BASELINE: train.key}
        # A recipe that extends another starts from its result: prune-80+int8 from that of prune-80.
        for recipe in sorted(map(parse, recipes), key=lambda r: len(r.steps)):
            start_recipe, remainder = recipe.after(keys)
            students = [name for step in remainder.steps for name in step.architectures()]
            params = {**common, "recipe": remainder.to_dict(), "steps": str(remainder), **_versions(students)}
            if any(step.empties for step in recipe.steps[:-1]):
                params["empty_channels"] = 2  # version 1 cut off the biases of such channels
            compress = make_task("compress", str(recipe), params, (keys[start_recipe],), batch, label)
            keys[str(recipe)] = compress.key
            yield compress
            yield make_task("predict", str(recipe), common, (compress.key,), batch, label)
        for mitigation_label, mitigation in config.mitigations.items():
            repair = mitigation.model_dump(mode="json", exclude={"of"})
            for recipe in map(parse, mitigation.of):
                name = f"{recipe}{MITIGATION_SEPARATOR}{mitigation_label}"
                params = {**common, "mitigation": repair}
                yield make_task("predict", name, params, (keys[str(recipe)],), batch, label)
        for name in config.naive:
            yield make_task("naive", name, {**data, "predictor": name}, (), batch, label)


def _refuse_initial_weights(architecture: Architecture) -> None:
    """Raise UserError for a network that begins with weights from a file, which tasks and their keys do not contain."""
    for option in ("folder", "weights"):
        if getattr(architecture, option, None) is not None:
            raise UserError(
                f"a study trains networks from random weights, and this {architecture.name} begins with those of "
                f"{getattr(architecture, option)}; leave out `{option}` (of texts, take the model `text`), or train and "
                "compress single networks with fairpress train and fairpress compress."
            )


def _readers(architecture: Architecture) -> dict[str, Any]:
    """Return the version of the library that turns texts into token ids, for the keys of models that read texts."""
    if architecture.reads != "text":
        return {}
    return {"tokenizers": installed_version("tokenizers") or ABSENT}


def _versions(students: Sequence[str]) -> dict[str, Any]:
    """Return the architecture versions above 1 for the key of a step that creates networks, such as a student's."""
    from fairpress.models import registry

    versions = {name: registry.version(name) for name in students}
    later_versions = {name: version for name, version in versions.items() if version > 1}
    return {"versions": later_versions} if later_versions else {}


def make_task(
    kind: Kind,
    recipe: str,
    params: Mapping[str, Any],
    inputs: Sequence[str] = (),
    networks: tuple[SeedFold, ...] = (),
    label: str = "",
) -> StudyTask:
    """Return a task with its key."""
    key = digest(
        {
            "kind": kind,
            "version": STEP_VERSION[kind],
            "networks": networks,
            "params": _without_folders(params),
            "inputs": list(inputs),
            "libraries": {name: installed_version(name) or ABSENT for name in LIBRARIES[kind]},
        }
    )
    return StudyTask(kind, recipe, networks, params, tuple(inputs), key, label)


def _without_folders(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters without the folder of a user's table, whose fingerprint identifies its content."""
    data = params.get("dataset")
    if not isinstance(data, Mapping) or "/" not in str(data.get("name")):
        return params
    return {**params, "dataset": {**data, "name": Path(data["name"]).name}}


def _span(values: Iterable[int]) -> str:
    present = sorted(set(values))
    return str(present[0]) if len(present) == 1 else f"{present[0]}–{present[-1]}"
