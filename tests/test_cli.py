"""What a user types: exit codes, one sentence for wrong input, nothing half-written, no torch where none is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fairpress import cli

ROOT = Path(__file__).parents[1]


def fairpress(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == code


def test_the_demo_finds_who_pays_and_its_own_next_command_works(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fairpress("demo")
    shown = capsys.readouterr().out
    assert "Synthetic data" in shown
    assert "sex = Female and age_group = 65+" in shown
    fairpress("demo")  # what it wrote, it may write again
    capsys.readouterr()
    table = "fairpress-demo/predictions.csv"
    arguments = ["audit", table, "--baseline", "fp32", "--by", "sex,sex*age_group", "--json"]
    fairpress(*arguments, "--compressed", "int8,int4", "--fail-on", "harm", code=1)
    assert json.loads(capsys.readouterr().out)["comparisons"]["int4"]["verdict"] == "harm"
    fairpress(*arguments, "--compressed", "int8", "--fail-on", "harm")


def test_doctor_looks_and_answers(capsys):
    fairpress("doctor")
    assert "ONNX Runtime" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit", "absent.csv", "--baseline", "a", "--by", "sex"], "there is no file absent.csv"),
        (["audit", "t.csv", "--baseline", "fp32", "--by", "age"], "no column 'age'"),
        (["audit", "t.csv", "--baseline", "fp32", "--by", ""], "Columns in this table: label, sex, fp32"),
        (["audit", "t.csv", "--by", "sex"], "--baseline"),
        (
            ["audit", "t.csv", "--baseline", "fp32", "--by", "sex", "--fail-on", "harms"],
            "`--fail-on` must name some of",
        ),
        (["audit", "t.csv", "--baseline", "fp32", "--by", "sex", "--margin", "2"], "margin"),
        (["audit", "t.csv", "--baseline", "fp32", "--by", "sex", "--html", "t.csv/x.html"], "cannot write"),
        (["adit"], "adit"),
        (["study", "run", "compass"], "Did you mean 'compas'"),
        (["study", "check", "compas", "recipes=[int9]"], "Did you mean 'int8'"),
        (["study", "check", "compas", "audit.margn=1"], "Did you mean 'margin'"),
        (["train", "mlpp", "--data", "compas", "--out", "x"], "Did you mean 'mlp'|could not be found"),
        (["train", "mlp", "--data", "compass", "--out", "x"], "Did you mean 'compas'"),
        (
            ["train", "mlp", "--data", "compas", "--by", "height", "--out", "x"],
            "no such sensitive|could not be found",
        ),
        (["compress", "model.pt", "--recipe", "int8", "--out", "x"], "pickle"),
        (["predict", "base", "--out", "x.parquet"], "name=folder"),
        (["show", "absent"], "no model folder"),
        (["data", "fetch", "compass"], "Did you mean 'compas'"),
        (["report", "absent"], "absent is not a study's folder"),
        (["study", "export", "absent", "--out", "x"], "absent is not a study's folder"),
        (["study", "plan", "compas", "--workers", "0"], "Must be >= 1"),
        (
            ["train", "mlp", "--data", "compas", "--seed", "-1", "--out", "x"],
            "seed -1 is out of|not be found",
        ),
        (["train", "mlp", "--data", "compas", "--out", "t.csv/x"], "is not a folder you may write to"),
        (["predict", "a,b=base", "--out", "x.parquet"], "contains a comma, which separates names"),
        (["predict", "a=base", "--out", "t.csv/x.parquet"], "is not a folder you may write to"),
        (["show", "t.csv"], "not a model folder"),
        (
            ["audit", "t.csv", "--baseline", "fp32", "--by", "sex", "--html", "x.html", "--card", "fp32=x/"],
            "no model folder x",
        ),
        (
            ["audit", "t.csv", "--baseline", "fp32", "--by", "sex", "--html", "x.html", "--card", "fp3=x.md"],
            "mean 'fp32'",
        ),
    ],
)
def test_wrong_input_is_one_sentence_exit_2_and_nothing_written(
    arguments, sentence, tmp_path, capsys, monkeypatch
):
    import re

    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("label,sex,fp32\n0,F,0\n1,M,1\n1,F,1\n")
    fairpress(*arguments, code=2)
    output = capsys.readouterr().err
    assert re.search(sentence, output)
    assert "Traceback" not in output
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchao", "safetensors", "onnxscript", "pandas", "polars"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""
NO_TORCH = """
import importlib.util as u, sys
find = u.find_spec
u.find_spec = lambda n, p=None: None if n == "torch" else find(n, p)
"""
EACH = """
from fairpress.cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as end:
        print("exit", end.code or 0)
"""


def exit_codes(code: str, commands: list[str], folder: Path) -> tuple[list[str], str]:
    """Run commands in one process that begins with `code`; return their exit codes and what is on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", code + EACH, *commands],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("exit ")], done.stderr


def test_nothing_but_training_and_compressing_needs_torch(tmp_path):
    commands = ["--help", "demo", "study check compas", "data list", "audit --help"]
    codes, errors = exit_codes(BLOCK, commands, tmp_path)
    assert codes == ["exit 0"] * len(commands), errors


def test_without_torch_the_extra_is_named(tmp_path, data_folder):
    commands = ["train mlp --data compas --out x", "study run compas"]
    codes, errors = exit_codes(NO_TORCH + BLOCK, commands, tmp_path)
    assert codes == ["exit 2"] * len(commands), errors
    assert errors.count("fairpress[torch]") == len(commands)


def test_the_layers_hold():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
