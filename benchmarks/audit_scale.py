"""The audit of a large Parquet file against DuckDB's bare GROUP BY: ``python benchmarks/audit_scale.py [--rows N]``.

Both read the same file from the same folder, each in a process of its own, after one reading that warms the file cache.
Prints seconds, processor seconds (which other work on the machine hardly lengthens), their ratios, and the peak memory of
each process. The file (less than a byte a row) is removed afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

REPEATS = 5
WRITE = """
import duckdb, sys
duckdb.sql("SET enable_progress_bar = false")
duckdb.sql(f'''COPY (
  SELECT y AS label, sex, race,
    CASE WHEN random() < 0.1 THEN 1 - y ELSE y END AS fp32,
    CASE WHEN random() < 0.12 THEN 1 - y ELSE y END AS int8
  FROM (SELECT (random() < 0.4)::INT AS y,
    CASE WHEN random() < 0.5 THEN 'Female' ELSE 'Male' END AS sex,
    ['A', 'B', 'C', 'D'][1 + (random() * 3.999)::INT % 4] AS race
    FROM range({int(sys.argv[2])}))) TO '{sys.argv[1]}' (FORMAT parquet)''')
"""
BARE = """
duckdb.sql("SET enable_progress_bar = false")
rows = duckdb.sql(f"SELECT label, sex, race, fp32, int8, count(*) FROM '{path}' GROUP BY ALL").fetchall()
"""
AUDIT = """
from fairpress.auditing.audit import audit
found = audit(path, baseline="fp32", compressed=["int8"], by=["sex", "race", "sex*race"])
"""
MEASURED = """
import resource, sys, time
path = sys.argv[1]
{imports}
start, before = time.perf_counter(), time.process_time()
{work}
spent = time.process_time() - before
print(time.perf_counter() - start, spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(work: str, imports: str, path: Path) -> tuple[float, float, float]:
    """Return seconds (without imports), processor seconds of all threads, and peak MiB of a process."""
    code = MEASURED.format(work=work, imports=imports)
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    elapsed, spent, memory = map(float, done.stdout.split())
    return elapsed, spent, memory


def main() -> None:
    """Measure, several times each in turn, and print the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**8)
    parser.add_argument("--folder", type=Path, default=None, help="where the file is written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "predictions.parquet"
        subprocess.run([sys.executable, "-c", WRITE, str(path), str(options.rows)], check=True)
        size = path.stat().st_size
        ours, bare = [], []
        run(BARE, "import duckdb", path)
        for _ in range(REPEATS):
            bare.append(run(BARE, "import duckdb, pyarrow", path))
            ours.append(run(AUDIT, "import fairpress.auditing.audit, duckdb, pyarrow.compute", path))
    print(f"{options.rows:,} rows of Parquet, {size / 1e6:,.0f} MB\n")
    print(f"| best of {REPEATS} | seconds | processor seconds | peak MiB |\n|---|--:|--:|--:|")
    (a, u, x), (b, v, y) = (
        tuple(min(column) for column in zip(*found, strict=True)) for found in (ours, bare)
    )
    print(f"| fairpress audit, two models, sex, race, sex × race | {a:.2f} | {u:.2f} | {x:,.0f} |")
    print(f"| DuckDB GROUP BY of the same columns | {b:.2f} | {v:.2f} | {y:,.0f} |")
    print(f"| ratio | {a / b:.2f} | {u / v:.2f} | |")


if __name__ == "__main__":
    main()
