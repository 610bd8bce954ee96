"""An ONNX file made elsewhere, opened: what its inputs and outputs are, and how rows go through it."""

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
from fairpress.core.slow import shown
from fairpress.runtime.backends.batching import bytes_per_row, require_batch
from fairpress.runtime.bounded import SECONDS, TooLarge, TooLong, allowed, call, memory
from fairpress.runtime.onnx.load import read_model, weights_beside

if TYPE_CHECKING:
    import onnx

FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
WHOLE = tuple(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))
LABELS = (*WHOLE, "tensor(bool)", "tensor(string)")
# Their ranges are those of a call, so that the scores of a row depend a little on its neighbours.
PER_CALL = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
_CALL_BYTES = 2**29
_PATIENCE = 30.0


@dataclass(frozen=True)
class FileInput:
    """An input: its type as ONNX Runtime writes it, and its shape; free dimensions are None, and so is an unknown rank."""

    name: str
    type: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        return f"{self.name} {self.type} {format_shape(self.shape)}"


@dataclass(frozen=True)
class OutputCandidates:
    """What the outputs of a file hold for some rows.

    Attributes
    ----------
    values
        Output → an array [rows, …], or a list of maps class → number.
    unfit
        Output → why it says nothing of a row.
    """

    values: Mapping[str, Any]
    unfit: Mapping[str, str]


@dataclass(frozen=True)
class ExternalOnnxFile:
    """An ONNX file, loaded by ONNX Runtime.

    `weights`: bytes of the file and of those beside it. `pace`: seconds for a row, measured at the first call.
    """

    path: Path
    session: Any
    graph: onnx.GraphProto
    inputs: tuple[FileInput, ...]
    outputs: Mapping[str, str]
    weights: int = 0
    pace: list[float] = field(default_factory=list)

    @cached_property
    def most_rows(self) -> int | None:
        """Return the rows whose values in a call surely fit into memory; None where their shapes are not known."""
        size = bytes_per_row(self.path.read_bytes())
        return None if size is None else max(1, _CALL_BYTES // max(size, 1))

    @cached_property
    def batch(self) -> int | None:
        """The number of rows that the file insists on; None for any."""
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
    def names_of_nodes(self) -> frozenset[str]:
        """The operators of the graph."""
        return frozenset(n.op_type for n in self.graph.node)

    def origin(self, output: str) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that lead to an output, from the last one up along the first input of each."""
        made = {o: n for n in self.graph.node for o in n.output}
        node, seen = made.get(output), 0
        while node is not None and seen <= len(made):
            yield node
            node, seen = (made.get(node.input[0]) if node.input else None), seen + 1

    def run(self, feeds: Iterator[dict[str, np.ndarray]], rows: int, data: str) -> OutputCandidates:
        """Run what `feeds` yields for `rows` rows, and return what every output says of them.

        The last feed may hold fewer rows than the file insists on: it is filled up with its last row.
        """
        names = [n for n, kind in self.outputs.items() if "bfloat16" not in kind]
        unfit = {
            n: "it holds bfloat16 numbers, which ONNX Runtime does not hand over; export it as float32"
            for n in self.outputs
            if n not in names
        }
        if not names:
            name, why = next(iter(unfit.items()))
            raise UserError(f"{self.path}: the output {name!r} cannot be read: {why}.")
        parts: dict[str, list[Any]] = {n: [] for n in names}
        done = 0
        with shown(f"running {self.path}", lambda: 100 * done / max(rows, 1)):
            for feed in feeds:
                done += self._add(feed, names, parts, unfit, data)
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

    def _add(
        self,
        feed: dict[str, np.ndarray],
        names: list[str],
        parts: dict[str, list[Any]],
        unfit: dict[str, str],
        data: str,
    ) -> int:
        """Run one feed, add what the outputs say of its rows, and return how many they are."""
        count = len(next(iter(feed.values())))
        short = (self.batch or count) - count
        if short:
            feed = {k: np.concatenate([v, np.repeat(v[-1:], short, axis=0)]) for k, v in feed.items()}
        for name, value in zip(names, self._call(names, feed, data), strict=True):
            if name in unfit:
                continue
            line = _per_row(value, count + short)
            if isinstance(line, str):
                unfit[name] = line
            else:
                parts[name].append(line[:count])
        return count

    def _call(self, names: list[str], feed: dict[str, np.ndarray], data: str) -> list[Any]:
        """Return what the outputs hold; at first a single row is tried, as it may never come back."""
        rows, patience, where = len(next(iter(feed.values()))), allowed(SECONDS, _PATIENCE), str(self.path)
        if not self.pace:
            few = self.batch or 1
            started = time.monotonic()
            try:
                with memory(where, self.weights):
                    call(
                        self.session, names, {k: v[:few] for k, v in feed.items()}, where, patience + few - 1
                    )
            except (TooLong, TooLarge):
                raise
            except Exception:  # the call that matters says what is wrong
                started = time.monotonic() - 1.0
            self.pace.append((time.monotonic() - started) / few)
        try:
            with memory(where, self.weights):
                return call(self.session, names, feed, where, patience + 100 * rows * self.pace[0])
        except UserError:
            raise
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{self.path} cannot be run on {data!r}: ONNX Runtime says {first[:200]!r}; compare its inputs, "
                f"{'; '.join(map(str, self.inputs))}, with the data."
            ) from None


def open_file(path: Path, threads: int) -> ExternalOnnxFile:
    """Load an ONNX file by its path: weights may lie in files beside it. Raises UserError when that is not possible."""
    import onnxruntime as ort

    model = read_model(path)
    weights = path.stat().st_size + sum(file.stat().st_size for file in weights_beside(model, path))
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        with memory(str(path), weights), shown(f"loading {path}"):
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except UserError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "External data" in first:
            raise UserError(
                f"the weights that belong beside {path} cannot be read ({first[:200]}); copy them there, or export it "
                "as one file."
            ) from None
        raise UserError(
            f"{path} is no ONNX model that ONNX Runtime can load ({first}); export it again."
        ) from None
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
            f"{path} has no inputs, so that it says the same of every row; export a model that reads the data."
        )
    outputs = {o.name: o.type for o in session.get_outputs()}
    file = ExternalOnnxFile(path, session, model.graph, tuple(inputs), outputs, weights)
    for spec in file.inputs:
        if spec.shape == ():
            raise UserError(
                f"{path}: its input {spec.name!r} takes one single number and no rows; export the model with a batch "
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
    """Return how many numbers an output holds for each row."""
    return 1 if values.ndim == 1 else int(np.prod(values.shape[1:]))


def _per_row(value: Any, rows: int) -> Any:
    """Return an output as an array [rows, …] or a list of maps; or, as text, why it is neither."""
    if isinstance(value, list):
        if len(value) == rows and value and all(isinstance(v, dict) and v for v in value):
            return value
        return "it is a sequence, and not a map of a number for each class in every row"
    if value is None or isinstance(value, dict):
        return "it does not hold numbers or text in rows"
    array = np.asarray(value)
    if rows == 1 and array.ndim == 0:
        return array.reshape(1)
    if array.ndim == 0 or array.shape[0] != rows:
        return f"its shape {list(array.shape)} does not have a line for each of {rows} rows"
    return "it holds nothing for a row" if array.size == 0 else array
