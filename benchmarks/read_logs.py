"""Reading logs of lm-evaluation-harness: ``python benchmarks/read_logs.py [--items N]``.

Writes samples of two models on four choices (1.7 kB a line, in the format of lm-eval 0.4.13), reads them as a table and
audits it, each in a process of its own after one reading that warms the file cache. Prints seconds, processor seconds (which
other work on the machine hardly lengthens) and peak memory. The logs are removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

REPEATS = 3
DATE = "2026-11-30T12-00-00.000000"
MEASURED = """
import resource, sys, time
import fairpress as fp
import duckdb, pyarrow.compute
logs = {name: f"{sys.argv[1]}/{name}" for name in ("base", "q4")}
start, before = time.perf_counter(), time.process_time()
table = fp.read_lm_eval(logs)
read, spent = time.perf_counter() - start, time.process_time() - before
start = time.perf_counter()
fp.audit(table, by=["category"])
audited = time.perf_counter() - start
print(read, spent, audited, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, table.num_rows)
"""


def write_log(folder: Path, model: int, items: int) -> int:
    """Write the samples of a model, and return their size in bytes; all models have the same items."""
    folder.mkdir(parents=True)
    path = folder / f"samples_toy_{DATE}.jsonl"
    answers = random.Random(model)
    filler = "and so on, with as many words as a short question has " * 3
    with path.open("w", encoding="utf-8") as file:
        for i in range(items):
            question, right = f"Question {i} {filler}", i % 4
            scores = [-10 * answers.random() + 4 * (k == right) for k in range(4)]
            prompt = f"{question}\nAnswer:"
            line = {
                "doc_id": i,
                "doc": {"question": question, "answer": right, "category": f"c{i % 7}"},
                "target": str(right),
                "arguments": {f"gen_args_{k}": {"arg_0": prompt, "arg_1": f" {'ABCD'[k]}"} for k in range(4)},
                "resps": [[[str(s), "False"]] for s in scores],
                "filtered_resps": [[str(s), "False"] for s in scores],
                "filter": "none",
                "metrics": ["acc"],
                **{f"{part}_hash": f"{part}{i:060d}" for part in ("doc", "prompt", "target")},
                "acc": float(scores.index(max(scores)) == right),
            }
            file.write(json.dumps(line) + "\n")
    return path.stat().st_size


def main() -> None:
    """Write, read several times, and print the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=500_000, help="items of each of the two models")
    parser.add_argument("--folder", type=Path, default=None, help="where the logs are written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        size = sum(write_log(Path(folder, name), i, options.items) for i, name in enumerate(("base", "q4")))
        runs = []
        for _ in range(1 + REPEATS):
            command = [sys.executable, "-c", MEASURED, folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(tuple(map(float, done.stdout.split())))
    read, spent, audited, memory, rows = (min(column) for column in zip(*runs[1:], strict=True))
    print(f"{2 * rows:,.0f} lines of two models, {size / 1e6:,.0f} MB; best of {REPEATS}\n")
    print("| | seconds | processor seconds |\n|---|--:|--:|")
    print(f"| read and paired | {read:.1f} | {spent:.1f} |")
    print(f"| audited by seven categories | {audited:.1f} | |")
    print(f"\npeak memory {memory:,.0f} MiB")


if __name__ == "__main__":
    main()
