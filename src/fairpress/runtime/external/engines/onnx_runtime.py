"""External ONNX files on ONNX Runtime, within limits of time and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.slow import show_progress
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.backends.batching import bytes_per_row
from fairpress.runtime.backends.onnxruntime import EXACT
from fairpress.runtime.bounded import (
    SECONDS,
    TooLarge,
    TooLong,
    call_with_timeout,
    limit_from_environment,
    limit_memory,
)
from fairpress.runtime.external.engines.base import FileInput
from fairpress.runtime.onnx.load import external_data_files, read_model

if TYPE_CHECKING:
    import onnx

_MAX_CALL_BYTES = 2**29
_MAX_SECONDS = 30.0


@dataclass(frozen=True)
class OnnxRuntimeEngine:
    """An ONNX file, loaded by ONNX Runtime.

    `weights`: bytes of the file and its external data. `pace`: seconds per row, measured at the first call.
    """

    path: Path
    runtime: Backend
    session: Any
    graph: onnx.GraphProto
    inputs: tuple[FileInput, ...]
    outputs: Mapping[str, str]
    weights: int = 0
    pace: list[float] = field(default_factory=list)
    title: str = "ONNX Runtime"
    notes: tuple[str, ...] = ()
    output_steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        from onnxruntime import __version__

        facts: dict[str, Any] = {
            "runtime": f"onnxruntime {__version__}",
            "provider": "CPU",
            "threads": self.runtime.threads,
            "precision": "f32",
            "processor": processor(),
        }
        if self.runtime.variant == "exact":
            facts["options"] = {EXACT[0]: EXACT[1]}
        return facts

    @cached_property
    def operators(self) -> frozenset[str]:
        return frozenset(n.op_type for n in self.graph.node)

    @cached_property
    def max_rows(self) -> int | None:
        size = bytes_per_row(self.path.read_bytes())
        return None if size is None else max(1, _MAX_CALL_BYTES // max(size, 1))

    def operators_to(self, output: str) -> Iterator[str]:
        yield from (str(node.op_type) for node in origin(self.graph, output))

    def run(self, names: list[str], feed: Mapping[str, np.ndarray]) -> list[Any]:
        """Return some outputs; the first call tries a single row, because the model may never return."""
        rows, max_seconds, model_name = (
            len(next(iter(feed.values()))),
            limit_from_environment(SECONDS, _MAX_SECONDS),
            str(self.path),
        )
        if not self.pace:
            # A file with a fixed number of rows gets all of them.
            fixed = next((i.shape[0] for i in self.inputs if i.shape and i.shape[0] is not None), None)
            n_trial = fixed or 1
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
        with limit_memory(model_name, self.weights):
            return call_with_timeout(
                self.session, names, feed, model_name, max_seconds + 100 * rows * self.pace[0]
            )


def origin(graph: onnx.GraphProto, output: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that lead to an output, from the last one backwards along first inputs."""
    producers = {o: n for n in graph.node for o in n.output}
    node, n_visited = producers.get(output), 0
    while node is not None and n_visited <= len(producers):
        yield node
        node, n_visited = (producers.get(node.input[0]) if node.input else None), n_visited + 1


def load_onnx_runtime(path: Path, runtime: Backend) -> OnnxRuntimeEngine:
    """Load an ONNX file by its path, including external data. Raises UserError if that is impossible."""
    import onnxruntime as ort

    model = read_model(path)
    weights = path.stat().st_size + sum(file.stat().st_size for file in external_data_files(model, path))
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = runtime.threads, 1
    options.log_severity_level = 4
    if runtime.variant == "exact":
        options.add_session_config_entry(*EXACT)
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
    outputs = {o.name: o.type for o in session.get_outputs()}
    return OnnxRuntimeEngine(path, runtime, session, model.graph, tuple(inputs), outputs, weights)
