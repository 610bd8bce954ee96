"""Run an ONNX file with ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.temporary import space_error
from fairpress.runtime.backends import cast
from fairpress.runtime.backends.base import Backend, Input, Kernels, prepare_file, processor

NUMPY = {kind: dtype for kind, dtype in cast.NUMPY.items() if kind != "tensor(string)"}
# Without VNNI, products of unsigned and signed 8-bit numbers are summed in 16 bits and may saturate; this option
# selects the slower kernel that does not. On other processors it has no effect.
EXACT = ("session.x64quantprecision", "1")
CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
FLOAT_LAYERS = (
    *("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
    *("LSTM", "GRU", "RNN"),
)
INTEGER_LAYERS = (
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
)


_last: ContextVar[dict[str, Any] | None] = ContextVar("the session loaded last", default=None)


@contextmanager
def last_session_kept() -> Iterator[None]:
    """Keep the last session within the context, so that a new file is loaded once to be checked, compared and scored."""
    token = _last.set({})
    try:
        yield
    finally:
        _last.reset(token)


def session(
    data: bytes | Path,
    *,
    threads: int = 1,
    dump: str | None = None,
    exact: bool = False,
    provider: str = "CPU",
) -> Any:
    """Return an ONNX Runtime session. Raises UserError if the data are not a valid ONNX model.

    Parameters
    ----------
    data
        An ONNX file, or its path. The same bytes with the same options give the last session within `last_session_kept`.
    threads
        Threads within an operator.
    dump
        Path to write the optimized graph to.
    exact
        Whether to use 8-bit kernels whose sums never saturate.
    provider
        The execution provider, without its suffix.
    """
    import onnxruntime as ort

    kept, chosen = _last.get(), (threads, exact, provider)
    if kept and kept["data"] is data and kept["options"] == chosen and dump is None:
        return kept["session"]
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    if dump is not None:
        options.optimized_model_filepath = dump
    if exact:
        options.add_session_config_entry(*EXACT)
    try:
        source = data if isinstance(data, bytes) else str(data)
        opened = ort.InferenceSession(source, options, providers=[f"{provider}ExecutionProvider"])
    except Exception as error:
        needed = max(2 * len(data), 1_000_000) if isinstance(data, bytes) else 1_000_000
        if dump is not None and (lacking := space_error(Path(dump).parent, needed)) is not None:
            raise lacking from None
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"ONNX Runtime cannot load this model ({first}); export it again.") from None
    if f"{provider}ExecutionProvider" not in opened.get_providers():
        raise UserError(
            f"ONNX Runtime cannot start the provider {provider} on this machine and would take "
            f"{opened.get_providers()[0].removesuffix('ExecutionProvider')} silently; use `provider='CPU'`."
        )
    if kept is not None and isinstance(data, bytes):
        kept.update(data=data, options=chosen, session=opened)
    return opened


class OnnxRuntimeSession:
    """A file with one input, loaded by ONNX Runtime."""

    def __init__(self, data: bytes | Path, runtime: Backend) -> None:
        self._runtime = runtime
        self._session = session(
            prepare_file(data, runtime) if isinstance(data, bytes) else data,
            threads=runtime.threads,
            exact=runtime.variant == "exact",
            provider=runtime.provider,
        )
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in NUMPY:
            listed = ", ".join(f"{i.name} {i.type}" for i in inputs)
            raise UserError(
                f"the model has the inputs {listed}; exactly one numeric input is supported here."
            )
        shape = tuple(d if isinstance(d, int) else None for d in inputs[0].shape)
        self.input = Input(inputs[0].name, shape, np.dtype(NUMPY[inputs[0].type]))

    @property
    def facts(self) -> Mapping[str, Any]:
        import onnxruntime as ort

        facts: dict[str, Any] = {
            "runtime": f"onnxruntime {ort.__version__}",
            "provider": self._runtime.provider,
            "threads": self._runtime.threads,
            "precision": "f32",
            "processor": processor(),
        }
        if self._runtime.variant == "exact":
            facts["options"] = {EXACT[0]: EXACT[1]}
        return facts

    def run(self, rows: np.ndarray) -> np.ndarray:
        try:
            out: np.ndarray = self._session.run(None, {self.input.name: rows})[0]
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"ONNX Runtime cannot run the file on {len(rows):,} rows ({first[:200]}); {_remedy(first)}."
            ) from None
        return out


def _remedy(reason: str) -> str:
    """Return what to do where a file cannot run on rows, by ONNX Runtime's reason."""
    if "out of data bounds" in reason:
        return "a number is outside of the table in which it is looked up: pass ids from 0 to one less than its rows"
    return "pass rows like those that it was compressed with, or export it again"


def run(data: bytes, inputs: np.ndarray, *, threads: int = 1, batch: int = 8192) -> np.ndarray:
    """Return the file's first output [rows, …] for inputs [rows, …]."""
    s = session(data, threads=threads)
    name = s.get_inputs()[0].name
    return np.concatenate(
        [s.run(None, {name: inputs[i : i + batch]})[0] for i in range(0, len(inputs), batch)]
    )


def operators(data: bytes) -> Counter[str]:
    """Count the operators of the graph as optimized by ONNX Runtime for this machine."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        session(data, dump=str(path))
        return Counter(node.op_type for node in onnx.load(path).graph.node)


def kernels(data: bytes) -> Kernels:
    """Count integer layers, float layers and conversions in the optimized graph."""
    counts = operators(data)

    def total(names: tuple[str, ...]) -> int:
        return sum(counts[name] for name in names)

    return Kernels(total(INTEGER_LAYERS), total(FLOAT_LAYERS), total(CONVERSIONS))


def providers() -> list[str]:
    """Return the execution providers of this installation, without their suffix."""
    import onnxruntime as ort

    return [p.removesuffix("ExecutionProvider") for p in ort.get_available_providers()]
