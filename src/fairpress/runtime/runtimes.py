"""What runs a file, and under which options: ``onnxruntime``, ``openvino`` and their variants."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from fairpress.core.errors import UserError, did_you_mean

Engine = Literal["onnxruntime", "openvino"]
Variant = Literal["default", "exact", "bf16"]

# One line each, for --help and doctor; the key is what a user types after the @.
RUNTIMES: Mapping[str, str] = {
    "onnxruntime": "ONNX Runtime with its default options",
    "onnxruntime-exact": "ONNX Runtime, 8-bit sums that never saturate (slower on processors without VNNI)",
    "openvino": "OpenVINO, floats in 32 bits",
    "openvino-bf16": "OpenVINO, floats in bfloat16 where the processor has it",
}
DEFAULT = "onnxruntime"


@dataclass(frozen=True)
class Runtime:
    """An engine and its options; `choose` makes one from what a user types.

    Attributes
    ----------
    threads
        Threads within an operator.
    provider
        Execution provider of ONNX Runtime without its ending: ``"CPU"``, ``"CUDA"``.
    """

    engine: Engine = "onnxruntime"
    variant: Variant = "default"
    threads: int = 1
    provider: str = "CPU"

    @property
    def name(self) -> str:
        return self.engine if self.variant == "default" else f"{self.engine}-{self.variant}"


@dataclass(frozen=True)
class Input:
    """An input of a file: `shape` starts with the batch; what the file leaves free is ``None``."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Session(Protocol):
    """A loaded file with one input, ready to run."""

    @property
    def input(self) -> Input: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a reader must know to run it again: ``runtime``, ``threads``, ``precision``, ``processor`` …"""
        ...

    def run(self, rows: np.ndarray) -> np.ndarray:
        """Return the first output [rows, …]."""
        ...


def choose(name: str = DEFAULT, *, threads: int = 1, provider: str = "CPU") -> Runtime:
    """Return the runtime a user named.

    Raises
    ------
    UserError
        There is no such runtime or provider, or fewer than one thread.
    MissingExtra
        OpenVINO is not installed.
    """
    if name not in RUNTIMES:
        raise UserError(f"there is no runtime {name!r}." + did_you_mean(name, RUNTIMES))
    if threads < 1:
        raise UserError(f"a model needs at least one thread, not {threads}; say --threads 1 or more.")
    engine, _, variant = name.partition("-")
    if engine == "openvino":
        from fairpress.runtime.openvino import require

        require(bf16=variant == "bf16")
        if provider != "CPU":
            raise UserError(
                f"--provider {provider} is one of ONNX Runtime's; OpenVINO runs on the CPU here. Leave one of them away."
            )
        return Runtime("openvino", "bf16" if variant else "default", threads)
    from fairpress.runtime.session import providers

    known = providers()
    if provider not in known:
        raise UserError(
            f"this installation of ONNX Runtime has no provider {provider!r}." + did_you_mean(provider, known)
        )
    return Runtime("onnxruntime", "exact" if variant else "default", threads, provider)


@dataclass(frozen=True)
class Kernels:
    """How a runtime computes the layers of a file on this machine.

    Attributes
    ----------
    integer, floating
        Convolutions and matrix products in integers, and in floats.
    conversions
        Steps between floats and integers.
    """

    integer: int
    floating: int
    conversions: int


def kernels(data: bytes, runtime: Runtime) -> Kernels:
    """Look at the graph as the runtime has optimised it. Raises UserError where it cannot load the file."""
    if runtime.engine == "openvino":
        from fairpress.runtime import openvino

        return openvino.kernels(data)
    from fairpress.runtime import session

    return session.kernels(data)


def readable(data: bytes, runtime: Runtime) -> bytes:
    """Return the same network in a form that the runtime reads; mostly the file as it is."""
    from fairpress.runtime.rewrite import constants_apart, widen_two_bits

    if runtime.engine == "openvino":
        return widen_two_bits(data)
    return constants_apart(data) if runtime.variant == "exact" else data


def open_session(data: bytes | Path, runtime: Runtime, batch: int | None = None) -> Session:
    """Load a file.

    Parameters
    ----------
    data
        The bytes of an ONNX file with one input; or the path of a file that the runtime reads as it stands (`readable`).
    batch
        Rows of every call, where they are known: OpenVINO plans better for a fixed number.

    Raises
    ------
    UserError
        The runtime cannot load the file, or it has several inputs.
    """
    if runtime.engine == "openvino":
        from fairpress.runtime.openvino import OpenVinoSession

        return OpenVinoSession(data, runtime, batch)
    from fairpress.runtime.session import OnnxRuntimeSession

    return OnnxRuntimeSession(data, runtime)


def split_suffix(text: str) -> tuple[str, str | None]:
    """Split ``int8/@openvino`` into the path and the runtime; a path that exists as it stands has no suffix."""
    path, at, name = text.rpartition("@")
    if not at or not path or os.sep in name or "/" in name or Path(text).exists():
        return text, None
    return path, name


def processor() -> str:
    """Name the processor and its fast 8-bit instructions: they decide how 8-bit products are summed."""
    import platform

    name, fast = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        found = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in reversed(lines))}
        name, fast = found.get("model name", name), ", ".join(integer_instructions(found.get("flags", "")))
    return f"{name} ({fast or 'no VNNI'})" if platform.machine() in ("x86_64", "AMD64") else name


def integer_instructions(flags: str) -> list[str]:
    """Return which of x86's fast 8-bit instructions a line of flags has."""
    known = {
        "avx_vnni": "AVX-VNNI",
        "avx512_vnni": "AVX512-VNNI",
        "avx_vnni_int8": "AVX-VNNI-INT8",
        "amx_int8": "AMX",
    }
    has = set(flags.split())
    return [name for flag, name in known.items() if flag in has]
