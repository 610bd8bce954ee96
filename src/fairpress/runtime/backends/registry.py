"""The available inference backends: ``onnxruntime``, ``openvino``, ``litert`` and their variants."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import util
from pathlib import Path

from fairpress.core.errors import MissingExtra, UserError, did_you_mean
from fairpress.core.threads import checked_threads
from fairpress.runtime.backends.base import Backend, Kernels, Session

# One line each, for the help and doctor; users type the key after the @.
RUNTIMES: Mapping[str, str] = {
    "onnxruntime": "ONNX Runtime with its default options",
    "onnxruntime-exact": "ONNX Runtime, 8-bit sums that never saturate (slower on processors without VNNI)",
    "openvino": "OpenVINO, floats in 32 bits",
    "openvino-bf16": "OpenVINO, floats in bfloat16 where the processor has it",
    "litert": "LiteRT (TensorFlow Lite), .tflite files, with its XNNPACK delegate",
    "litert-reference": "LiteRT, its reference kernels, without XNNPACK (slow)",
    "executorch": "ExecuTorch, for .pte files, as on a phone's processor",
}
DEFAULT = "onnxruntime"


def choose(name: str = DEFAULT, *, threads: int = 1, provider: str = "CPU") -> Backend:
    """Return the backend with this name; the provider with or without its suffix, ``CUDA`` or ``CUDAExecutionProvider``.

    Raises
    ------
    UserError
        The runtime or provider is unknown, or `threads` is out of range.
    MissingExtra
        The runtime is not installed.
    """
    if name not in RUNTIMES:
        raise UserError(f"there is no runtime {name!r}." + did_you_mean(name, RUNTIMES))
    checked_threads(threads)
    provider = provider.removesuffix("ExecutionProvider")
    engine, _, variant = name.partition("-")
    if engine == "openvino":
        from fairpress.runtime.backends.openvino import require

        require(bf16=variant == "bf16")
        _refuse_provider(provider, "OpenVINO")
        return Backend("openvino", "bf16" if variant else "default", threads)
    if engine == "litert":
        if util.find_spec("ai_edge_litert") is None:
            raise MissingExtra("Running a .tflite file", "litert")
        _refuse_provider(provider, "LiteRT")
        return Backend("litert", "reference" if variant else "default", threads)
    if engine == "executorch":
        from fairpress.runtime.backends.executorch import require as require_executorch

        require_executorch()
        _refuse_provider(provider, "ExecuTorch")
        return Backend("executorch", threads=threads)
    from fairpress.runtime.backends.onnxruntime import providers

    available = providers()
    if provider not in available:
        raise UserError(
            f"this installation of ONNX Runtime has no provider {provider!r}, only {', '.join(available)}."
            + did_you_mean(provider, available)
        )
    return Backend("onnxruntime", "exact" if variant else "default", threads, provider)


def _refuse_provider(provider: str, title: str) -> None:
    if provider != "CPU":
        raise UserError(
            f"`provider={provider!r}` belongs to ONNX Runtime, and {title} runs on the CPU; omit one of the two."
        )


def kernels(data: bytes, runtime: Backend, batch: int | None = None) -> Kernels:
    """Count the kernels in the graph as optimized by the runtime, by OpenVINO for `batch` rows if given.

    Raises UserError if the runtime cannot load the file.
    """
    if runtime.engine == "openvino":
        from fairpress.runtime.backends import openvino

        return openvino.kernels(data, batch)
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
        The runtime cannot load ONNX files, or this one, or the file has several inputs.
    """
    if runtime.engine not in ("onnxruntime", "openvino"):
        raise UserError(
            f"it is an ONNX file, which @{runtime.name} does not load; use @onnxruntime or @openvino."
        )
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
