"""Run and time models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fairpress.api.opening import open_base, open_huggingface
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.progress import Progress
from fairpress.core.public_function import public_function
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset, Part
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.model_reference import (
    Model,
    default_runtime_of,
    is_external,
    is_huggingface,
    name_models,
    open_model,
    open_reference,
    read_onnx,
    split_model,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fairpress.runtime.benchmark.result import BenchmarkResult


@public_function
def predict(
    models: Mapping[str, Model],
    data: Dataset | str | Iterable[Any] | None = None,
    *,
    part: Part | Literal["all"] = "test",
    model_config: str | os.PathLike[str] | None = None,
    runtime: str | Mapping[str, str] | None = None,
    threads: int = 1,
    batch_dependence: bool | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Return the predictions table of models on a dataset's test rows, or another part.

    Of models of a number, or of several labels at once, see `runtime.value_predictions`. A model is an artifact, a model
    folder, a Hugging Face folder, or an external file such as ``.onnx``; the latter two need `data`, and `model_config` may
    name YAML with what the file does not record (`runtime.external.config`).

    Parameters
    ----------
    data
        A dataset or its name; by default that of the first model's card. For artifacts and model folders also batches
        (x, y), (x, y, groups) or dictionaries with labels, as `compress` takes them: all of their rows are test rows, and
        groups are the attribute ``group``.
    runtime
        The runtime (`runtime.backends.registry.RUNTIMES`): one for all models, or model → runtime; by default ONNX Runtime,
        or the one that loads files of this format. A path may name it, too:
        ``{"ov": "int8/@openvino"}``. The metadata of the table records it.
    threads
        Threads within an operator (intra-op).
    batch_dependence
        Whether to measure how many predictions of models that read texts depend on batch size, order and padding; by default
        for files that compute ranges of activations in each call, as dynamic quantization by tensor does. Such files
        predict every text alone. The result is noted in the table.
    progress
        Called with the model, the rows done and the total rows.

    Warns
    -----
    ModelWarning
        A property of a model that needs attention, such as labels in the file that contradict its decisions.
    """
    import warnings

    from fairpress.core.errors import ModelWarning
    from fairpress.runtime.backends.registry import choose
    from fairpress.runtime.predict import notes_of, predictions

    if not models:
        raise UserError("name at least one model, such as `models={'fp32': 'base/'}`.")
    if isinstance(runtime, Mapping) and (unknown := set(runtime) - set(models)):
        raise UserError(
            f"`runtime=` names {min(unknown)!r}, which is not one of the models."
            + did_you_mean(min(unknown), models)
        )
    references, runtimes = {}, {}
    for name, model in models.items():
        references[name], named_runtime = split_model(model)
        given = runtime.get(name) if isinstance(runtime, Mapping) else runtime
        runtimes[name] = choose(named_runtime or given or default_runtime_of(model), threads=threads)
    dataset = _rows_to_predict(data, next(iter(references.values())))
    references = {
        name: open_huggingface(model, dataset) if is_huggingface(model) else model
        for name, model in references.items()
    }
    opened = {
        name: open_reference(model, dataset, model_config, runtimes[name])
        for name, model in references.items()
    }
    table = predictions(
        opened, dataset, part, runtimes=runtimes, progress=progress, batch_dependence=batch_dependence
    )
    for name, sentences in notes_of(table).items():
        for sentence in sentences:
            warnings.warn(f"{name!r}: {sentence}.", ModelWarning, stacklevel=2)
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), "fairpress.models": "\n".join(opened)}
    )


def _rows_to_predict(data: Dataset | str | Iterable[Any] | None, first: Model) -> Dataset:
    """Return the dataset that is named, given, or on the card of the first model; or the rows of batches for that model."""
    if isinstance(data, Dataset | str):
        return load_dataset(data) if isinstance(data, str) else data
    if is_external(first) or (data is not None and is_huggingface(first)):
        reason = "does not record its data" if data is None else "does not read batches"
        raise UserError(f"{first} is an external model and {reason}; name the dataset with `data=`.")
    if data is None:
        return open_base(first, None)[1]
    from fairpress.training.device import require_torch

    require_torch("Reading batches")
    from fairpress.compression.evaluation_rows import rows_of_batches

    return rows_of_batches(data, open_model(first))


@public_function
def embed(model: Model, rows: Any, *, runtime: str = "onnxruntime", threads: int = 1) -> np.ndarray:
    """Return the embeddings [rows, length] float32 of a model that was compressed with ``outputs="embedding"``.

    Parameters
    ----------
    model
        An artifact or a model folder, which may name the runtime, as in ``"int8/@openvino"``.
    rows
        Inputs [rows, …] as the model reads them, an array or a tensor; texts, for a model that reads texts; or a dataset, of
        which all rows are taken in order.
    runtime, threads
        As for `predict`.

    Raises
    ------
    UserError
        The model predicts something else, or cannot read the rows.
    """
    from fairpress.runtime.backends.registry import choose
    from fairpress.runtime.embeddings import embeddings

    reference, named_runtime = split_model(model)
    return embeddings(open_model(reference), rows, choose(named_runtime or runtime, threads=threads))


@public_function
def bench(
    models: Sequence[Model] | Mapping[str, Model],
    *,
    runtime: str | Sequence[str] = "onnxruntime",
    batch: int | Sequence[int] | None = None,
    length: int | None = None,
    threads: int = 1,
    provider: str = "CPU",
    rounds: int | None = None,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> BenchmarkResult:
    """Measure size, time and memory of models; all others are compared with the first.

    A model is an artifact, a model folder, or an external file with one input of known shape, or an ``.onnx`` file with one
    of token ids. Inputs are validation rows if the data is on this machine, else random numbers.

    Parameters
    ----------
    models
        The models, or name → model.
    runtime
        One or several of `runtime.backends.registry.RUNTIMES`; each model runs on each of them, or on that of its path. A
        file in another format than ONNX runs on those of them that load it; if none does, on its default one.
    batch
        Rows per call; by default 1 and 32, and 1,000 for tables.
    length
        Token ids of every text, for models that read texts; by default 64, or the maximum length of a model if it is less.
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
    from fairpress.runtime.external.engines.registry import check_runtime

    named = models if isinstance(models, Mapping) else name_models(models)
    if not named:
        raise UserError("name at least one model, such as `models=['base/']`.")
    runtimes = [runtime] if isinstance(runtime, str) else list(dict.fromkeys(runtime))
    if not runtimes:
        raise UserError(f"name at least one runtime with `runtime=`: {', '.join(RUNTIMES)}.")
    entries = []
    for name, model in named.items():
        reference, named_runtime = split_model(model)
        usable = [named_runtime] if named_runtime else runtimes
        path = None if isinstance(reference, Artifact) else Path(reference)
        if path is not None and is_external(reference) and path.suffix.lower() != ".onnx":
            usable = [named_runtime] if named_runtime else _loading(path, runtimes)
            chosen = [choose(r, threads=threads, provider=provider) for r in usable]
            for backend in chosen:
                check_runtime(path, backend)
            entries.append(BenchmarkModel(name, b"", None, tuple(chosen), path=path))
            continue
        chosen = [choose(r, threads=threads, provider=provider) for r in usable]
        if isinstance(reference, Artifact) or not is_external(reference):
            artifact = open_model(reference)
            entries.append(
                BenchmarkModel(name, artifact.onnx, artifact.card, tuple(chosen), artifact.text_tokenizer)
            )
        else:
            entries.append(BenchmarkModel(name, read_onnx(Path(reference)), None, tuple(chosen)))
    sizes = [batch] if isinstance(batch, int) else batch
    return bench_all(entries, sizes, length=length, rounds=rounds, seconds=seconds, progress=progress)


def _loading(path: Path, runtimes: Sequence[str]) -> list[str]:
    """Return those of the runtimes that load a file; if none does, its default one."""
    from fairpress.runtime.external.engines.registry import runtimes_of

    known = runtimes_of(path)
    return [r for r in runtimes if r in known] or [known[0]]
