"""Run an external classifier; facts that the file lacks are configured, or inferred if unambiguous."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.batch_dependence import PREDICTED_ALONE
from fairpress.runtime.decision_rule import decide, decides_by_threshold
from fairpress.runtime.external.classes import (
    check_class_order,
    choose_classes,
    classes_of_config,
    disagreement,
    external_labels,
    model_labels,
)
from fairpress.runtime.external.columns import notes_on_columns, plan_columns
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.engines.registry import default_runtime
from fairpress.runtime.external.external_file import ExternalFile, open_file
from fairpress.runtime.external.images import plan_images
from fairpress.runtime.external.outputs import (
    Output,
    check_outputs_exist,
    choose_activation,
    choose_output,
    holds_labels,
    label_indices,
    probabilities,
    score_table,
)
from fairpress.runtime.external.run_rows import SAMPLE_ROWS, check_row_independence, feeds_of_rows, run_rows
from fairpress.runtime.external.texts import class_names, encode_rows, locate_tokenizer, plan_texts
from fairpress.runtime.external.value_outputs import choose_value_output, read_values
from fairpress.runtime.onnx.per_call_ranges import PER_CALL_RANGES
from fairpress.runtime.truncation import truncation_note
from fairpress.tokenization.tokenizer import TokenIds


@dataclass(frozen=True)
class ExternalPredictions:
    """Predictions of a model for some rows.

    Attributes
    ----------
    probabilities
        [rows, classes of the task], float64; None if the file outputs labels only.
    decided
        [rows], indices into the task's classes.
    notes
        Warnings about them: sentences without a full stop.
    facts
        What is needed to reproduce the run of an external file (`FileEngine.facts`).
    """

    probabilities: np.ndarray | None
    decided: np.ndarray
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExternalModel:
    """An external classifier with everything needed to run it on a dataset.

    `config` is complete; `guessed` names its inferred fields. `config_path` is the file that can override them, and `notes`
    are remarks on the inputs.
    """

    path: Path
    config: ExternalModelConfig
    guessed: tuple[str, ...]
    classes: tuple[str, ...]
    config_path: str = "model.yaml"
    notes: tuple[str, ...] = ()

    def values(
        self, dataset: Dataset, rows: np.ndarray, runtime: Backend | None = None
    ) -> tuple[np.ndarray, Mapping[str, Any]]:
        """Return numbers [rows, 1], or probabilities of labels [rows, labels], and the facts of the runtime.

        The dataset's task must not be one of classes; by default the file's default runtime runs it.
        """
        file = open_file(self.path, runtime or default_runtime(self.path))
        encoded = encode_rows(file, self.config, dataset, rows, self.config_path)
        candidates = run_rows(file, self.config, self.config_path, dataset, rows, encoded=encoded)
        output, activation = str(self.config.output), self.config.activation
        assert activation is not None
        values = read_values(
            candidates.values[output], activation, self.classes, dataset.task, str(self.path)
        )
        return values, file.engine.facts

    def answers(
        self, dataset: Dataset, rows: np.ndarray, runtime: Backend | None = None
    ) -> ExternalPredictions:
        """Return predictions and probabilities for some rows; by default on the file's default runtime."""
        task, output, model_name = dataset.task, _output_of_config(self.config.output), str(self.path)
        file = open_file(self.path, runtime or default_runtime(self.path))
        if not len(rows):
            return ExternalPredictions(
                np.zeros((0, len(task.classes))), np.zeros(0, dtype=np.int64), self.notes
            )
        encoded = encode_rows(file, self.config, dataset, rows, self.config_path)
        candidates = run_rows(file, self.config, self.config_path, dataset, rows, encoded=encoded)
        notes, facts = (*self.notes, *file.engine.notes), file.engine.facts
        for name in (output,) if isinstance(output, str) else output:
            if name in candidates.unfit:
                raise UserError(
                    f"{model_name}: the output {name!r} cannot be read: {candidates.unfit[name]}."
                )
        to_task = np.array([task.classes.index(c) for c in self.classes])
        if self.config.activation is None:
            assert isinstance(output, str)
            indices = label_indices(candidates.values[output], self.classes)
            if indices is None:
                raise UserError(_unknown_labels(output, candidates.values[output], task, self.config_path))
            return ExternalPredictions(None, to_task[indices], notes, facts)
        flat, _ = score_table(output, candidates.values, model_name)
        kind = file.outputs[output] if isinstance(output, str) else ""
        by_column = probabilities(flat, self.config.activation, output, kind, model_name)
        ordered = by_column[:, [self.classes.index(c) for c in task.classes]]
        decided = decide(ordered, task.classes, task.positive, self.config.threshold)
        remarks = [*notes, *_normalization_notes(ordered, decided, task)]
        labels = model_labels(file, candidates, output, flat, self.classes, task)
        if labels is not None:
            indices = labels.indices(candidates, self.classes)
            binary = decides_by_threshold(task.classes, task.positive)
            score = ordered[:, task.classes.index(str(task.positive))] if binary else None
            note = disagreement(
                to_task[indices], decided, score, self.config.threshold, labels.output, task, self.config_path
            )
        else:
            note = external_labels(file, candidates, output, task)
        remarks += [note] if note is not None else []
        if encoded is not None:
            remarks += self._notes_on_texts(file, dataset, rows, encoded)
        return ExternalPredictions(ordered, decided, tuple(remarks), facts)

    def _notes_on_texts(
        self, file: ExternalFile, dataset: Dataset, rows: np.ndarray, encoded: TokenIds
    ) -> list[str]:
        """Return notes on texts that are cut, and on answers that depend on the batch."""
        attributes = {name: values[rows] for name, values in dataset.attributes.items()}
        notes = [truncation_note(encoded.truncated, attributes, self.config.max_length or 0)]
        if file.operators & PER_CALL_RANGES:
            notes.append(PREDICTED_ALONE)
        return [note for note in notes if note is not None]

    def scores(self, dataset: Dataset, rows: np.ndarray, runtime: Backend | None = None) -> np.ndarray:
        """Return class probabilities [rows, classes of the dataset's task], float64.

        Raises UserError if the file outputs labels only.
        """
        probability = self.answers(dataset, rows, runtime).probabilities
        if probability is None:
            raise UserError(
                f"{self.path}: its output {self.config.output!r} contains labels, not scores; use "
                "`answers` for its labels."
            )
        return probability

    def feeds(self, dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of the file for some rows, `size` at a time or as many as the file requires."""
        file = open_file(self.path, default_runtime(self.path))
        feeds, _ = feeds_of_rows(file, self.config, self.config_path, dataset, rows, size)
        for feed in feeds:
            short = (file.batch or 0) - len(next(iter(feed.values())))
            if short > 0:
                feed = {k: np.concatenate([v, np.repeat(v[-1:], short, axis=0)]) for k, v in feed.items()}
            yield feed

    def as_yaml(self, folder: Path | None = None) -> str:
        """Return the complete ``model.yaml`` for a folder, by default that of the file; inferred fields are marked."""
        import io

        from ruamel.yaml import YAML
        from ruamel.yaml.comments import CommentedMap

        document = CommentedMap(
            {k: v for k, v in self.config.model_dump(mode="json").items() if v is not None}
        )
        if self.config.tokenizer is not None:
            path = locate_tokenizer(self.path, self.config, self.config_path)
            document["tokenizer"] = Path(os.path.relpath(path, folder or self.path.parent)).as_posix()
        for key in self.guessed:
            document.yaml_add_eol_comment("guessed", key)
        sink = io.StringIO()
        YAML().dump(document, sink)
        return sink.getvalue()


def open_external(
    path: str | os.PathLike[str],
    dataset: Dataset,
    config: str | os.PathLike[str] | None = None,
    runtime: Backend | None = None,
) -> ExternalModel:
    """Open a model file to be run on a dataset.

    Parameters
    ----------
    config
        The YAML that completes the file; by default ``NAME.model.yaml`` or ``model.yaml`` in the same folder.
    runtime
        The runtime that loads it, by default the first that its format has (`engines.registry`).

    Raises
    ------
    UserError
        The path is not a model file, the YAML does not fit it, a fact is ambiguous (the message names it, and where to set
        it), or the file's own labels contradict its scores.
    """
    model_path = Path(path)
    require_regular(model_path)
    if not model_path.is_file():
        raise UserError(f"there is no file {model_path}; check the path.")
    given, source_name = _read_config(model_path, config)
    file, task = open_file(model_path, runtime or default_runtime(model_path)), dataset.task
    check_outputs_exist(file, given, source_name)
    guessed: list[str] = []
    if dataset.kind == "text":
        partial = plan_texts(file, given, dataset, source_name, guessed)
        width, unit = 0, ""
        if given.classes is None and (named_outputs := class_names(file, source_name)) is not None:
            given = given.model_copy(update={"classes": classes_of_config(named_outputs, task, source_name)})
            guessed.append("classes")
    elif dataset.features:
        columns, inputs = plan_columns(file, given, dataset, source_name, guessed)
        width, unit = len(dataset.input_names) if columns == "encoded" else len(columns or ()), "columns"
        partial = given.model_copy(update={"columns": columns, "inputs": inputs})
    else:
        layout, scale = plan_images(file, given, dataset, source_name, guessed)
        width, unit = dataset.inputs.shape[1], "channels"
        partial = given.model_copy(update={"layout": layout, "scale": scale})
    for name, values in (("mean", given.mean), ("std", given.std)):
        if values is not None and partial.inputs is not None:
            raise UserError(
                f"{source_name}: `{name}` is for a model with one input that reads several columns."
            )
        if values is not None and len(values) not in (1, width):
            raise UserError(f"{source_name}: {name} has {len(values)} numbers for {width} {unit}.")
    sample = np.arange(min(SAMPLE_ROWS, len(dataset)))
    candidates = run_rows(file, partial, source_name, dataset, sample)
    if task.outputs != "classes":
        name, activation, names = choose_value_output(file, given, candidates, task, source_name, guessed)
        check_row_independence(file, partial, source_name, dataset, name, candidates)
        full = partial.model_copy(update={"output": name, "activation": activation, "classes": names or None})
        return ExternalModel(model_path, full, tuple(guessed), names, source_name)
    output = choose_output(file, given, candidates, task, source_name, guessed)
    check_row_independence(file, partial, source_name, dataset, output, candidates)
    values = None if isinstance(output, tuple) else candidates.values[output]
    if holds_labels(file, output, values, task) and given.activation is None:
        classes = choose_classes(file, given, candidates, output, None, None, task, source_name, guessed)
        if label_indices(values, classes) is None:
            raise UserError(_unknown_labels(str(output), values, task, source_name))
        update = {"output": output, "classes": classes}
        return ExternalModel(
            model_path, partial.model_copy(update=update), tuple(guessed), classes, source_name
        )
    flat, named = score_table(output, candidates.values, str(model_path))
    if flat.shape[1] not in (1, len(task.classes)) or (flat.shape[1] == 1 and len(task.classes) != 2):
        raise UserError(
            f"{source_name}: {output!r} has {flat.shape[1]} columns and {task.target!r} {len(task.classes)} classes "
            f"({', '.join(task.classes[:5])}); use a model of this label."
        )
    activation = choose_activation(file, given, output, flat, source_name, guessed)
    kind = file.outputs[output] if isinstance(output, str) else ""
    by_column = probabilities(flat, activation, output, kind, str(model_path))
    classes = choose_classes(file, given, candidates, output, flat, named, task, source_name, guessed)
    full_config = partial.model_copy(update={"output": output, "activation": activation, "classes": classes})
    labels = model_labels(file, candidates, output, flat, classes, task)
    if labels is not None:
        decided = decide(by_column, classes, task.positive, given.threshold)
        check_class_order(labels, candidates, decided, classes, source_name)
    tabular = dataset.kind != "text" and bool(dataset.features)
    notes = notes_on_columns(file, full_config, dataset, source_name) if tabular else ()
    return ExternalModel(model_path, full_config, tuple(guessed), classes, source_name, notes)


def config_locations(path: Path, config: str | os.PathLike[str] | None) -> list[Path]:
    """Return the paths at which the configuration of a file may be; the first existing one is read."""
    if config is not None:
        return [Path(config)]
    return [path.with_suffix(".model.yaml"), path.with_name("model.yaml")]


def _read_config(path: Path, config: str | os.PathLike[str] | None) -> tuple[ExternalModelConfig, str]:
    """Return the configuration, and the path at which it is or could be."""
    locations = config_locations(path, config)
    for location in locations:
        if config is not None or location.is_file():
            return parse(ExternalModelConfig, read_yaml(location), str(location)), str(location)
    return ExternalModelConfig(), str(locations[0])


def _normalization_notes(probability: np.ndarray, decided: np.ndarray, task: Task) -> list[str]:
    """Return a note if probabilities do not sum to 1 and the larger one would give a different prediction."""
    if not decides_by_threshold(task.classes, task.positive):
        return []
    sums = probability.sum(axis=1)
    if np.allclose(sums, 1, atol=1e-2):
        return []
    other = int((probability.argmax(axis=1) != decided).sum())
    return [
        f"its two columns sum to {sums.min():.2f} to {sums.max():.2f} and not to 1, so that p({task.positive}) is its "
        f"own column; the larger column would give a different prediction in {other:,} of {len(sums):,} rows"
    ]


def _output_of_config(output: Any) -> Output:
    assert output is not None
    return output if isinstance(output, str) else tuple(output)


def _unknown_labels(output: str, values: Any, task: Task, source_name: str) -> str:
    labels = sorted({str(v) for v in np.unique(np.asarray(values).astype(str)).tolist()})
    return (
        f"{source_name}: the output {output!r} contains the labels {', '.join(labels[:5])}, but the classes of "
        f"{task.target!r} are "
        f"{', '.join(task.classes[:5])}; export labels that are spelled like the classes."
    )
