"""An audit of a large table against DuckDB's bare GROUP BY: ``python benchmarks/audit_scale.py [--csv] [--rows N] …``.

Both are whole processes, from their start to their end, that read the same file: ``fairpress audit``, and Python with DuckDB
alone, which finds delimiter and types of a CSV file by itself. They take turns, after one of each that warms the file cache.
Prints the median and the range of the seconds, the processor seconds (which other work on the machine hardly lengthens) and
the peak memory. Files are removed afterwards, unless they were named with ``--table``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

PIECE = 10**8
"""Rows of a file."""
WRITE = """
import duckdb, sys
path, rows, seed, columns, scored, form = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6]
scores = '(y + 2 * random()) / 3 AS p' if scored else 'y AS p'
models = '''(p >= 0.5)::INT AS fp32, (q >= 0.5)::INT AS int8, p AS "fp32.score", q AS "int8.score"''' if scored else '''
  CASE WHEN random() < 0.1 THEN 1 - y ELSE y END AS fp32, CASE WHEN random() < 0.12 THEN 1 - y ELSE y END AS int8'''
kinds = ["round(random(), 5)", "(random() * 10 ** {j})::INT", "'word ' || (random() * {i})::INT"]
others = "".join(f", {kinds[i % 3].format(i=i + 2, j=i % 6)} AS x{i}" for i in range(columns))
duckdb.sql("SET enable_progress_bar = false")
duckdb.sql("SET threads = 1")
duckdb.sql(f"SELECT setseed({seed / 1000})").fetchall()
duckdb.sql(f'''COPY (
  SELECT y AS label, sex, race, {models}{others}
  FROM (SELECT *, least(1, greatest(0, p + 0.02 * (random() - 0.5))) AS q FROM (SELECT *, {scores}
  FROM (SELECT (random() < 0.4)::INT AS y,
    CASE WHEN random() < 0.5 THEN 'Female' ELSE 'Male' END AS sex,
    ['A', 'B', 'C', 'D'][1 + (random() * 3.999)::INT % 4] AS race
    FROM range({rows}))))) TO '{path}' (FORMAT {form})''')
"""
BARE = """
import duckdb, sys
duckdb.sql("SET enable_progress_bar = false")
duckdb.sql(f"SELECT label, sex, race, fp32, int8, count(*) FROM '{sys.argv[1]}' GROUP BY ALL").fetchall()
"""
AUDIT = "from fairpress import cli; cli.main()"
OPTIONS = ["--baseline", "fp32", "--compressed", "int8", "--by", "sex,race,sex*race"]


def run(command: list[str]) -> tuple[float, float, float]:
    """Return seconds, processor seconds of all threads, and peak MiB of a process."""
    start = time.perf_counter()
    # An installed package has its byte code, whatever this machine has set.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:3]} failed.")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write(folder: Path, rows: int, form: str, columns: int, scored: bool) -> str:
    """Write the table, a file for each hundred million rows, and return the pattern of their names."""
    for i, first in enumerate(range(0, rows, PIECE)):
        path = folder / f"predictions{i}.{form}"
        arguments = [str(path), *map(str, (min(PIECE, rows - first), i, columns, int(scored))), form]
        subprocess.run([sys.executable, "-c", WRITE, *arguments], check=True)
    return str(folder / (f"predictions*.{form}" if rows > PIECE else f"predictions0.{form}"))


def spread(values: list[float], digits: int) -> str:
    """Return the median and the range of what was measured."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} … {max(values):,.{digits}f})"


def main() -> None:
    """Measure, several times each in turn, and print medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**8)
    parser.add_argument("--csv", action="store_true", help="a CSV file instead of Parquet")
    parser.add_argument(
        "--columns",
        type=int,
        default=0,
        help="further columns, which nobody asks for: fractions, whole numbers and texts in turn",
    )
    parser.add_argument("--scores", action="store_true", help="a score of either model, at full precision")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the file is written")
    parser.add_argument("--table", default=None, help="a table that was written before, or a pattern")
    options = parser.parse_args()
    form = "csv" if options.csv else "parquet"
    with nullcontext("") if options.table else tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table = options.table or write(Path(folder), options.rows, form, options.columns, options.scores)
        files = sorted(Path(table).parent.glob(Path(table).name))
        size = sum(path.stat().st_size for path in files)
        bare = [sys.executable, "-c", BARE, table]
        audit = [sys.executable, "-c", AUDIT, "audit", table, *OPTIONS]
        ours, peer = [], []
        for i in range(options.repeats + 1):
            found = run(bare), run(audit)
            if i:
                peer.append(found[0])
                ours.append(found[1])
    extra = f", {options.columns} further columns" if options.columns else ""
    print(f"{options.rows:,} rows of {form}{extra}, {size / 1e6:,.0f} MB; load {os.getloadavg()[0]:.1f}\n")
    print(f"| whole process, median of {options.repeats} (range) | seconds | processor seconds | peak MiB |")
    print("|---|--:|--:|--:|")
    names = {
        "fairpress audit, two models, sex, race, sex × race": ours,
        "DuckDB GROUP BY of the same columns": peer,
    }
    for name, found in names.items():
        seconds, spent, memory = (list(column) for column in zip(*found, strict=True))
        print(f"| {name} | {spread(seconds, 2)} | {spread(spent, 2)} | {spread(memory, 0)} |")
    ratios = [[a / b for a, b in zip(x[:2], y[:2], strict=True)] for x, y in zip(ours, peer, strict=True)]
    wall, spent = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"| ratio, median of pairs | {wall:.2f} | {spent:.2f} | |")


if __name__ == "__main__":
    main()
