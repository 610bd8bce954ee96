"""Run an ONNX classifier made elsewhere: what the file does not say is told, or guessed when there is one answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.base import Dataset, Task
from fairpress.runtime.foreign_columns import feed_columns, plan_columns
from fairpress.runtime.foreign_config import Activation, ForeignConfig
from fairpress.runtime.foreign_images import feed_images, plan_images

FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
SAMPLE = 512
BATCH, IMAGE_BATCH = 8192, 64
_ENDING: dict[str, Activation] = {
    "Softmax": "none",
    "Sigmoid": "none",
    "Gemm": "softmax",
    "MatMul": "softmax",
}


@dataclass(frozen=True)
class Foreign:
    """An ONNX classifier with everything that running it on a dataset needs.

    `config` is complete; `guessed` names the parts of it that nobody said.
    """

    path: Path
    config: ForeignConfig
    guessed: tuple[str, ...]
    classes: tuple[str, ...]

    def scores(self, dataset: Dataset, rows: np.ndarray, threads: int = 1) -> np.ndarray:
        """Return class probabilities [rows, classes of the dataset's task], float64."""
        out = _outputs(_session(self.path, threads), self.config, dataset, rows, str(self.path))
        probabilities = _probabilities(out[str(self.config.output)], self.config, str(self.path))
        order = [self.classes.index(c) for c in dataset.task.classes]
        return probabilities[:, order]

    def feeds(self, dataset: Dataset, rows: np.ndarray, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield what the inputs of the file read for some rows, `size` at a time or as many as the file insists on."""
        session = _session(self.path, 1)
        feed = feed_columns if dataset.features else feed_images
        fixed = session.get_inputs()[0].shape[:1]
        size = fixed[0] if fixed and isinstance(fixed[0], int) else size
        for start in range(0, len(rows), size):
            own = rows[start : start + size]
            if len(own) < size and fixed and isinstance(fixed[0], int):
                own = np.concatenate([own, np.repeat(own[-1:], size - len(own))])
            yield feed(session, self.config, dataset, own, str(self.path))

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


def open_foreign(
    path: str | os.PathLike[str], dataset: Dataset, config: str | os.PathLike[str] | None = None
) -> Foreign:
    """Open an ONNX file to be run on a dataset.

    Parameters
    ----------
    config
        The YAML that says what the file does not; by default ``NAME.model.yaml`` or ``model.yaml`` beside it.

    Raises
    ------
    UserError
        No ONNX file, a YAML that does not fit it, or something that has several answers: which, and where to say it.
    """
    place = Path(path)
    if not place.is_file():
        raise UserError(f"there is no file {place}.")
    said, where = _said(place, config)
    session = _session(place, 1)
    guessed: list[str] = []
    if dataset.features:
        columns, inputs = plan_columns(session, said, dataset, where, guessed)
        width, what = len(dataset.input_names) if columns == "encoded" else len(columns or ()), "columns"
        known = said.model_copy(update={"columns": columns, "inputs": inputs})
    else:
        layout, scale = plan_images(session, said, dataset, where, guessed)
        width, what = dataset.inputs.shape[1], "channels"
        known = said.model_copy(update={"layout": layout, "scale": scale})
    for name, values in (("mean", said.mean), ("std", said.std)):
        if values is not None and len(values) not in (1, width):
            raise UserError(f"{where}: {name} has {len(values)} numbers for {width} {what}.")
    sample = np.arange(min(SAMPLE, len(dataset)))
    found = _outputs(session, known, dataset, sample, str(place))
    output = _output(session, said, found, dataset.task, where, guessed)
    scores = found[output]
    activation = _activation(place, said, output, scores, where, guessed)
    classes = _classes(said, found, output, scores, dataset.task, where, guessed)
    if not isinstance(scores, list) and _width(scores) not in (1, len(classes)):
        raise UserError(
            f"{where}: {output!r} has {_width(scores)} columns and {dataset.task.target!r} {len(classes)} classes "
            f"({', '.join(classes[:5])}); is it a model of this label?"
        )
    complete = known.model_copy(update={"output": output, "activation": activation, "classes": classes})
    return Foreign(place, complete, tuple(guessed), classes)


def _said(path: Path, config: str | os.PathLike[str] | None) -> tuple[ForeignConfig, str]:
    """Return what the YAML says, and the place where more could be said."""
    places = (
        [Path(config)]
        if config is not None
        else [path.with_suffix(".model.yaml"), path.with_name("model.yaml")]
    )
    for place in places:
        if config is not None or place.is_file():
            return parse(ForeignConfig, read_yaml(place), str(place)), str(place)
    return ForeignConfig(), str(places[0])


def _session(path: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        # By its path: weights may lie in files beside it.
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is no ONNX model that ONNX Runtime can load ({first}); export it again."
        ) from None


def _outputs(
    session: Any, config: ForeignConfig, dataset: Dataset, rows: np.ndarray, where: str
) -> dict[str, Any]:
    """Run the rows and return every output: an array, or a list of maps."""
    names = [o.name for o in session.get_outputs()]
    feed, usual = (feed_columns, BATCH) if dataset.features else (feed_images, IMAGE_BATCH)
    fixed = session.get_inputs()[0].shape[:1]
    step = fixed[0] if fixed and isinstance(fixed[0], int) else usual
    parts: list[list[Any]] = []
    for start in range(0, len(rows), step):
        chunk = feed(session, config, dataset, rows[start : start + step], where)
        short = step - len(next(iter(chunk.values()))) if isinstance(fixed[0], int) else 0
        if short:
            chunk = {k: np.concatenate([v, np.repeat(v[-1:], short, axis=0)]) for k, v in chunk.items()}
        try:
            found = session.run(None, chunk)
        except Exception as error:
            raise UserError(
                f"{where} cannot be run on {dataset.name!r}: {str(error).splitlines()[0][:200]}"
            ) from None
        parts.append([v[: len(v) - short] for v in found])
    out: dict[str, Any] = {}
    for i, name in enumerate(names):
        pieces = [p[i] for p in parts]
        out[name] = list(chain(*pieces)) if isinstance(pieces[0], list) else np.concatenate(pieces)
        if len(out[name]) != len(rows):
            raise UserError(f"{where}: its output {name!r} does not have a line for each row.")
    return out


def _output(
    session: Any, said: ForeignConfig, found: Mapping[str, Any], task: Task, where: str, guessed: list[str]
) -> str:
    if said.output is not None:
        if said.output not in found:
            raise UserError(
                f"{where}: the model has no output {said.output!r}." + did_you_mean(said.output, found)
            )
        return said.output
    kinds = {o.name: o.type for o in session.get_outputs()}
    likely = [n for n, v in found.items() if isinstance(v, list) or kinds[n] in FLOATS]
    if len(likely) > 1:
        likely = [n for n in likely if isinstance(found[n], list) or _width(found[n]) == len(task.classes)]
    if len(likely) != 1:
        raise UserError(
            f"the model has {len(likely) or 'no'} outputs that could be scores ({', '.join(kinds)}); say which under "
            f"`output` in {where}."
        )
    if len(kinds) > 1:
        guessed.append("output")
    return likely[0]


def _width(scores: Any) -> int:
    return 1 if scores.ndim == 1 else int(np.prod(scores.shape[1:]))


def _activation(
    path: Path, said: ForeignConfig, output: str, scores: Any, where: str, guessed: list[str]
) -> Activation:
    if said.activation is not None:
        return said.activation
    guessed.append("activation")
    if isinstance(scores, list):
        return "none"  # a map holds a probability per class
    ending, flat = _ending(path, output), scores.reshape(len(scores), -1).astype(float)
    inside = bool(((flat >= 0) & (flat <= 1)).all())
    sums = flat.shape[1] > 1 and bool(np.allclose(flat.sum(1), 1, atol=1e-3))
    if (ending == "Softmax" and sums) or (ending == "Sigmoid" and flat.shape[1] == 1) or (inside and sums):
        return "none"
    if not inside:
        return "softmax" if flat.shape[1] > 1 else "sigmoid"
    if flat.shape[1] == 1 and ending not in _ENDING:
        return "none"
    raise UserError(
        f"the output {output!r} lies between 0 and 1 and may be probabilities or not; say `activation: none`, softmax or "
        f"sigmoid in {where}."
    )


def _ending(path: Path, output: str) -> str:
    """Return the operator that makes the output."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    made = {o: n for n in nodes for o in n.output}
    node = made.get(output)
    while node is not None and node.op_type in ("Identity", "Cast", "Reshape", "Squeeze", "Flatten"):
        node = made.get(node.input[0])
    return "" if node is None else str(node.op_type)


def _classes(
    said: ForeignConfig,
    found: Mapping[str, Any],
    output: str,
    scores: Any,
    task: Task,
    where: str,
    guessed: list[str],
) -> tuple[str, ...]:
    """Return the class of each column of the output."""
    if said.classes is not None:
        classes = said.classes
    elif isinstance(scores, list):
        classes = tuple(_text(k) for k in scores[0])
    else:
        guessed.append("classes")
        classes = _named_by_labels(found, output, scores, task) or task.classes
    if sorted(classes) != sorted(task.classes):
        raise UserError(
            f"the model's classes are {', '.join(classes)}, those of {task.target!r} {', '.join(task.classes)}; say under "
            f"`classes` in {where} how they are called there, in the order of the output."
        )
    return tuple(classes)


def _named_by_labels(
    found: Mapping[str, Any], output: str, scores: Any, task: Task
) -> tuple[str, ...] | None:
    """Return the order that an output of labels gives away: the label of the rows in which each column is largest."""
    flat = scores.reshape(len(scores), -1)
    for name, values in found.items():
        if name == output or isinstance(values, list) or values.ndim != 1 or flat.shape[1] < 2:
            continue
        labels = np.array([_text(v) for v in values.tolist()])
        top = flat.argmax(1)
        each = [set(labels[top == i]) for i in range(flat.shape[1])]
        if all(len(e) == 1 for e in each):
            order = tuple(next(iter(e)) for e in each)
            if sorted(order) == sorted(task.classes):
                return order
    return None


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, (float, bool)) and float(value).is_integer() else str(value)


def _probabilities(scores: Any, config: ForeignConfig, where: str) -> np.ndarray:
    if isinstance(scores, list):
        keys = list(scores[0])
        return np.array([[row[k] for k in keys] for row in scores], dtype=float)
    flat = scores.reshape(len(scores), -1).astype(float)
    if np.isnan(flat).any():
        raise UserError(f"{where} gives no number (NaN) for {int(np.isnan(flat).any(1).sum()):,} rows.")
    if config.activation == "softmax":
        if flat.shape[1] == 1:
            raise UserError(f"{where}: softmax over one column says 1 always; it is sigmoid or none.")
        shifted = np.exp(flat - flat.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    if config.activation == "sigmoid":
        flat = 1 / (1 + np.exp(-flat))
    return np.concatenate([1 - flat, flat], axis=1) if flat.shape[1] == 1 else flat
