"""The public functions of ``import fairpress``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fairpress.audits import AuditReport, audit, export_cells
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.progress import OnMessage, Progress, ignore_message
from fairpress.core.seeds import checked_seed
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset, Part
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.model_reference import (
    Model,
    data_for,
    data_of,
    is_external,
    open_model,
    open_reference,
    read_onnx,
    split_model,
)
from fairpress.runtime.model_reference import name_models as named_models
from fairpress.searching.fair_quantizer import FairQuantizer
from fairpress.searching.result import ConstraintNotMet

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import nn

    from fairpress.compression.compress_onnx import CompressedFile
    from fairpress.reporting.comparison_table import ComparisonTable
    from fairpress.runtime.benchmark.result import BenchmarkResult
    from fairpress.searching.limits import Objective
    from fairpress.searching.result import SearchResult

__all__ = [
    "Artifact",
    "AuditReport",
    "ConstraintNotMet",
    "Dataset",
    "FairQuantizer",
    "audit",
    "bench",
    "compare",
    "compress",
    "compress_file",
    "export_cells",
    "load_dataset",
    "mitigate",
    "predict",
    "search",
    "train",
]


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
    """Train one network, ``"mlp"`` on a table or one like ``"resnet18"`` on images, and return its artifact.

    Parameters
    ----------
    data
        A dataset, or its name for `load_dataset`.
    options, training
        The architecture's options, and those of its training (`training.config.FitConfig`, `ImageFitConfig`).
    device
        ``"cpu"``, ``"cuda"`` and so on, or ``"auto"``; by default a GPU, if available, for images, and the CPU for tables.
    checkpoints
        A folder in which training on images saves its state after each epoch; the same call resumes from it.
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
        device=device or ("auto" if architecture.reads == "images" else "cpu"),
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


def compare(
    base: Model,
    recipes: str | Sequence[str] | Mapping[str, str | Model],
    *,
    data: Dataset | str | None = None,
    by: Sequence[str] | str,
    positive: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int | None = None,
    placebos: bool = True,
    runtime: str = "onnxruntime",
    on_message: OnMessage | None = None,
) -> ComparisonTable:
    """Compress a model by several recipes, run all models on the test rows, audit them, and return one table.

    Parameters
    ----------
    base
        A model folder or artifact with its float weights.
    recipes
        Recipes; or a mapping from names to recipes, artifacts or model folders.
    data
        A dataset or its name; by default that of the card.
    by, positive, margin, confidence
        As in `audit`.
    placebos
        Whether to add the placebo of each recipe that fine-tunes: the same fine-tuning without compression.
    runtime
        The runtime of all models.

    Raises
    ------
    UserError
        A recipe is invalid, two models have the same name, or the data does not fit.
    """
    from fairpress.compression.recipes import parse
    from fairpress.reporting.comparison_table import ComparisonTable

    if isinstance(recipes, str):
        recipes = [recipes]
    named = dict(recipes) if isinstance(recipes, Mapping) else {str(parse(r)): r for r in recipes}
    if not named:
        raise UserError("name at least one recipe, such as `recipes=['int8']`.")
    origin = open_model(base)
    first = str(origin.card.recipe)
    texts = {name: parse(r) for name, r in named.items() if isinstance(r, str) and not Path(r).is_dir()}
    unchanged = [n for n, r in texts.items() if not r.steps]
    if first in named or unchanged:
        raise UserError(
            f"{(unchanged or [first])[0]!r} is the baseline, which is always in the table; leave it out of `recipes=`."
        )
    if placebos:
        controls = {str(p): p for r in texts.values() if (p := r.placebo()) is not None}
        texts |= {name: p for name, p in controls.items() if name not in named}
    dataset = data_for(origin, data)
    models: dict[str, Artifact] = {first: origin}
    for name in (*named, *(n for n in texts if n not in named)):
        if name in texts:
            if on_message is not None:
                on_message(f"{name}:")
            models[name] = compress(origin, str(texts[name]), data=dataset, seed=seed, on_message=on_message)
        else:
            models[name] = open_model(named[name])
    table = predict(models, dataset, runtime=runtime)
    report = audit(
        table,
        baseline=first,
        by=by,
        positive=positive or dataset.task.positive,
        margin=margin,
        confidence=confidence,
    )
    return ComparisonTable(report, {name: artifact.size for name, artifact in models.items()})


def search(
    base: Model,
    data: Dataset | str | None = None,
    *,
    by: Sequence[str],
    objective: Objective = "bytes",
    budget: str | int | None = "10min",
    recipes: Sequence[str] = (),
    train: bool = True,
    confidence: float = 0.95,
    least_rows: int | None = None,
    store: str | os.PathLike[str] = ".store",
    seed: int | None = None,
    on_message: OnMessage = ignore_message,
    **limits: float | None,
) -> SearchResult:
    """Return the best artifact that demonstrably meets every limit on held-out rows; see `searching.search.search`.

    Parameters
    ----------
    base
        The model folder or artifact of the baseline, with its float weights.
    data
        A dataset or its name; by default that of the card.
    budget
        A time, such as ``"30min"``, or a number of candidates; None tries only the listed candidates, without sampling.
    recipes
        Additional candidates, tried first.
    store
        Folder in which candidates are kept; the same call resumes from them.
    **limits
        ``max_group_loss=0.02``, ``max_dp_gap=0.05`` …: `searching.limits.Limits`.

    Raises
    ------
    ConstraintNotMet
        No candidate demonstrably meets every limit.
    UserError
        A limit or group is unknown, there are no validation rows, or the budget is too short.
    """
    from fairpress.searching.budget import parse_budget
    from fairpress.searching.limits import limits_of
    from fairpress.searching.search import search as run

    parsed_limits, parsed_budget = limits_of(limits), parse_budget(budget)
    if seed is not None:
        checked_seed(seed)
    artifact = open_model(base)
    return run(
        artifact,
        data_for(artifact, data),
        by=[by] if isinstance(by, str) else by,
        limits=parsed_limits,
        store=Path(store),
        objective=objective,
        budget=parsed_budget,
        train=train,
        recipes=recipes,
        confidence=confidence,
        least_rows=least_rows,
        seed=seed,
        on_message=on_message,
    )


def predict(
    models: Mapping[str, Model],
    data: Dataset | str | None = None,
    *,
    part: Part | Literal["all"] = "test",
    model_config: str | os.PathLike[str] | None = None,
    runtime: str | Mapping[str, str] = "onnxruntime",
    threads: int = 1,
    progress: Progress | None = None,
) -> pa.Table:
    """Return the predictions table of models on a dataset's test rows, or another part.

    A model is an artifact, a model folder, or an external ``.onnx`` file; the latter needs `data`, and `model_config` may
    name YAML with what the file does not record (`runtime.external.config`).

    Parameters
    ----------
    runtime
        The runtime (`runtime.backends.registry.RUNTIMES`): one for all models, or model → runtime. A path may name it, too:
        ``{"ov": "int8/@openvino"}``. The metadata of the table records it.
    threads
        Threads within an operator (intra-op).
    progress
        Called with the model, the rows done and the total rows.

    Warns
    -----
    ModelWarning
        A property of a model that needs attention, such as labels in the file that contradict its decisions.
    """
    import warnings

    from fairpress.core.errors import ModelWarning
    from fairpress.runtime.backends.registry import DEFAULT, choose
    from fairpress.runtime.predict import notes_of, predictions

    if not models:
        raise UserError("name at least one model, such as `models={'fp32': 'base/'}`.")
    if not isinstance(runtime, str) and (unknown := set(runtime) - set(models)):
        raise UserError(
            f"`runtime=` names {min(unknown)!r}, which is not one of the models."
            + did_you_mean(min(unknown), models)
        )
    references, runtimes = {}, {}
    for name, model in models.items():
        references[name], named_runtime = split_model(model)
        default_runtime = runtime if isinstance(runtime, str) else runtime.get(name, DEFAULT)
        runtimes[name] = choose(named_runtime or default_runtime, threads=threads)
    dataset = load_dataset(data) if isinstance(data, str) else data
    if dataset is None:
        first = next(iter(references.values()))
        if is_external(first):
            raise UserError(
                f"{first} is an external model and does not record its data; name the dataset with `data=`."
            )
        dataset = data_of(open_model(first))
    opened = {name: open_reference(model, dataset, model_config) for name, model in references.items()}
    table = predictions(opened, dataset, part, runtimes=runtimes, progress=progress)
    for name, sentences in notes_of(table).items():
        for sentence in sentences:
            warnings.warn(f"{name!r}: {sentence}.", ModelWarning, stacklevel=2)
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), "fairpress.models": "\n".join(opened)}
    )


def bench(
    models: Sequence[Model] | Mapping[str, Model],
    *,
    runtime: str | Sequence[str] = "onnxruntime",
    batch: int | Sequence[int] | None = None,
    threads: int = 1,
    provider: str = "CPU",
    rounds: int | None = None,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> BenchmarkResult:
    """Measure size, time and memory of models; all others are compared with the first.

    A model is an artifact, a model folder, or an ``.onnx`` file with one input of known shape. Inputs are
    validation rows if the data is on this machine, else random numbers.

    Parameters
    ----------
    models
        The models, or name → model.
    runtime
        One or several of `runtime.backends.registry.RUNTIMES`; each model runs on each of them, or on that of its path.
    batch
        Rows per call; by default 1 and 32, and 1,000 for tables.
    threads
        Threads within an operator (intra-op).
    provider
        Execution provider of ONNX Runtime.
    rounds
        Timed rounds; by default as many as `seconds` (per batch size) allow, from 7 to 101.
    progress
        Called with the current model, the rounds done and the total rounds.

    Raises
    ------
    UserError
        A model, runtime or number is invalid, or a model cannot be run; the message names it.
    """
    from fairpress.runtime.backends.registry import RUNTIMES, choose
    from fairpress.runtime.benchmark.inputs import BenchmarkModel
    from fairpress.runtime.benchmark.run import bench_all

    named = models if isinstance(models, Mapping) else named_models(models)
    if not named:
        raise UserError("name at least one model, such as `models=['base/']`.")
    runtimes = [runtime] if isinstance(runtime, str) else list(dict.fromkeys(runtime))
    if not runtimes:
        raise UserError(f"name at least one runtime with `runtime=`: {', '.join(RUNTIMES)}.")
    entries = []
    for name, model in named.items():
        reference, named_runtime = split_model(model)
        chosen = [
            choose(r, threads=threads, provider=provider)
            for r in ([named_runtime] if named_runtime else runtimes)
        ]
        if isinstance(reference, Artifact) or not is_external(reference):
            artifact = open_model(reference)
            entries.append(BenchmarkModel(name, artifact.onnx, artifact.card, tuple(chosen)))
        else:
            entries.append(BenchmarkModel(name, read_onnx(Path(reference)), None, tuple(chosen)))
    sizes = [batch] if isinstance(batch, int) else batch
    return bench_all(entries, sizes, rounds=rounds, seconds=seconds, progress=progress)
