"""One query, two engines: the cells that DuckDB and Spark count, and how long they take.

    python benchmarks/warehouse_cells.py [--rows 10000000] [--folder FOLDER]

Needs fairpress[warehouse], `ibis-framework[pyspark]` and Java 17. Both read the same Parquet file by the address that a
user would type, in one process, in turns; the first turn of each, which starts the engine, is told apart. All cells and
the whole audit must be equal.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import duckdb

from fairpress.auditing.audit import audit
from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.open_source import open_source

REPEATS = 5
ASKED = {"by": ["sex", "race", "age"], "bins": {"age": [25.0, 45.0]}, "weight": "weight"}
WRITE = """
COPY (SELECT CASE WHEN y THEN 'yes' ELSE 'no' END AS label, sex, race, age, weight,
    CASE WHEN (random() < 0.1) != y THEN 'yes' ELSE 'no' END AS fp32,
    CASE WHEN (random() < 0.12) != y THEN 'yes' ELSE 'no' END AS int8
  FROM (SELECT random() < 0.4 AS y,
    CASE WHEN random() < 0.5 THEN 'Female' ELSE 'Male' END AS sex,
    ['A', 'B', 'C', NULL][1 + (i % 4)] AS race,
    18.0 + floor(random() * 60) AS age, 1.0 + (i % 5) AS weight
    FROM range({rows}) AS r(i))) TO '{path}' (FORMAT parquet)
"""


def make(path: Path, rows: int) -> None:
    """Write random rows: missing groups, a number to cut into bins, weights."""
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SELECT setseed(0.5)")
        connection.execute(WRITE.format(path=path, rows=rows))


def addresses(path: Path) -> dict[str, str]:
    """Return engine → the address of the same file; DuckDB has a view of it."""
    database = path.with_suffix(".db")
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"CREATE VIEW predictions AS SELECT * FROM '{path}'")
    return {"DuckDB": f"duckdb://{database}/predictions", "Spark": f"pyspark://{path}"}


def cells(address: str) -> dict[tuple[object, ...], tuple[float, ...]]:
    """Return the combinations of groups, label and predictions with their rows, weights and squares of weights."""
    found = count(open_source(address), label="label", models=["fp32", "int8"], **ASKED)  # type: ignore[arg-type]
    told = {}
    for i in range(len(found.rows)):
        groups = tuple(a.names[a.codes[i]] for a in found.attributes.values())
        classes = (found.label[i], *(p[i] for p in found.predicted.values()))
        key = (*groups, *(found.classes[c] for c in classes))
        told[key] = (float(found.rows[i]), float(found.weight[i]), float(found.weight_squares[i]))
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the file is written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder) / "predictions.parquet"
        make(path, asked.rows)
        where = addresses(path)
        found: dict[str, dict[tuple[object, ...], tuple[float, ...]]] = {}
        seconds: dict[str, list[float]] = {name: [] for name in where}
        for _ in range(REPEATS + 1):
            for name, address in where.items():
                started = time.perf_counter()
                found[name] = cells(address)
                seconds[name].append(time.perf_counter() - started)
        assert found["DuckDB"] == found["Spark"]
        whole = {n: audit(a, baseline="fp32", compressed=["int8"], **ASKED) for n, a in where.items()}  # type: ignore[arg-type]
        assert whole["DuckDB"].comparisons == whole["Spark"].comparisons
        rows = sum(n for n, _, _ in found["Spark"].values())
        print(
            f"{rows:,.0f} rows, {path.stat().st_size / 1e6:.0f} MB, {len(found['Spark'])} cells, all equal; audits equal\n"
        )
        print("engine | first, s | then, median of 5, s | from … to\n---|---|---|---")
        for name, (first, *then) in seconds.items():
            print(f"{name} | {first:.2f} | {statistics.median(then):.2f} | {min(then):.2f} … {max(then):.2f}")
        ratio = statistics.median(
            s / d for s, d in zip(seconds["Spark"][1:], seconds["DuckDB"][1:], strict=True)
        )
        print(f"\nSpark takes {ratio:.1f} times as long as DuckDB, median of the pairs")


if __name__ == "__main__":
    main()
