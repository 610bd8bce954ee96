"""The interface of inference backends: name and options, a session, and how a backend computes the layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

Engine = Literal["onnxruntime", "openvino", "litert", "executorch"]
Variant = Literal["default", "exact", "bf16", "reference"]


@dataclass(frozen=True)
class Backend:
    """An engine and its options; `choose` creates one from a user's input.

    Attributes
    ----------
    threads
        Threads within an operator.
    provider
        Execution provider of ONNX Runtime without its suffix: ``"CPU"``, ``"CUDA"``.
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
    """An input of a file: `shape` starts with the batch dimension; free dimensions are ``None``."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Session(Protocol):
    """A loaded file with one input, ready to run."""

    @property
    def input(self) -> Input: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is needed to reproduce a run: ``runtime``, ``threads``, ``precision``, ``processor`` …"""
        ...

    def run(self, rows: np.ndarray) -> np.ndarray:
        """Return the first output [rows, …]."""
        ...


@dataclass(frozen=True)
class Kernels:
    """How a runtime executes the layers of a file on this machine.

    Attributes
    ----------
    integer, floating
        Numbers of convolutions and matrix products in integer and in floating-point arithmetic.
    conversions
        Number of conversions between floats and integers.
    """

    integer: int
    floating: int
    conversions: int


def prepare_file(data: bytes, runtime: Backend) -> bytes:
    """Return the network in a form that the runtime can read; usually the file unchanged."""
    from fairpress.runtime.onnx.compatibility import separate_constants, widen_two_bits

    if runtime.engine == "openvino":
        return widen_two_bits(data)
    return separate_constants(data) if runtime.variant == "exact" else data


@cache
def processor() -> str:
    """Return the processor's name and its fast 8-bit instructions, which determine how 8-bit products are summed."""
    import platform

    name, fast = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        cpu_info = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in reversed(lines))}
        name, fast = (
            cpu_info.get("model name", name),
            ", ".join(integer_instructions(cpu_info.get("flags", ""))),
        )
    return f"{name} ({fast or 'no VNNI'})" if platform.machine() in ("x86_64", "AMD64") else name


def sums_saturate() -> bool:
    """Return whether this processor adds products of 8-bit numbers in 16 bits, as x86 without VNNI does."""
    return processor().endswith("(no VNNI)")


def integer_instructions(flags: str) -> list[str]:
    """Return the fast 8-bit instructions of x86 in a line of CPU flags."""
    instruction_names = {
        "avx_vnni": "AVX-VNNI",
        "avx512_vnni": "AVX512-VNNI",
        "avx_vnni_int8": "AVX-VNNI-INT8",
        "amx_int8": "AMX",
    }
    present = set(flags.split())
    return [name for flag, name in instruction_names.items() if flag in present]
