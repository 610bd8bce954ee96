"""Checks of the installation and the machine, for `fairpress doctor`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from fairpress.core.version import __version__, installed_version
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.backends.registry import open_session


@dataclass(frozen=True)
class CheckResult:
    """One line of the diagnosis: the item, whether it works (None: absent and optional), and its version or the remedy."""

    what: str
    ok: bool | None
    detail: str


def diagnose() -> list[CheckResult]:
    """Check Python, the packages, the runtimes, the machine and the data folder.

    torch is not imported, which would take seconds; its version is read from its metadata.
    """
    findings = [
        CheckResult("fairpress", True, __version__),
        CheckResult(
            "Python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"
        ),
        _runtime(),
        _openvino(),
        _litert(),
        _packages("audit", ("duckdb", "numpy", "scipy"), None),
        _packages("report", ("jinja2",), None),
        _packages("charts of studies and searches", ("altair", "vl-convert-python"), "charts"),
        _packages("frames, logs, datasets", ("pyarrow",), "arrow"),
        _packages("images", ("pillow",), "onnx"),
        _packages(
            "train and compress", ("torch", "torchvision", "torchao", "onnxscript", "safetensors"), "torch"
        ),
        _packages("texts", ("tokenizers", "transformers"), "text"),
        _packages("export to phones, run .pte files", ("executorch", "torch", "torchao"), "executorch"),
        _packages("search", ("optuna",), "search"),
        _packages("read pandas frames", ("pandas",), "", install="pandas"),
        _packages("read polars frames", ("polars",), "", install="polars"),
        CheckResult("processor", True, _processor()),
        _accelerator(),
    ]
    folder = os.environ.get("FAIRPRESS_DATA")
    if folder is None:
        findings.append(CheckResult("FAIRPRESS_DATA", None, "not set; datasets are downloaded when needed"))
    else:
        present = Path(folder).is_dir()
        findings.append(
            CheckResult("FAIRPRESS_DATA", present, folder if present else f"{folder} is not a folder")
        )
    return findings


def all_passed(findings: Sequence[CheckResult]) -> bool:
    """Return whether no required item is broken; absent optional items do not count."""
    return all(finding.ok is not False for finding in findings)


def _packages(
    name: str, packages: Sequence[str], extra: str | None, install: str | None = None
) -> CheckResult:
    present = {}
    for package in packages:
        version = installed_version(package)
        if version is None:
            requirement = install or f"'fairpress[{extra}]'"
            remedy = f"python -m pip install {requirement}" if extra is not None else "reinstall fairpress"
            return CheckResult(
                name, None if extra is not None else False, f"{package} is not installed: {remedy}"
            )
        present[package] = version
    return CheckResult(name, True, ", ".join(f"{k} {v}" for k, v in present.items()))


def _runtime() -> CheckResult:
    """Check ONNX Runtime by running a network of one node."""
    absent = next((name for name in ("onnxruntime", "onnx") if util.find_spec(name) is None), None)
    if absent is not None:
        return CheckResult(
            "ONNX Runtime", None, f"{absent} is not installed: python -m pip install 'fairpress[onnx]'"
        )
    try:
        import onnx
        import onnxruntime

        works = _negates(Backend())
    except Exception as error:
        return CheckResult(
            "ONNX Runtime", False, f"does not run ({type(error).__name__}: {error}); reinstall onnxruntime"
        )
    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    return CheckResult(
        "ONNX Runtime", works, f"{onnxruntime.__version__} ({providers}), onnx {onnx.__version__}"
    )


def _openvino() -> CheckResult:
    """Check OpenVINO in the same way, and list the precisions that it supports on this processor."""
    from fairpress.runtime.backends import openvino

    if util.find_spec("openvino") is None:
        return CheckResult(
            "OpenVINO", None, "openvino is not installed: python -m pip install 'fairpress[openvino]'"
        )
    try:
        works = _negates(Backend("openvino"))
        can = ", ".join(c for c in openvino.capabilities() if c in ("FP32", "BF16", "FP16", "INT8"))
        return CheckResult("OpenVINO", works, f"{openvino.version()}, computes in {can}")
    except Exception as error:
        return CheckResult(
            "OpenVINO", False, f"does not run ({type(error).__name__}: {error}); reinstall openvino"
        )


def _litert() -> CheckResult:
    """Check LiteRT in the same way."""
    if util.find_spec("ai_edge_litert") is None:
        return CheckResult(
            "LiteRT", None, "ai-edge-litert is not installed: python -m pip install 'fairpress[litert]'"
        )
    from fairpress.runtime.external.engines.litert import negates

    try:
        works = negates(Backend("litert"))
        return CheckResult(
            "LiteRT", works, f"{installed_version('ai-edge-litert')} (XNNPACK), runs .tflite files"
        )
    except Exception as error:
        return CheckResult(
            "LiteRT", False, f"does not run ({type(error).__name__}: {error}); reinstall ai-edge-litert"
        )


def _negates(runtime: Backend) -> bool:
    import numpy as np

    from fairpress.runtime.benchmark.measure import one_node

    return bool(open_session(one_node(), runtime).run(np.ones((1, 1), np.float32))[0, 0] == -1.0)


def _processor() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [processor(), f"{cores} core{'s' if cores != 1 else ''}"]
    if "no VNNI" in parts[0]:
        parts.append(
            "no fast 8-bit integer instructions: INT8 is less of a speedup here, and its sums can saturate "
            "(@onnxruntime-exact shows whether that matters)"
        )
    memory = Path("/proc/meminfo")
    if memory.is_file():
        parts.append(f"{int(memory.read_text().split()[1]) / 2**20:.0f} GiB memory")
    return "; ".join(parts)


def _accelerator() -> CheckResult:
    if util.find_spec("torch") is None:
        return CheckResult("GPU", None, "unknown without torch; everything runs on the CPU")
    return CheckResult("GPU", None, "images train on it where torch finds one; tables with --device cuda")
