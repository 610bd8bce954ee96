"""Run a program in a process in which the packages of some extras are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODELS = ("onnx", "onnx_ir", "onnxruntime", "PIL")
EXTRAS = (*MODELS, "altair", "vl_convert", "pyarrow", "torch", "pandas", "polars", "openvino")

_HIDE = """
import importlib.util, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
find_spec = importlib.util.find_spec
from importlib import metadata
version, renamed = metadata.version, {{"PIL": "pillow", "vl_convert": "vl-convert-python"}}
names = [renamed.get(n, n).replace("_", "-") for n in {hidden!r}]
def absent(name):
    if name in names:
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = absent
importlib.util.find_spec = lambda name, package=None: None if name in {hidden!r} else find_spec(name, package)
"""


def run_without(
    program: str, hidden: tuple[str, ...] = EXTRAS, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python program without the hidden packages."""
    command = [sys.executable, "-c", _HIDE.format(hidden=hidden) + program]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def run_command(
    *arguments: str, hidden: tuple[str, ...] = EXTRAS, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of fairpress without the hidden packages."""
    program = f"from fairpress.cli import main\nmain({list(arguments)!r})\n"
    return run_without(program, hidden, folder)
