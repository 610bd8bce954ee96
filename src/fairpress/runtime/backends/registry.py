"""The available inference backends: ``onnxruntime``, ``openvino`` and their variants."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fairpress.core.errors import UserError, did_you_mean
from fairpress.runtime.backends.base import Backend, Kernels, Session

# One line each, for the help and doctor; users type the key after the @.
RUNTIMES: Mapping[str, str] = {
    "onnxruntime": "ONNX Runtime with its default options",
    "onnxruntime-exact": "ONNX Runtime, 8-bit sums that never saturate (slower on processors without VNNI)",
    "openvino": "OpenVINO, floats in 32 bits",
    "openvino-bf16": "OpenVINO, floats in bfloat16 where the processor has it",
    "executorch": "ExecuTorch, for .pte files, as on a phone's processor",
}
DEFAULT = "onnxruntime"
MAX_THREADS = 1_024


def choose(name: str = DEFAULT, *, threads: int = 1, provider: str = "CPU") -> Backend:
    """Return the backend with this name; the provider with or without its suffix, ``CUDA`` or ``CUDAExecutionProvider``.

    Raises
    ------
    UserError
        The runtime or provider is unknown, or `threads` is out of range.
    MissingExtra
        OpenVINO is not installed.
    """
    if name not in RUNTIMES:
        raise UserError(f"there is no runtime {name!r}." + did_you_mean(name, RUNTIMES))
    if threads < 1:
        raise UserError(f"`threads={threads}` is too small; use at least 1.")
    if threads > MAX_THREADS:
        raise UserError(
            f"`threads={threads}` is too large; use at most {MAX_THREADS:,}, and no more than this machine has "
            "cores."
        )
    provider = provider.removesuffix("ExecutionProvider")
    engine, _, variant = name.partition("-")
    if engine == "openvino":
        from fairpress.runtime.backends.openvino import require

        require(bf16=variant == "bf16")
        if provider != "CPU":
            raise UserError(
                f"`provider={provider!r}` belongs to ONNX Runtime, and OpenVINO runs on the CPU; omit one of the two."
            )
        return Backend("openvino", "bf16" if variant else "default", threads)
    if engine == "executorch":
        from fairpress.runtime.backends.executorch import require as require_executorch

        require_executorch()
        if provider != "CPU":
            raise UserError(
                f"`provider={provider!r}` belongs to ONNX Runtime, and ExecuTorch runs on the CPU; omit one of the two."
            )
        return Backend("executorch", threads=threads)
    from fairpress.runtime.backends.onnxruntime import providers

    available = providers()
    if provider not in available:
        raise UserError(
            f"this installation of ONNX Runtime has no provider {provider!r}, only {', '.join(available)}."
            + did_you_mean(provider, available)
        )
    return Backend("onnxruntime", "exact" if variant else "default", threads, provider)


def kernels(data: bytes, runtime: Backend) -> Kernels:
    """Count the kernels in the graph as optimized by the runtime. Raises UserError if it cannot load the file."""
    if runtime.engine == "openvino":
        from fairpress.runtime.backends import openvino

        return openvino.kernels(data)
    from fairpress.runtime.backends import onnxruntime

    return onnxruntime.kernels(data)


def open_session(data: bytes | Path, runtime: Backend, batch: int | None = None) -> Session:
    """Load a file.

    Parameters
    ----------
    data
        The bytes of an ONNX file with one input; or the path of a file that the runtime can read directly (`prepare_file`).
    batch
        Rows of every call, if known: OpenVINO optimizes better for a fixed batch size.

    Raises
    ------
    UserError
        The runtime cannot load the file, or it has several inputs.
    """
    if runtime.engine == "openvino":
        from fairpress.runtime.backends.openvino import OpenVinoSession

        return OpenVinoSession(data, runtime, batch)
    from fairpress.runtime.backends.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(data, runtime)


def split_suffix(text: str) -> tuple[str, str | None]:
    """Split ``int8/@openvino`` into the path and the runtime; an existing path is not split."""
    path, separator, name = text.rpartition("@")
    if not separator or not path or os.sep in name or "/" in name or Path(text).exists():
        return text, None
    return path, name
