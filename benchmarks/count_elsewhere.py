"""The cells of one Parquet table, counted by fairpress, Spark and Ray Data: ``python benchmarks/count_elsewhere.py``.

Each is a process of its own on this machine, from its start to its end, which writes the cells that `fairpress audit` reads;
they take turns, and their cells are compared. Prints the median and the range of the seconds, the processor seconds of all
processes that were started (reaped or sampled, whichever is more), and the largest sum of their resident memory (with
what they share counted in each).
Needs ``pyspark`` with Java 17 or later, and ``ray[data]``; a program that is not installed is left out.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import duckdb
from audit_scale import spread, write

COLUMNS = ["label", "sex", "race", "fp32", "int8"]
FAIRPRESS = """
import sys, fairpress
fairpress.export_cells(sys.argv[1], sys.argv[2], baseline="fp32", compressed=["int8"], by=["sex", "race"])
"""
SPARK = f"""
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
cells = spark.read.parquet(sys.argv[1]).groupBy({COLUMNS}).count().withColumnRenamed("count", "fairpress.rows")
import pyarrow.parquet as pq
pq.write_table(cells.toArrow(), sys.argv[2])
spark.stop()
"""
RAY = f"""
import glob, sys
import pyarrow as pa, pyarrow.parquet as pq, ray
ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False)
ray.data.DataContext.get_current().enable_progress_bars = False
def count(rows):
    return rows.group_by({COLUMNS}).aggregate([([], "count_all")])
parts = ray.data.read_parquet(sorted(glob.glob(sys.argv[1]))).map_batches(count, batch_format="pyarrow", batch_size=None)
parts = pa.concat_tables([ray.get(r) for r in parts.to_arrow_refs()])
cells = parts.group_by({COLUMNS}).aggregate([("count_all", "sum")])
pq.write_table(cells.rename_columns([*{COLUMNS}, "fairpress.rows"]), sys.argv[2])
ray.shutdown()
"""
PROGRAMS = {"fairpress": (FAIRPRESS, "duckdb"), "Spark": (SPARK, "pyspark"), "Ray Data": (RAY, "ray")}
SUBREAPER = 36


def adopt_orphans() -> None:
    """Let processes whose parent ends become this one's, so that their processor time is counted."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1)


def descendants() -> list[int]:
    """Return the processes that this one started, and those that they started."""
    parents = {}
    for entry in os.listdir("/proc"):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except (ValueError, OSError):
            continue
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def sampled(spent: dict[tuple[str, str], float]) -> float:
    """Return the resident memory of all descendants, in MiB, and note in `spent` the processor seconds of each."""
    pages = 0
    for process in descendants():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pages += int(fields[21])
        spent[str(process), fields[19]] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return pages * resource.getpagesize() / 2**20


def run(command: list[str]) -> tuple[float, float, float]:
    """Return seconds, processor seconds and the peak of resident memory of a process and all that it starts."""
    before, peak, ended = resource.getrusage(resource.RUSAGE_CHILDREN), [0.0], threading.Event()
    spent: dict[tuple[str, str], float] = {}

    def sample() -> None:
        while not ended.wait(0.1):
            peak[0] = max(peak[0], sampled(spent))

    sampler = threading.Thread(target=sample)
    sampler.start()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    status = process.wait()
    elapsed = time.perf_counter() - start
    ended.set()
    sampler.join()
    if status:
        raise SystemExit(f"{command[1:2]} failed.")
    try:
        while True:  # daemons that outlive their parent for a moment
            os.wait()
    except ChildProcessError:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Ray's daemon lets the system reap its workers, whose time then counts nowhere else; samples miss the last moment.
    reaped = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed, max(reaped, sum(spent.values())), peak[0]


def cells_of(path: Path) -> list[tuple[object, ...]]:
    """Return the cells that a program wrote, sorted."""
    names = ", ".join(f'"{c}"::VARCHAR' for c in COLUMNS)
    rows = f"SELECT {names}, \"fairpress.rows\"::BIGINT FROM read_parquet('{path}') ORDER BY ALL"
    return duckdb.sql(rows).fetchall()


def main() -> None:
    """Measure each program in turn, compare the cells, and print a table for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**7, 10**8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where the tables are written")
    options = parser.parse_args()
    adopt_orphans()
    programs = {n: code for n, (code, module) in PROGRAMS.items() if find_spec(module)}
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            table, out = write(Path(folder), rows, "parquet", 0, False), Path(folder) / "cells.pq"
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in programs}
            expected = None
            for _ in range(options.repeats):
                for name, code in programs.items():
                    out.unlink(missing_ok=True)
                    found[name].append(run([sys.executable, "-c", code, table, str(out)]))
                    expected = expected or cells_of(out)
                    if cells_of(out) != expected:
                        raise SystemExit(f"{name} counts other cells.")
        print(f"\n{rows:,} rows, {len(expected or [])} cells; load {os.getloadavg()[0]:.1f}\n")
        print(f"| median of {options.repeats} (range) | seconds | processor seconds | resident MiB |")
        print("|---|--:|--:|--:|")
        for name, results in found.items():
            seconds, spent, memory = (list(column) for column in zip(*results, strict=True))
            print(
                f"| {name} | {spread(seconds, 1)} | {spread(spent, 1)} | {statistics.median(memory):,.0f} |"
            )


if __name__ == "__main__":
    main()
