"""An open external ONNX file: its inputs and outputs, and how rows are run through it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.slow import show_progress
from fairpress.runtime.backends.batching import bytes_per_row, require_batch
from fairpress.runtime.bounded import (
    SECONDS,
    TooLarge,
    TooLong,
    call_with_timeout,
    limit_from_environment,
    limit_memory,
)
from fairpress.runtime.onnx.embedding_table import rows_of_embedding
from fairpress.runtime.onnx.load import external_data_files, read_model

if TYPE_CHECKING:
    import onnx

FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
WHOLE = tuple(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))
LABELS = (*WHOLE, "tensor(bool)", "tensor(string)")
_MAX_CALL_BYTES = 2**29
_MAX_SECONDS = 30.0


@dataclass(frozen=True)
class FileInput:
    """An input: its type in ONNX Runtime's notation, and its shape; free dimensions and unknown ranks are None."""

    name: str
    type: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        return f"{self.name} {self.type} {format_shape(self.shape)}"


@dataclass(frozen=True)
class OutputCandidates:
    """The outputs of a file for some rows.

    Attributes
    ----------
    values
        Output → an array [rows, …], or a list of maps class → number.
    unfit
        Output → reason why it cannot be read per row.
    """

    values: Mapping[str, Any]
    unfit: Mapping[str, str]


@dataclass(frozen=True)
class ExternalOnnxFile:
    """An ONNX file, loaded by ONNX Runtime.

    `weights`: bytes of the file and its external data. `pace`: seconds per row, measured at the first call.
    """

    path: Path
    session: Any
    graph: onnx.GraphProto
    inputs: tuple[FileInput, ...]
    outputs: Mapping[str, str]
    weights: int = 0
    pace: list[float] = field(default_factory=list)

    @cached_property
    def max_rows(self) -> int | None:
        """Return the number of rows whose values in a call surely fit into memory; None if shapes are unknown."""
        size = bytes_per_row(self.path.read_bytes())
        return None if size is None else max(1, _MAX_CALL_BYTES // max(size, 1))

    def embedding_rows(self, input_name: str) -> int | None:
        """Return the number of token ids that the file knows, if an input of token ids is looked up in a stored table."""
        return rows_of_embedding(self.graph, input_name)

    @cached_property
    def batch(self) -> int | None:
        """The number of rows that the file requires; None for any."""
        fixed = {i.shape[0] for i in self.inputs if i.shape}
        sizes = {n for n in fixed if n is not None}
        if len(sizes) > 1:
            raise UserError(
                f"the inputs of {self.path} have different fixed numbers of rows ({', '.join(map(str, sorted(sizes)))}); "
                "export the model with a free batch dimension."
            )
        size = next(iter(sizes), None)
        if size is None:
            return None
        row = sum(4 * int(np.prod([d or 1 for d in (i.shape or ())[1:]], dtype=float)) for i in self.inputs)
        require_batch(size, row, str(self.path))
        return size

    @cached_property
    def operators(self) -> frozenset[str]:
        """The operators of the graph."""
        return frozenset(n.op_type for n in self.graph.node)

    def origin(self, output: str) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that lead to an output, from the last one backwards along first inputs."""
        producers = {o: n for n in self.graph.node for o in n.output}
        node, n_visited = producers.get(output), 0
        while node is not None and n_visited <= len(producers):
            yield node
            node, n_visited = (producers.get(node.input[0]) if node.input else None), n_visited + 1

    def run(self, feeds: Iterator[dict[str, np.ndarray]], rows: int, data: str) -> OutputCandidates:
        """Run the feeds of `rows` rows in all, and return every output.

        The last feed may have fewer rows than the file requires: it is padded with its last row.
        """
        names = [n for n, kind in self.outputs.items() if "bfloat16" not in kind]
        unfit = {
            n: "it is in bfloat16, which ONNX Runtime does not return to Python; export it as float32"
            for n in self.outputs
            if n not in names
        }
        if not names:
            name, why = next(iter(unfit.items()))
            raise UserError(f"{self.path}: the output {name!r} cannot be read: {why}.")
        parts: dict[str, list[Any]] = {n: [] for n in names}
        done = 0
        with show_progress(f"running {self.path}", lambda: 100 * done / max(rows, 1)):
            for feed in feeds:
                done += self._run_batch(feed, names, parts, unfit, data)
        values: dict[str, Any] = {}
        for name, pieces in parts.items():
            if name in unfit or not pieces:
                continue
            if not isinstance(pieces[0], list) and len({p.shape[1:] for p in pieces}) > 1:
                unfit[name] = "its shape differs between calls"
                continue
            values[name] = list(chain(*pieces)) if isinstance(pieces[0], list) else np.concatenate(pieces)
            assert len(values[name]) == rows
        return OutputCandidates(values, unfit)

    def _run_batch(
        self,
        feed: dict[str, np.ndarray],
        names: list[str],
        parts: dict[str, list[Any]],
        unfit: dict[str, str],
        data: str,
    ) -> int:
        """Run one feed, append its outputs, and return the number of its rows."""
        count = len(next(iter(feed.values())))
        short = (self.batch or count) - count
        if short:
            feed = {k: np.concatenate([v, np.repeat(v[-1:], short, axis=0)]) for k, v in feed.items()}
        for name, value in zip(names, self._call(names, feed, data), strict=True):
            if name in unfit:
                continue
            row_values = _rows_of_output(value, count + short)
            if isinstance(row_values, str):
                unfit[name] = row_values
            else:
                parts[name].append(row_values[:count])
        return count

    def _call(self, names: list[str], feed: dict[str, np.ndarray], data: str) -> list[Any]:
        """Return the outputs; the first call tries a single row, because the model may never return."""
        rows, max_seconds, model_name = (
            len(next(iter(feed.values()))),
            limit_from_environment(SECONDS, _MAX_SECONDS),
            str(self.path),
        )
        if not self.pace:
            n_trial = self.batch or 1
            started = time.monotonic()
            try:
                with limit_memory(model_name, self.weights):
                    call_with_timeout(
                        self.session,
                        names,
                        {k: v[:n_trial] for k, v in feed.items()},
                        model_name,
                        max_seconds + n_trial - 1,
                    )
            except (TooLong, TooLarge):
                raise
            except Exception:  # the main call reports the error
                started = time.monotonic() - 1.0
            self.pace.append((time.monotonic() - started) / n_trial)
        try:
            with limit_memory(model_name, self.weights):
                return call_with_timeout(
                    self.session, names, feed, model_name, max_seconds + 100 * rows * self.pace[0]
                )
        except UserError:
            raise
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{self.path} cannot be run on {data!r}: ONNX Runtime reports {first[:200]!r}; compare its inputs, "
                f"{'; '.join(map(str, self.inputs))}, with the data."
            ) from None


def open_file(path: Path, threads: int) -> ExternalOnnxFile:
    """Load an ONNX file by its path, including external data. Raises UserError if that is impossible."""
    import onnxruntime as ort

    model = read_model(path)
    weights = path.stat().st_size + sum(file.stat().st_size for file in external_data_files(model, path))
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        with limit_memory(str(path), weights), show_progress(f"loading {path}"):
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except UserError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "External data" in first:
            raise UserError(
                f"the external weights of {path} cannot be read ({first[:200]}); copy them to its folder, or export it "
                "as one file."
            ) from None
        raise UserError(f"ONNX Runtime cannot load {path} ({first}); export it again.") from None
    declared = {v.name: v for v in model.graph.input}
    inputs = []
    for spec in session.get_inputs():
        # ONNX Runtime writes [] both for a single number and for an unknown rank.
        value = declared.get(spec.name)
        unknown = not spec.shape and (value is None or not value.type.tensor_type.HasField("shape"))
        shape = None if unknown else tuple(d if isinstance(d, int) else None for d in spec.shape)
        inputs.append(FileInput(spec.name, spec.type, shape))
    if not inputs:
        raise UserError(
            f"{path} has no inputs, so its output is the same for every row; export a model that reads the data."
        )
    outputs = {o.name: o.type for o in session.get_outputs()}
    file = ExternalOnnxFile(path, session, model.graph, tuple(inputs), outputs, weights)
    for spec in file.inputs:
        if spec.shape == ():
            raise UserError(
                f"{path}: its input {spec.name!r} takes a single number, not rows; export the model with a batch "
                "dimension."
            )
    assert file.batch is None or file.batch > 0
    return file


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Return a shape as text, such as [n, 3]: the free first dimension is the number of rows."""
    if shape is None:
        return "of unknown rank"
    texts = [("n" if i == 0 else "any") if d is None else str(d) for i, d in enumerate(shape)]
    return f"[{', '.join(texts)}]"


def n_columns(values: Any) -> int:
    """Return how many numbers an output contains per row."""
    return 1 if values.ndim == 1 else int(np.prod(values.shape[1:]))


def _rows_of_output(value: Any, rows: int) -> Any:
    """Return an output as an array [rows, …] or a list of maps; or, as text, the reason why it is neither."""
    if isinstance(value, list):
        if len(value) == rows and value and all(isinstance(v, dict) and v for v in value):
            return value
        return "it is a sequence, but not of one map from classes to numbers per row"
    if value is None or isinstance(value, dict):
        return "it does not contain numbers or text in rows"
    array = np.asarray(value)
    if rows == 1 and array.ndim == 0:
        return array.reshape(1)
    if array.ndim == 0 or array.shape[0] != rows:
        return f"its shape {list(array.shape)} does not have one line for each of {rows} rows"
    return "it is empty" if array.size == 0 else array
