"""`benchmarks/kills.py` in the suite: a few kills of what it makes a hundred of."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kills.py"


def kill(where: str, kills: int, folder: Path) -> None:
    """Fail unless a study that was killed so often has the results of one that was not, and left nothing behind."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found through /proc")
    with tempfile.TemporaryDirectory(
        prefix="ray-"
    ) as short:  # Ray's sockets lie deep, and have 107 bytes of path
        off = {"TMPDIR": str(folder), "RAY_TMPDIR": short, "RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(
            [sys.executable, str(BENCHMARK), "--kills", str(kills), "--where", where],
            env={**os.environ, **off},
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"| kills | {kills} in " in done.stdout
    assert "| files that differ from the undisturbed run | 0 |" in done.stdout
    assert "| left behind | 0 |" in done.stdout
