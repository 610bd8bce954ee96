"""The core: what it weighs, what it does without any extra, and the sentence that names an absent one."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from pages import ROOT
from without_extras import MODELS, run_command, run_without

LARGEST_CORE = 340_000_000
"""Bytes on disk of fairpress's requirements, bytecode included."""
NOT_AT_START = (
    "scipy.special",
    "scipy.stats",
    "scipy.sparse",
    "numpy.f2py",
    "pydantic",
    "pyarrow",
    "altair",
    "vl_convert",
    "jinja2",
)
AUDIT = (
    "audit",
    "demo/predictions.csv",
    "--baseline",
    "fp32",
    "--compressed",
    "int8,int4",
    "--by",
    "sex,age_group",
)


def packages_of(requirements: list[str]) -> set[str]:
    """Return the distributions that some requirements install, by their normalized names."""
    found: set[str] = set()
    pending = [Requirement(text) for text in requirements]
    while pending:
        requirement = pending.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found or (
            requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        found.add(name)
        pending += map(Requirement, metadata.requires(name) or ())
    return found


def bytes_of(package: str) -> int:
    paths = [file.locate() for file in metadata.files(package) or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    done = run_command("demo", "--out", "demo", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "demo" / "again.csv").write_bytes((folder / "demo" / "predictions.csv").read_bytes())
    return folder


def test_the_core_is_small():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sizes = {name: bytes_of(name) for name in packages_of(project["dependencies"])}
    assert {"duckdb", "numpy", "scipy"} <= sizes.keys()
    assert not sizes.keys() & {"pyarrow", "onnx", "onnxruntime", "torch", "pillow", "pandas", "altair"}
    assert not [name for name in sizes if "vl-convert" in name]
    assert 200_000_000 < sum(sizes.values()) <= LARGEST_CORE, sizes


def test_an_audit_of_a_file_loads_only_what_it_computes_with(demo):
    program = (
        "import contextlib, io, sys\n"
        "from fairpress.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({list(AUDIT)!r})\n"
        f"print([name for name in {NOT_AT_START!r} if name in sys.modules])\n"
        "print('duckdb' in sys.modules)\n"
    )
    done = run_without(program, (), demo)
    assert done.stdout.split("\n")[:2] == ["[]", "True"], done.stderr


@pytest.mark.parametrize(
    "command",
    [
        (*AUDIT, "--html", "audit.html", "--markdown", "audit.md", "--latex", "audit.tex"),
        (*AUDIT, "--monitor", "ledger.json"),
        (*AUDIT, "--json"),
        (*AUDIT, "--four-fifths"),
        ("plan", "--table", "demo/predictions.csv", "--by", "sex", "--margin", "0.02", "--flips", "0.03"),
        ("doctor",),
        ("data", "list"),
        ("study", "list"),
        ("--version",),
    ],
    ids=lambda command: " ".join(command[:1] + command[8:]),
)
def test_a_command_about_tables_needs_no_extra(demo, command):
    done = run_command(*command, folder=demo)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_page_of_the_core_has_its_pictures(demo):
    assert "<svg" in (demo / "demo" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ((*AUDIT, "--export-cells", "cells.parquet"), "arrow"),
        (
            (
                "audit",
                "--pair-files",
                "a=demo/predictions.csv",
                "b=demo/again.csv",
                "--by",
                "sex",
                "--key",
                "row_id",
            ),
            "arrow",
        ),
        (("report", "demo", "--figures", "pdf"), "charts"),
        (("predict", "a=model.onnx", "--data", "compas", "--out", "p.parquet"), "onnx"),
        (("show", "model.onnx"), "onnx"),
        (("bench", "model.onnx"), "onnx"),
        (("compress", "model.onnx", "--recipe", "int8-dynamic", "--out", "out.onnx"), "onnx"),
        (("train", "mlp", "--data", "compas", "--out", "base"), "torch"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_names_the_extra_that_is_absent(demo, command, extra):
    (demo / "model.onnx").write_bytes(b"\x08\x0a\x12\x00")
    done = run_command(*command, folder=demo)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.strip().split("\n")) == 1, done.stderr
    assert f"python -m pip install 'fairpress[{extra}]'" in done.stderr
    assert not (demo / "cells.parquet").exists()


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        (
            "fp.read_pair({'a': 'demo/predictions.csv', 'b': 'demo/again.csv'}, key='row_id', prediction='int8')",
            "arrow",
        ),
        ("fp.load_dataset('compas')", "arrow"),
        ("from fairpress.reporting.overview_charts import layers; layers({'a': {'first': 0.1}})", "charts"),
        ("fp.predict({'a': 'model.onnx'}, 'compas')", "onnx"),
        ("fp.bench(['model.onnx'])", "onnx"),
        ("fp.compress_file('model.onnx', 'int8-dynamic', 'compas')", "onnx"),
    ],
)
def test_a_function_names_the_extra_that_is_absent(demo, call, extra):
    report = "except Exception as error:\n    print(type(error).__name__, error)\n"
    program = f"import fairpress as fp\ntry:\n    {call}\n{report}"
    done = run_without(program, folder=demo)
    assert done.stdout.startswith("MissingExtra "), done.stdout + done.stderr
    assert f"'fairpress[{extra}]'" in done.stdout


def test_doctor_lists_absent_extras_and_is_content(demo):
    done = run_command("doctor", folder=demo)
    assert done.returncode == 0
    lines = done.stdout.replace("\n", " ")
    for extra in ("arrow", "onnx", "torch"):
        assert f"'fairpress[{extra}]'" in lines
    assert "BROKEN" not in done.stdout


@pytest.mark.parametrize("also_hidden", [(), ("pyarrow",)], ids=["with pyarrow", "without pyarrow"])
def test_a_frame_is_audited_without_what_models_need(demo, also_hidden):
    program = (
        "import fairpress as fp, pandas as pd\n"
        "table = pd.read_csv('demo/predictions.csv')\n"
        "print(fp.audit(table, baseline='fp32', compressed='int8', by='sex').verdict)\n"
    )
    done = run_without(program, (*MODELS, "torch", *also_hidden), demo)
    assert done.stdout.strip() == "no_harm", done.stderr


@pytest.mark.parametrize("table", ["pl.DataFrame(values)", "{'g': values['g'], 'y': pl.Series(values['y'])}"])
def test_a_frame_of_polars_names_the_extra_that_is_absent(demo, table):
    program = (
        "import fairpress as fp, polars as pl\n"
        "values = {'y': ['a', 'b'], 'g': ['m', 'f'], 'p': ['a', 'b']}\n"
        f"try:\n    fp.audit({table}, label='y', baseline='y', by='g')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = run_without(program, ("pyarrow",), demo)
    assert done.stdout.startswith("MissingExtra "), done.stdout + done.stderr
    assert "'fairpress[arrow]'" in done.stdout
