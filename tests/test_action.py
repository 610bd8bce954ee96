"""The GitHub Action: its scripts, run as a runner would, with fairpress itself and with a `gh` that only records."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import csv
from ruamel.yaml import YAML

from fairpress import demo_data
from pages import ROOT

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or os.name == "nt", reason="the scripts of the action need bash"
)

ACTION = YAML(typ="safe").load((ROOT / "action.yml").read_text(encoding="utf-8"))
POLICY = """schema: fairpress.policy/1
harm: error
margins: {error: {margin: 2pp, reason: a test}}
by: [sex]
baseline: fp32
signed: {name: A. Person, date: 2025-11-02, reason: a test}
"""
GH = """#!/bin/sh
echo "$*" >> "$RECORD"
case "$*" in
  *--paginate*) printf '%s' "$EARLIER" ;;
  *) exit "${REFUSED:-0}" ;;
esac
"""
FAIRPRESS = f"""#!/bin/sh
exec "{sys.executable}" -c 'from fairpress.cli import main; main()' "$@"
"""
CONTEXT = {
    "github.event.pull_request.number": "7",
    "github.repository": "someone/model",
    "github.token": "t",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    csv.write_csv(demo_data.table(rows=6000), tmp_path / "preds.csv")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name, text in {"gh": GH, "fairpress": FAIRPRESS}.items():
        (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def run(
    step: str, folder: Path, inputs: dict[str, str], context: dict[str, str] | None = None, **variables: str
):
    """Run a step of the action with these inputs; return its exit code, what it printed, and what `gh` was called with."""
    (found,) = [s for s in ACTION["runs"]["steps"] if s.get("name") == step]
    values = {f"inputs.{name}": str(setting.get("default", "")) for name, setting in ACTION["inputs"].items()}
    values |= CONTEXT | (context or {}) | {f"inputs.{name}": value for name, value in inputs.items()}
    given = {k: re.sub(r"\$\{\{ (\S+) \}\}", lambda m: values[m[1]], v) for k, v in found["env"].items()}
    files = {name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RECORD")}
    paths = {"RUNNER_TEMP": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
        cwd=folder,
        env={**os.environ, **files, **paths, **given, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    record = folder / "RECORD"
    return done.returncode, done.stdout + done.stderr, record.read_text() if record.exists() else ""


def outputs(folder: Path) -> dict[str, str]:
    lines = (folder / "GITHUB_OUTPUT").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize(("model", "passed"), [("int8", "true"), ("int4", "false")])
def test_the_gate_reports_its_result_and_the_last_step_decides(folder, model, passed):
    given = {"predictions": "preds.csv", "policy": "policy.yaml", "compressed": model}
    code, printed, _ = run("Gate", folder, given)
    assert code == 0, printed
    assert outputs(folder)["passed"] == passed
    assert f"| {model} |" in (folder / "GITHUB_STEP_SUMMARY").read_text(encoding="utf-8")
    verdict, _, _ = run("Verdict", folder, {}, {"steps.gate.outputs.passed": passed})
    assert (verdict == 0) == (passed == "true")


def test_wrong_input_fails_the_step_and_posts_nothing(folder):
    code, printed, _ = run(
        "Gate", folder, {"predictions": "preds.csv", "policy": "policy.yaml", "compressed": "int9"}
    )
    assert code == 2
    assert "Did you mean 'int8'" in printed
    assert not (folder / "GITHUB_STEP_SUMMARY").exists()
    verdict, _, _ = run("Verdict", folder, {}, {"steps.gate.outputs.passed": ""})
    assert verdict != 0


def test_an_input_is_no_code(folder):
    given = {"predictions": "preds.csv", "policy": "policy.yaml", "compressed": "$(touch ran); touch ran"}
    assert run("Gate", folder, given)[0] == 2
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("earlier", "call"),
    [
        ("", "--method POST repos/someone/model/issues/7/comments"),
        ("11\n12\n", "--method PATCH repos/someone/model/issues/comments/11"),
    ],
)
def test_one_comment_is_posted_and_then_updated(folder, earlier, call):
    context = {"steps.gate.outputs.markdown": "comment.md"}
    code, printed, calls = run("Comment", folder, {}, context, EARLIER=earlier)
    assert code == 0, printed
    assert f"api --silent {call} --field body=@comment.md" in calls


def test_a_comment_that_may_not_be_posted_fails_nothing(folder):
    context = {"steps.gate.outputs.markdown": "comment.md"}
    code, printed, _ = run("Comment", folder, {}, context, EARLIER="", REFUSED="1")
    assert code == 0
    assert "::notice::" in printed


def test_the_comment_is_found_again_by_the_mark_that_the_gate_writes(folder):
    run("Gate", folder, {"predictions": "preds.csv", "policy": "policy.yaml", "compressed": "int8"})
    (mark,) = re.findall(
        r'contains\("(.*?)"\)', next(s for s in ACTION["runs"]["steps"] if s.get("name") == "Comment")["run"]
    )
    assert mark in Path(outputs(folder)["markdown"]).read_text(encoding="utf-8")
