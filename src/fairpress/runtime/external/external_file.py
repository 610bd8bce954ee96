"""An open external model file: its inputs and outputs, and how rows are run through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.slow import show_progress
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.batching import require_batch
from fairpress.runtime.external.engines.base import FileEngine, FileInput, format_shape
from fairpress.runtime.external.engines.onnx_runtime import origin
from fairpress.runtime.external.engines.registry import load
from fairpress.runtime.onnx.embedding_table import rows_of_embedding

if TYPE_CHECKING:
    import onnx

__all__ = ["ExternalFile", "FileInput", "OutputCandidates", "format_shape", "n_columns", "open_file"]

FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
WHOLE = tuple(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))
LABELS = (*WHOLE, "tensor(bool)", "tensor(string)")


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
class ExternalFile:
    """A model file, loaded by a runtime."""

    path: Path
    engine: FileEngine

    @property
    def inputs(self) -> tuple[FileInput, ...]:
        return self.engine.inputs

    @property
    def outputs(self) -> Mapping[str, str]:
        """Output → its type in ONNX Runtime's notation."""
        return self.engine.outputs

    @property
    def max_rows(self) -> int | None:
        """Return the number of rows whose values in a call surely fit into memory; None if unknown."""
        return self.engine.max_rows

    @property
    def operators(self) -> frozenset[str]:
        """The operators of the file, by their names in ONNX; empty if they are unknown."""
        return self.engine.operators

    def embedding_rows(self, input_name: str) -> int | None:
        """Return the number of token ids that the file knows, if an input of token ids is looked up in a stored table."""
        graph = self.engine.graph
        return None if graph is None else rows_of_embedding(graph, input_name)

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

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Yield the nodes of an ONNX file; none of other formats."""
        yield from () if self.engine.graph is None else self.engine.graph.node

    def origin(self, output: str) -> Iterator[onnx.NodeProto]:
        """Yield the nodes of an ONNX file that lead to an output, from the last one backwards along first inputs."""
        yield from () if self.engine.graph is None else origin(self.engine.graph, output)

    def run(self, feeds: Iterator[dict[str, np.ndarray]], rows: int, data: str) -> OutputCandidates:
        """Run the feeds of `rows` rows in all, and return every output.

        The last feed may have fewer rows than the file requires: it is padded with its last row.
        """
        names = [n for n, kind in self.outputs.items() if "bfloat16" not in kind]
        unfit = {
            n: f"it is in bfloat16, which {self.engine.title} does not return to Python; export it as float32"
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
        try:
            return self.engine.run(names, feed)
        except UserError:
            raise
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{self.path} cannot be run on {data!r}: {self.engine.title} reports {first[:200]!r}; compare its "
                f"inputs, {'; '.join(map(str, self.inputs))}, with the data."
            ) from None


def open_file(path: Path, runtime: Backend) -> ExternalFile:
    """Load a model file by its path. Raises UserError if that is impossible, or if its inputs take no rows."""
    file = ExternalFile(path, load(path, runtime))
    if not file.inputs:
        raise UserError(
            f"{path} has no inputs, so its output is the same for every row; export a model that reads the data."
        )
    for spec in file.inputs:
        if spec.shape == ():
            raise UserError(
                f"{path}: its input {spec.name!r} takes a single number, not rows; export the model with a batch "
                "dimension."
            )
    assert file.batch is None or file.batch > 0
    return file


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
