"""Formats of external model files, and the runtimes that load them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fairpress.core.errors import UserError, listed
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.external.engines.base import FileEngine

# Suffix → what the file is called, and the runtimes that load it, the default one first.
FORMATS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    ".onnx": ("an ONNX file", ("onnxruntime", "onnxruntime-exact", "openvino", "openvino-bf16")),
    ".xml": ("an OpenVINO file", ("openvino", "openvino-bf16")),
    ".tflite": ("a LiteRT file", ("litert", "litert-reference")),
    ".pte": ("a program of ExecuTorch", ("executorch",)),
}


def runtimes_of(path: Path) -> tuple[str, ...]:
    """Return the names of the runtimes that load a file, by its suffix, the default one first. Raises UserError."""
    _, runtimes = FORMATS.get(path.suffix.lower(), ("", ()))
    if not runtimes:
        raise UserError(
            f"{path} is not a model file that fairpress runs; give a file that ends in {listed(list(FORMATS))}."
        )
    return runtimes


def default_runtime(path: Path, threads: int = 1) -> Backend:
    """Return the runtime that loads a file if none is named. Raises UserError if no runtime does."""
    from fairpress.runtime.backends.registry import choose

    return choose(runtimes_of(path)[0], threads=threads)


def check_runtime(path: Path, runtime: Backend) -> None:
    """Raise UserError if a runtime cannot load files of this format."""
    runtimes = runtimes_of(path)
    if runtime.name not in runtimes:
        title, _ = FORMATS[path.suffix.lower()]
        raise UserError(
            f"{path} is {title}, which runs on {listed(['@' + name for name in runtimes])}, not on @{runtime.name}."
        )


def load(path: Path, runtime: Backend) -> FileEngine:
    """Load a model file.

    Raises
    ------
    UserError
        The runtime cannot load the file, or files of this format.
    MissingExtra
        The runtime is not installed.
    """
    check_runtime(path, runtime)
    if runtime.engine == "litert":
        from fairpress.runtime.external.engines.litert import load_litert

        return load_litert(path, runtime)
    if runtime.engine == "openvino":
        from fairpress.runtime.external.engines.openvino import load_openvino

        return load_openvino(path, runtime)
    if runtime.engine == "executorch":
        from fairpress.runtime.external.engines.executorch import load_executorch

        return load_executorch(path, runtime)
    from fairpress.runtime.external.engines.onnx_runtime import load_onnx_runtime

    return load_onnx_runtime(path, runtime)


def load_to_time(path: Path, runtime: Backend) -> FileEngine:
    """Load a file that `load` has loaded before: without a trial, and with quantized values as the file holds them."""
    if runtime.engine == "litert":
        from fairpress.runtime.external.engines.litert import open_litert

        return open_litert(path, runtime, as_stored=True)
    if runtime.engine == "executorch":
        from fairpress.runtime.external.engines.executorch import open_executorch

        return open_executorch(path, runtime)
    return load(path, runtime)


def start(runtime: Backend) -> bool:
    """Start a runtime that runs no ONNX files, LiteRT on a network of one node, and return whether it was such a runtime.

    The start-up cost of a runtime is not attributed to a model.
    """
    if runtime.engine == "executorch":
        from fairpress.runtime.backends.executorch import library

        library()
        return True
    if runtime.engine != "litert":
        return False
    from fairpress.runtime.external.engines.litert import negates

    negates(runtime)
    return True


def files_of(path: Path) -> list[Path]:
    """Return the files that a model file consists of: itself, and the weights beside it."""
    weights = path.with_suffix(".bin")
    return [path, weights] if path.suffix.lower() == ".xml" and weights.is_file() else [path]
