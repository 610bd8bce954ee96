"""Seconds of whole processes: an audit of 10,000 rows, beside one that imports NumPy and DuckDB and asks for a row.

    python benchmarks/start_up.py [--rounds 9]

The commands take turns. Printed are medians with the smallest and largest: processor seconds, wall seconds, and processor
seconds as a multiple of the peer's.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 10_000
PEER = "import numpy, duckdb; duckdb.sql('select 1').fetchall()"
AUDIT = (
    "audit",
    "rows.csv",
    "--by",
    "group",
    "--baseline",
    "base",
    "--compressed",
    "small",
    "--positive",
    "1",
)
COMMANDS = {
    "audit": AUDIT,
    "audit --html": (*AUDIT, "--html", "audit.html"),
    "--help": ("--help",),
    "--version": ("--version",),
    "doctor": ("doctor",),
}


def write_rows(path: Path) -> None:
    draw = np.random.default_rng(0)
    label, group = draw.integers(0, 2, ROWS), draw.choice(["a", "b", "c"], ROWS)
    base = np.where(draw.random(ROWS) < 0.85, label, 1 - label)
    small = np.where(draw.random(ROWS) < 0.93, base, 1 - base)
    lines = [f"{y},{g},{b},{s}" for y, g, b, s in zip(label, group, base, small, strict=True)]
    path.write_text("\n".join(["label,group,base,small", *lines]) + "\n", encoding="utf-8")


def seconds(command: list[str], folder: str) -> tuple[float, float]:
    """Return the processor and wall seconds of a process."""
    # An installed package has its byte code, whatever this machine has set.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, env=environment)
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    run = "from fairpress.cli import main; main()"
    processes = {"numpy + duckdb": [sys.executable, "-c", PEER]}
    processes |= {name: [sys.executable, "-c", run, *command] for name, command in COMMANDS.items()}
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows.csv")
        for number in range(rounds + 1):  # the first round compiles modules
            for name, command in processes.items():
                result = seconds(command, folder)
                if number:
                    measured[name].append(result)
    peer = statistics.median(cpu for cpu, _ in measured["numpy + duckdb"])
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {rounds} rounds")
    for name, results in measured.items():
        columns = [
            f"{statistics.median(x):.2f} [{min(x):.2f}, {max(x):.2f}]" for x in zip(*results, strict=True)
        ]
        ratio = statistics.median(cpu for cpu, _ in results) / peer
        print(f"{name:16} {columns[0]:>20} {columns[1]:>22} {ratio:6.1f}")


if __name__ == "__main__":
    main()
