"""Run an ONNX classifier made elsewhere: what the file does not say is told, or guessed when there is one answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.decision_rule import decide, decides_by_threshold
from fairpress.runtime.external.classes import (
    choose_classes,
    disagreement,
    external_labels,
    model_labels,
    refuse_reversed,
)
from fairpress.runtime.external.columns import feed_columns, notes_on_columns, plan_columns
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.images import feed_images, plan_images
from fairpress.runtime.external.onnx_model import PER_CALL, ExternalOnnxFile, OutputCandidates, open_file
from fairpress.runtime.external.outputs import (
    Output,
    choose_activation,
    choose_output,
    holds_labels,
    label_indices,
    probabilities,
    table_of,
)

SAMPLE, ALONE = 512, 5
BATCH, IMAGE_BATCH = 8192, 64


@dataclass(frozen=True)
class ExternalPredictions:
    """What a model says of some rows.

    Attributes
    ----------
    probabilities
        [rows, classes of the task], float64; None where the file gives labels only.
    decided
        [rows], indices into the task's classes.
    notes
        What a reader must know of them: sentences without a full stop.
    """

    probabilities: np.ndarray | None
    decided: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExternalModel:
    """An ONNX classifier with everything that running it on a dataset needs.

    `config` is complete; `guessed` names the parts of it that nobody said. `place` is where more can be said, and `notes`
    are sentences on what its inputs read.
    """

    path: Path
    config: ExternalModelConfig
    guessed: tuple[str, ...]
    classes: tuple[str, ...]
    place: str = "model.yaml"
    notes: tuple[str, ...] = ()

    def answers(self, dataset: Dataset, rows: np.ndarray, threads: int = 1) -> ExternalPredictions:
        """Return what the model decides for some rows, and by which probabilities."""
        task, output, where = dataset.task, _named(self.config.output), str(self.path)
        file = open_file(self.path, threads)
        if not len(rows):
            return ExternalPredictions(
                np.zeros((0, len(task.classes))), np.zeros(0, dtype=np.int64), self.notes
            )
        found = _run(file, self.config, dataset, rows)
        for name in (output,) if isinstance(output, str) else output:
            if name in found.unfit:
                raise UserError(f"{where}: the output {name!r} cannot be read: {found.unfit[name]}.")
        to_task = np.array([task.classes.index(c) for c in self.classes])
        if self.config.activation is None:
            assert isinstance(output, str)
            indices = label_indices(found.values[output], self.classes)
            if indices is None:
                raise UserError(_no_classes(output, found.values[output], task, self.place))
            return ExternalPredictions(None, to_task[indices], self.notes)
        flat, _ = table_of(output, found.values, where)
        kind = file.outputs[output] if isinstance(output, str) else ""
        own = probabilities(flat, self.config.activation, output, kind, where)
        ordered = own[:, [self.classes.index(c) for c in task.classes]]
        decided = decide(ordered, task.classes, task.positive, self.config.threshold)
        notes = [*self.notes, *_unnormalised(ordered, decided, task)]
        labels = model_labels(file, found, output, flat, self.classes, task)
        if labels is not None:
            indices = labels.indices(found, self.classes)
            two = decides_by_threshold(task.classes, task.positive)
            score = ordered[:, task.classes.index(str(task.positive))] if two else None
            said = disagreement(
                to_task[indices], decided, score, self.config.threshold, labels.output, task, self.place
            )
        else:
            said = external_labels(file, found, output, task)
        notes += [said] if said is not None else []
        return ExternalPredictions(ordered, decided, tuple(notes))

    def scores(self, dataset: Dataset, rows: np.ndarray, threads: int = 1) -> np.ndarray:
        """Return class probabilities [rows, classes of the dataset's task], float64.

        Raises UserError where the file gives labels only.
        """
        found = self.answers(dataset, rows, threads).probabilities
        if found is None:
            raise UserError(f"{self.path}: its output {self.config.output!r} holds labels and no scores.")
        return found

    def feeds(self, dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield what the inputs of the file read for some rows, `size` at a time or as many as the file insists on."""
        file = open_file(self.path, 1)
        for feed in _feeds(file, self.config, dataset, rows, size):
            short = (file.batch or 0) - len(next(iter(feed.values())))
            if short > 0:
                feed = {k: np.concatenate([v, np.repeat(v[-1:], short, axis=0)]) for k, v in feed.items()}
            yield feed

    def as_yaml(self) -> str:
        """Return the complete ``model.yaml``; guessed lines say so."""
        import io

        from ruamel.yaml import YAML
        from ruamel.yaml.comments import CommentedMap

        document = CommentedMap(
            {k: v for k, v in self.config.model_dump(mode="json").items() if v is not None}
        )
        for key in self.guessed:
            document.yaml_add_eol_comment("guessed", key)
        sink = io.StringIO()
        YAML().dump(document, sink)
        return sink.getvalue()


def open_external(
    path: str | os.PathLike[str], dataset: Dataset, config: str | os.PathLike[str] | None = None
) -> ExternalModel:
    """Open an ONNX file to be run on a dataset.

    Parameters
    ----------
    config
        The YAML that says what the file does not; by default ``NAME.model.yaml`` or ``model.yaml`` beside it.

    Raises
    ------
    UserError
        No ONNX file, a YAML that does not fit it, something that has several answers (which, and where to say it), or scores
        that the file's own labels contradict.
    """
    place = Path(path)
    require_regular(place)
    if not place.is_file():
        raise UserError(f"there is no file {place}.")
    said, where = _said(place, config)
    file, task = open_file(place, 1), dataset.task
    guessed: list[str] = []
    if dataset.features:
        columns, inputs = plan_columns(file, said, dataset, where, guessed)
        width, what = len(dataset.input_names) if columns == "encoded" else len(columns or ()), "columns"
        known = said.model_copy(update={"columns": columns, "inputs": inputs})
    else:
        layout, scale = plan_images(file, said, dataset, where, guessed)
        width, what = dataset.inputs.shape[1], "channels"
        known = said.model_copy(update={"layout": layout, "scale": scale})
    for name, values in (("mean", said.mean), ("std", said.std)):
        if values is not None and known.inputs is not None:
            raise UserError(f"{where}: `{name}` is for a model with one input that reads several columns.")
        if values is not None and len(values) not in (1, width):
            raise UserError(f"{where}: {name} has {len(values)} numbers for {width} {what}.")
    sample = np.arange(min(SAMPLE, len(dataset)))
    found = _run(file, known, dataset, sample)
    output = choose_output(file, said, found, task, where, guessed)
    _refuse_mixed_rows(file, known, dataset, output, found)
    values = None if isinstance(output, tuple) else found.values[output]
    if holds_labels(file, output, values, task) and said.activation is None:
        classes = choose_classes(file, said, found, output, None, None, task, where, guessed)
        if label_indices(values, classes) is None:
            raise UserError(_no_classes(str(output), values, task, where))
        update = {"output": output, "classes": classes}
        return ExternalModel(place, known.model_copy(update=update), tuple(guessed), classes, where)
    flat, named = table_of(output, found.values, str(place))
    if flat.shape[1] not in (1, len(task.classes)) or (flat.shape[1] == 1 and len(task.classes) != 2):
        raise UserError(
            f"{where}: {output!r} has {flat.shape[1]} columns and {task.target!r} {len(task.classes)} classes "
            f"({', '.join(task.classes[:5])}); is it a model of this label?"
        )
    activation = choose_activation(file, said, output, flat, where, guessed)
    kind = file.outputs[output] if isinstance(output, str) else ""
    own = probabilities(flat, activation, output, kind, str(place))
    classes = choose_classes(file, said, found, output, flat, named, task, where, guessed)
    complete = known.model_copy(update={"output": output, "activation": activation, "classes": classes})
    labels = model_labels(file, found, output, flat, classes, task)
    if labels is not None:
        decided = decide(own, classes, task.positive, said.threshold)
        refuse_reversed(labels, found, decided, classes, where)
    notes = notes_on_columns(file, complete, dataset, where) if dataset.features else ()
    return ExternalModel(place, complete, tuple(guessed), classes, where, notes)


def config_locations(path: Path, config: str | os.PathLike[str] | None) -> list[Path]:
    """Return where the YAML may be that says how a file is run; the first one that is there is read."""
    if config is not None:
        return [Path(config)]
    return [path.with_suffix(".model.yaml"), path.with_name("model.yaml")]


def _said(path: Path, config: str | os.PathLike[str] | None) -> tuple[ExternalModelConfig, str]:
    """Return what the YAML says, and the place where more could be said."""
    places = config_locations(path, config)
    for place in places:
        if config is not None or place.is_file():
            return parse(ExternalModelConfig, read_yaml(place), str(place)), str(place)
    return ExternalModelConfig(), str(places[0])


def _feeds(
    file: ExternalOnnxFile, config: ExternalModelConfig, dataset: Dataset, rows: np.ndarray, size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of the file for some rows, `size` at a time or as many as the file insists on; fewer at the end."""
    feed = feed_columns if dataset.features else feed_images
    size = file.batch or size
    for start in range(0, len(rows), size):
        yield feed(file, config, dataset, rows[start : start + size], str(file.path))


def _run(
    file: ExternalOnnxFile,
    config: ExternalModelConfig,
    dataset: Dataset,
    rows: np.ndarray,
    size: int | None = None,
) -> OutputCandidates:
    if size is None:
        size = BATCH if dataset.features else IMAGE_BATCH
        size = min(size, file.most_rows or size)
    return file.run(_feeds(file, config, dataset, rows, size), len(rows), dataset.name)


def _refuse_mixed_rows(
    file: ExternalOnnxFile,
    config: ExternalModelConfig,
    dataset: Dataset,
    output: Output,
    found: OutputCandidates,
) -> None:
    """Raise UserError where what a model says of a row depends on the rows it is called with, or on chance."""
    if file.names_of_nodes & PER_CALL:
        return
    few = np.arange(min(ALONE, len(dataset)))
    rows, size = few, 1
    if file.batch is not None and file.batch > 1:
        rows, size = few[::-1], file.batch
    again = _run(file, config, dataset, rows, size)
    for name in (output,) if isinstance(output, str) else output:
        alone, together = again.values.get(name), found.values[name]
        if alone is None:
            same = False
        elif isinstance(together, list):
            back = alone if size == 1 else alone[::-1]
            same = all(
                set(a) == set(b) and _close(np.array([a[k] for k in a]), np.array([b[k] for k in a]))
                for a, b in zip(back, together, strict=False)
            )
        else:
            same = _close(alone if size == 1 else alone[::-1], together[: len(few)])
        if not same:
            raise UserError(
                f"{file.path}: what its output {name!r} holds for a row depends on the rows that it is called with, or on "
                "chance; export the model for inference (`model.eval()`), one line of its output for each row."
            )


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    slack = 2e-2 if one.dtype == np.float16 else 1e-3
    scale = max(1.0, float(np.abs(other[np.isfinite(other)], dtype=float).max(initial=0.0)))
    return bool(np.allclose(one, other, rtol=slack, atol=slack * scale, equal_nan=True))


def _unnormalised(probability: np.ndarray, decided: np.ndarray, task: Task) -> list[str]:
    """Return a sentence where probabilities do not sum to 1 and the larger one would decide otherwise."""
    if not decides_by_threshold(task.classes, task.positive):
        return []
    sums = probability.sum(axis=1)
    if np.allclose(sums, 1, atol=1e-2):
        return []
    other = int((probability.argmax(axis=1) != decided).sum())
    return [
        f"its two columns sum to {sums.min():.2f} to {sums.max():.2f} and not to 1, so that p({task.positive}) is its "
        f"own column; the larger column would decide {other:,} of {len(sums):,} rows differently"
    ]


def _named(output: Any) -> Output:
    assert output is not None
    return output if isinstance(output, str) else tuple(output)


def _no_classes(output: str, values: Any, task: Task, where: str) -> str:
    found = sorted({str(v) for v in np.unique(np.asarray(values).astype(str)).tolist()})
    return (
        f"{where}: the output {output!r} holds the labels {', '.join(found[:5])}, and the classes of {task.target!r} are "
        f"{', '.join(task.classes[:5])}; export labels that are spelled as the classes."
    )
