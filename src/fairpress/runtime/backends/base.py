"""What a runtime is to the rest of the house: its name and options, a session, and what is known of how it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

Engine = Literal["onnxruntime", "openvino"]
Variant = Literal["default", "exact", "bf16"]


@dataclass(frozen=True)
class Backend:
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


def readable(data: bytes, runtime: Backend) -> bytes:
    """Return the same network in a form that the runtime reads; mostly the file as it is."""
    from fairpress.runtime.onnx.compatibility import separate_constants, widen_two_bits

    if runtime.engine == "openvino":
        return widen_two_bits(data)
    return separate_constants(data) if runtime.variant == "exact" else data


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
