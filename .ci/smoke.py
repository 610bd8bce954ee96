"""Run every command that needs no more than the extra `onnx`: a list for the oldest, the newest and other Pythons' packages.

``VENV/bin/python .ci/smoke.py`` in any environment where fairpress is installed; it needs nothing else. Exits with 1 when a
command ends with another code than it should, or does not say or write what it should.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

SECONDS = 300
PROGRAM = "from fairpress.cli import main; main()"
COMMANDS = (
    *(
        "audit",
        "bench",
        "compress",
        "dashboard",
        "data",
        "demo",
        "doctor",
        "mitigate",
        "predict",
        "report",
        "search",
        "show",
    ),
    *("study", "train", "data check", "data fetch", "data list", "study check", "study export", "study list"),
    *("study mlflow", "study plan", "study run", "study schema", "gate", "plan", "compare-audits"),
)
HELP = """
import sys
from fairpress.cli import main
for command in {commands!r}:
    sys.argv = ["fairpress", *command.split(), "--help"]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{{command}} --help: {{end.code}}")
    print("shown:", command)
"""
LIBRARY = """
import fairpress as fp, pyarrow.parquet as pq
report = fp.audit(pq.read_table("demo/predictions.csv.parquet"), baseline="fp32", compressed=["int4"], by=["sex"])
print(report.verdict)
"""
PEOPLE, COLUMNS = 600, ("a", "b", "c", "d")
TABLE = 'path: people.csv\nlabel: y\npositive: "yes"\nfeatures: [a, b, c, d]\nsensitive: [sex]\n'

POLICY = """
schema: fairpress.policy/1
harm: error
margins: {error: {margin: 2pp, reason: a test}}
by: [sex]
require: all-assessed
signed: {name: A. Person, date: 2025-11-02, reason: a test}
"""
FACES = 'path: faces.csv\nimage: file\nlabel: y\npositive: "yes"\nsensitive: [sex]\nsize: 16\n'


@dataclass(frozen=True)
class Check:
    """A command, its exit code, what it says on standard output, and the files it leaves (with how many bytes at least)."""

    arguments: tuple[str, ...]
    says: tuple[str, ...] = ()
    code: int = 0
    writes: tuple[str, ...] = ()
    holds: Callable[[Path, str], bool] = lambda folder, out: True


def people(folder: Path) -> None:
    """A table whose label is, up to noise, whether a + b is above 0."""
    draw = random.Random(0)
    lines = [",".join((*COLUMNS, "sex", "y"))]
    for _ in range(PEOPLE):
        values = [round(draw.gauss(0, 1), 4) for _ in COLUMNS]
        label = "yes" if values[0] + values[1] + draw.gauss(0, 0.5) > 0 else "no"
        lines.append(",".join([*map(str, values), "F" if draw.random() < 0.2 else "M", label]))
    (folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "people.yaml").write_text(TABLE, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")


def faces(folder: Path) -> None:
    """Forty pictures of noise and a table of them."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    lines = ["file,sex,y"]
    for i in range(40):
        Image.fromarray(draw.integers(0, 255, (20, 24, 3), np.uint8)).save(
            folder / f"{i}.{'png' if i % 2 else 'jpg'}"
        )
        lines.append(f"{i}.{'png' if i % 2 else 'jpg'},{'FM'[i % 4 > 1]},{'no' if i % 3 else 'yes'}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "faces.yaml").write_text(FACES, encoding="utf-8")


def network(path: Path, opset: int, ir: int) -> None:
    """A network of two layers of the same decision."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)
    direction = np.array([1, 1, 0, 0], np.float32) / np.sqrt(2)
    score = np.maximum(first.T @ direction, 0) - np.maximum(-first.T @ direction, 0)
    second = (np.stack([-score, score], 1) * 8 / 512).astype(np.float32)
    weights = [numpy_helper.from_array(w, n) for w, n in ((first, "w1"), (second, "w2"))]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2"], ["z"], name="last"),
    ]
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 4), ("z", 2))]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)


def parquet(folder: Path, out: str) -> bool:
    """Keep the predictions as Parquet too, for the check of the library; they have a row per test person and a score."""
    from pyarrow import csv
    from pyarrow import parquet as pq

    pq.write_table(
        csv.read_csv(folder / "demo" / "predictions.csv"), folder / "demo" / "predictions.csv.parquet"
    )
    return True


def alike(folder: Path, out: str) -> bool:
    """The compressed networks decide as the first one does, but for a few rows."""
    from pyarrow import parquet as pq

    table = pq.read_table(folder / "p.parquet").to_pydict()
    rows = len(table["base"])
    flips = {m: sum(a != b for a, b in zip(table["base"], table[m], strict=True)) for m in ("q", "dyn", "w")}
    return rows > 100 and set(table["base"]) == {"no", "yes"} and all(n <= 0.1 * rows for n in flips.values())


def verdict(folder: Path, out: str) -> bool:
    report = json.loads(out)
    for name in ("v1.json", "v2.json"):
        (folder / name).write_text(out, encoding="utf-8")
    return "harm" in json.dumps(report) and report.get("schema") is not None


def onnx_files(recipe: str, name: str) -> Check:
    arguments = (
        "compress",
        "base.onnx",
        "--data",
        "people.yaml",
        "--recipe",
        recipe,
        "--out",
        f"{name}.onnx",
    )
    return Check(
        arguments, ("smaller",), writes=(f"{name}.onnx", f"{name}.model.yaml", f"{name}.report.json")
    )


AUDIT = (
    "audit",
    "demo/predictions.csv",
    "--baseline",
    "fp32",
    "--compressed",
    "int8,int4",
    "--by",
    "sex,sex*age_group",
)
PAIR = ("--baseline", "fp32", "--compressed", "int8")
FILES = ("base=base.onnx", "q=q.onnx", "dyn=dyn.onnx", "w=w.onnx")
# Those of one list need those of the lists before; within a list the order is free.
CHECKS: tuple[tuple[Check, ...], ...] = (
    (
        Check(("--version",), (metadata.version("fairpress"),)),
        Check(
            ("demo", "--out", "demo"),
            ("int8", "int4", "harm"),
            writes=("demo/predictions.csv", "demo/report.html"),
            holds=parquet,
        ),
        Check(("doctor",), ("onnx", "duckdb", "pyarrow")),
        Check(("data", "list"), ("compas",)),
        Check(("data", "check", "people.yaml"), ("sex",)),
        Check(("data", "check", "faces.yaml"), ("40",)),
        Check(("study", "list"), ("compas",)),
        Check(("study", "check", "compas")),
        Check(("study", "schema"), ('"properties"',), holds=lambda _, out: bool(json.loads(out))),
        Check(("audit", "nothing.csv", "--baseline", "a", "--by", "b"), code=2),
        Check(("predict", "base=base.onnx", "--data", "people.yaml", "--dry-run"), ("activation",)),
        onnx_files("int8", "q"),
        onnx_files("int8-dynamic", "dyn"),
        onnx_files("w4", "w"),
        Check(("predict", "old=old.onnx", "--data", "people.yaml", "--out", "old.parquet"), writes=("old.parquet",)),
    ),
    (
        Check(
            (*AUDIT, "--markdown", "a.md", "--latex", "a.tex", "--export-cells", "c.parquet", "--json", "--fail-on", "harm"),
            code=1,
            writes=("a.md", "a.tex", "c.parquet"),
            holds=verdict,
        ),
        Check(("plan", "--table", "demo/predictions.csv", "--by", "sex", *PAIR), ("Female",)),
        Check(("gate", "demo/predictions.csv", "--policy", "policy.yaml", *PAIR)),
        Check(
            ("predict", *FILES, "--data", "people.yaml", "--out", "p.parquet"),
            writes=("p.parquet",),
            holds=alike,
        ),
        Check(("bench", "base.onnx", "q.onnx", "--seconds", "1", "--rounds", "7", "--batch", "1", "--json"), ('"base"',)),
    ),
    (
        Check(("audit", "c.parquet", "--baseline", "fp32", "--compressed", "int4", "--by", "sex"), ("int4",)),
        Check(("audit", "p.parquet", "--baseline", "base", "--compressed", "q,w", "--by", "sex"), ("q",)),
        Check(("compare-audits", "v1.json", "v2.json"), ("int4",)),
        Check(("show", "q.onnx"), ("none is embedded",)),
    ),
)  # fmt: skip


def run(folder: Path, *command: str) -> tuple[int, str, str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def wrong(folder: Path, check: Check) -> str:
    """Return what is not as it should be, or nothing."""
    try:
        code, out, err = run(folder, "-c", PROGRAM, *check.arguments)
    except subprocess.TimeoutExpired:
        return f"does not end within {SECONDS} seconds"
    if code != check.code:
        return f"exit code {code}, not {check.code}\n{out[-1000:]}{err[-3000:]}"
    missing = [text for text in check.says if text.casefold() not in " ".join(out.split()).casefold()]
    if missing:
        return f"does not say {missing}\n{out[-3000:]}{err[-1000:]}"
    unwritten = [
        name for name in check.writes if not (folder / name).is_file() or not (folder / name).stat().st_size
    ]
    if unwritten:
        return f"did not write {unwritten}\n{out[-1000:]}{err[-1000:]}"
    return "" if check.holds(folder, out) else f"what it says or wrote is wrong\n{out[-3000:]}"


def main() -> int:
    begun = time.monotonic()
    failures = []
    done = 0
    with tempfile.TemporaryDirectory(prefix="fairpress-smoke-") as name, ThreadPoolExecutor(2) as pool:
        folder = Path(name)
        people(folder)
        faces(folder)
        network(folder / "base.onnx", opset=21, ir=10)
        network(folder / "old.onnx", opset=13, ir=7)
        helped = pool.submit(run, folder, "-c", HELP.format(commands=COMMANDS))
        for checks in CHECKS:
            for check, found in zip(checks, pool.map(lambda c: wrong(folder, c), checks), strict=True):
                done += 1
                if found:
                    failures.append(f"fairpress {' '.join(check.arguments)}: {found}")
        code, out, err = helped.result()
        if code or f"\n{out}".count("\nshown: ") != len(COMMANDS):
            failures.append(f"--help: {code}\n{err[-3000:]}")
        code, out, err = run(folder, "-c", LIBRARY)
        if code or "harm" not in out:
            failures.append(f"import fairpress: {code}\n{out}{err[-3000:]}")
        done += 2
    for failure in failures:
        sys.stdout.write(f"{failure}\n")
    which = ", ".join(
        f"{p} {metadata.version(p)}" for p in ("numpy", "onnx", "onnxruntime", "duckdb", "cyclopts")
    )
    sys.stdout.write(
        f"smoke on Python {sys.version.split()[0]} with {which}: {done} commands, {len(failures)} of them wrong, "
        f"{time.monotonic() - begun:.0f} s\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
