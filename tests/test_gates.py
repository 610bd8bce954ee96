"""The gate on the command line: what exits how, what is printed where, and that nothing of the user's is overwritten."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairpress import cli

BASE = ["--baseline", "fp32", "--by", "group"]
GATE = [*BASE, "--compressed", "int8"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A table of which one group of eight people is too small, and a model that changes next to nothing."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 4008)
    old = np.where(rng.random(4008) < 0.1, 1 - label, label)
    names = np.array(["moon", "star"])
    table = pd.DataFrame({"label": names[label], "fp32": names[old], "int8": names[old]})
    table["group"] = ["a"] * 2000 + ["b"] * 2000 + ["few"] * 8
    table.to_csv("t.csv", index=False)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    def command(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main(["audit", "t.csv", *arguments])
        message = capsys.readouterr()
        assert stop.value.code == code, message
        return message

    return command


def outputs(run):
    run(*GATE, "--html", "o.html", "--markdown", "o.md", "--latex", "o.tex", "--card", "int8=card.md")
    result = {name: Path(name).read_text(encoding="utf-8") for name in ("o.html", "o.md", "o.tex", "card.md")}
    result["terminal"] = run(*GATE).out
    result["json"] = json.loads(run(*GATE, "--json").out)["comparisons"]["int8"]["headline"]
    return {name: " ".join(text.split()) for name, text in result.items()}


def test_every_output_names_the_group_that_was_not_assessed_in_its_headline(run):
    for name, text in outputs(run).items():
        plain = text.replace("\\", "")
        if name == "terminal":  # coverage comes first
            unassessed = plain.index("Not assessed too few people: group = few (8); each needs 366 rows")
            assert plain[:unassessed].rstrip().endswith("1 not assessed")
            assert unassessed < plain.index("Not ruled out")
        else:
            assert "not assessed, too few people: group = few (8)." in plain, name
            bound, unassessed = (
                plain.index("of no assessed group rises by more than"),
                plain.index("; not assessed, too few"),
            )
            assert 0 < unassessed - bound < 200, name
        assert name == "json" or "no harm in error rate in 2 of 3 groups; 1 not assessed" in plain, name
        assert "Nobody" not in text, name
        assert "No group" not in text, name
        assert "Passes at" not in text, name


def test_no_output_is_green_where_a_group_was_not_assessed(run):
    run(*GATE, "--html", "o.html")
    page = Path("o.html").read_text(encoding="utf-8")
    assert '<div class="card inconclusive">' in page
    assert 'class="card no_harm"' not in page
    assert '<tr role="row" class="inconclusive">' in page
    assert "? no harm in error rate in 2 of 3 groups; 1 not assessed" in run(*GATE).out


def test_every_output_says_which_class_is_positive(run):
    for name, text in outputs(run).items():
        if name != "json":
            assert "(FNR): the share of 'star' that is missed" in text.replace("&#39;", "'").replace(
                "\\", ""
            ), name


def test_what_must_be_read_first_stands_above_the_verdict_in_every_output():
    from dataclasses import replace

    from fairpress import api, demo_data
    from fairpress.auditing.output.summary import summary, summary_text
    from fairpress.reporting.model_card import model_card

    table = demo_data.table(rows=1200)
    report = replace(
        api.audit(table, baseline="fp32", compressed=["int8"], by=["sex"]), warnings=("Read this first.",)
    )
    texts = [str(report), report.to_html(), report.to_markdown(), model_card(report, "int8")]
    for text in texts:
        assert (
            0
            <= text.index("Read this first.")
            < text.index(
                "| int8 |" if text == texts[2] else "Who pays" if "Who pays" in text else "int8 against"
            )
        )
    assert "Read this first." in report.to_latex()
    assert "Read this first." in "\n".join(summary_text(summary(report, "int8")))


def test_the_gate_for_unassessed_groups_and_required_groups(run):
    run(*GATE, "--fail-on", "harm,loss,inconclusive")
    assert "gate failed" in run(*GATE, "--fail-on", "not-assessed", code=1).err
    run(*GATE, "--require", "group=a,group=b")
    assert "group = few (8)" in run(*GATE, "--require", "group=few", code=1).err
    assert "no group 'few2'. Did you mean 'few'" in run(*GATE, "--require", "group=few2", code=2).err


def test_a_gate_with_nothing_to_compare_is_wrong_input(run):
    for option in (["--fail-on", "harm"], ["--require", "group=a"]):
        assert "--compressed" in run(*BASE, *option, code=2).err


def test_outputs_say_what_they_wrote_beside_what_is_parsed(run):
    assert "Written: o.html. Open o.html in a browser.\n" in run(*GATE, "--html", "o.html").out
    message = run(*GATE, "--html", "o.html", "--markdown", "o.md", "--json")
    assert "Written: o.html, o.md. Open o.html in a browser.\n" in message.err
    json.loads(message.out)


def test_an_audit_ends_with_what_its_gate_did_or_would_do(run):
    assert run(*GATE).out.endswith("Gate: --fail-on harm would exit with 0.\n")
    assert run(*GATE, "--fail-on", "harm,inconclusive").out.endswith(
        "Gate: --fail-on harm,inconclusive passed.\n"
    )
    failed = run(*GATE, "--fail-on", "not-assessed", code=1)
    assert failed.out.endswith("Gate: --fail-on not-assessed failed.\n")
    assert "gate failed: int8: not assessed in full: group = few" in failed.err
    assert "Gate:" not in run(*GATE, "--json").err
    assert "Gate:" not in run(*BASE).out


def test_an_input_and_another_output_are_never_overwritten(run, folder):
    before = Path("t.csv").read_bytes()
    assert "is an input of this command" in run(*GATE, "--latex", "./t.csv", code=2).err
    assert (
        "name the same file same.md"
        in run(*GATE, "--markdown", "same.md", "--card", "int8=same.md", code=2).err
    )
    assert Path("t.csv").read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("name", "options"), [("README.md", ["--markdown", "README.md"]), ("paper.tex", ["--latex", "paper.tex"])]
)
def test_what_people_wrote_is_kept_unless_they_say_so(run, name, options):
    Path(name).write_text("# Mine\n")
    assert "was not written by fairpress" in run(*GATE, *options, code=2).err
    assert Path(name).read_text() == "# Mine\n"
    run(*GATE, *options, "--force")
    run(*GATE, *options)  # what fairpress wrote, it may write again
    assert Path(name).read_text() != "# Mine\n"


def saved(folder, recipe):
    import onnx
    from onnx import numpy_helper

    from fairpress.core.card import ModelCard
    from fairpress.runtime.artifact import Artifact

    weights = numpy_helper.from_array(np.eye(4, 2, dtype=np.float32), "w")
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [tensor("x", onnx.TensorProto.FLOAT, ["batch", 4])],
        [tensor("y", onnx.TensorProto.FLOAT, ["batch", 2])],
        [weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    inputs = {"name": "x", "shape": [4], "columns": []}
    card = ModelCard("y", ("moon", "star"), "star", {"name": "linear"}, inputs, recipe=recipe)
    return Artifact(card, model.SerializeToString()).save(folder)


def test_a_card_goes_into_the_folder_of_its_own_model_only(run, folder):
    saved(folder / "int8", "int8")
    saved(folder / "prune-80", "prune-80")
    run(*GATE, "--card", "int8=int8")
    for option in ("--card", "--embed"):
        wrong = run(*GATE, option, "int8=prune-80", "--html", "o.html", code=2).err
        assert "does not seem to be the model 'int8': its recipe is 'prune-80'" in wrong
    assert not (folder / "prune-80" / "README.md").exists()
    assert not (folder / "o.html").exists()
    run(*GATE, "--card", "int8=prune-80", "--force")
    (folder / "int8" / "README.md").write_text("my own notes\n")
    assert "was edited since fairpress wrote it" in run(*GATE, "--card", "int8=int8", code=2).err
    assert (folder / "int8" / "README.md").read_text() == "my own notes\n"


@pytest.mark.parametrize("option", ["--embed", "--card"])
def test_an_audit_goes_into_no_single_file_and_a_card_next_to_it_is_the_remedy(run, folder, option):
    (folder / "q.onnx").write_bytes(b"a network")
    line = (*GATE, "--export-cells", "c.parquet", option)
    refused = run(*line, "int8=q.onnx", code=2)
    assert f"{option} q.onnx is a file; an audit is embedded in a model folder" in refused.err
    assert "--card int8=card.md" in refused.err
    assert not (folder / "c.parquet").exists()
    run(*GATE, "--card", "int8=card.md")
    assert (folder / "card.md").exists()


def test_a_table_that_records_which_file_predicted_knows_its_folder(folder):
    import pyarrow as pa

    from fairpress import api
    from fairpress.core.errors import UserError
    from fairpress.reporting.model_outputs import write_card
    from fairpress.runtime.artifact import Artifact

    path = saved(folder / "candidate", "prune-80")
    digest = Artifact.load(path).digest
    table = pa.Table.from_pandas(pd.read_csv("t.csv"), preserve_index=False)

    def report(made_by):
        reported = json.dumps({"int8": {"runtime": "onnxruntime", "digest": made_by}})
        marked = table.replace_schema_metadata({"fairpress.runtimes": reported})
        return api.audit(marked, baseline="fp32", compressed=["int8"], by=["group"])

    write_card(path, report(digest), "int8")
    with pytest.raises(UserError, match="did not produce these predictions"):
        write_card(path, report("0" * 64), "int8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--baseline", "fp32"],
            "name the sensitive attributes with --by, e.g. --by sex,age_group. Columns in this table",
        ),
        ([*GATE, "--margin", "2"], "for 2 percentage points write 0.02"),
        ([*GATE, "--margin", "0"], "must be greater than 0"),
        ([*GATE, "--margin", "0,02"], "write a decimal point: `--margin 0.02`"),
        ([*GATE, "--confidence", "95"], "did you mean 0.95?"),
        (
            ["fp32", "int8", "--by", "group"],
            "unexpected arguments fp32 int8; name models with --baseline",
        ),
        ([*BASE, "--compressed", "int8 int4"], "separate models with commas: --compressed int8,int4"),
        ([*GATE, "--fail-on", "not_estimable"], "Did you mean 'not-assessed'"),
        ([*GATE, "--fail-on", "losss"], "Did you mean 'loss'"),
        ([*GATE, "--fail-on", ""], "--fail-on is empty"),
        ([*GATE, "--fail-on", ","], "--fail-on is empty"),
        ([*GATE, "--confidence", "95%"], "write a share: --confidence 0.95"),
        ([*GATE, "--html", "x" * 300 + ".html"], "File name too long"),
        ([*GATE, "--card", f"int8={'x' * 300}/"], "File name too long; choose another name"),
    ],
)
def test_wrong_input_names_the_cause_and_the_remedy(run, arguments, sentence):
    assert sentence in run(*arguments, code=2).err


def test_three_classes_and_nothing_compressed_have_their_accuracy(run):
    table = pd.read_csv("t.csv")
    table.loc[::3, ["label", "fp32"]] = "sun"
    table.to_csv("t.csv", index=False)
    assert "accuracy" in run(*BASE).out


PROGRAM = [sys.executable, "-c", "from fairpress.cli import main; main()"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_broken_pipe_is_not_a_failed_gate(folder, options):
    table = pd.read_csv("t.csv").assign(group=[f"g{i % 60}" for i in range(4008)])
    table.to_csv("t.csv", index=False)  # of more groups than a buffer holds: it breaks within
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        done = subprocess.run(
            [*PROGRAM, "audit", "t.csv", *GATE, *options],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_an_unexpected_error_is_no_failed_gate_and_its_traceback_is_in_a_file(run, folder, monkeypatch):
    from fairpress.auditing import audit_table

    def fails(*_, **__):
        raise KeyError("fpr")

    monkeypatch.setattr(audit_table, "audit_table", fails)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    message = run(*GATE, code=70).err
    assert "unexpected error (KeyError: 'fpr')" in message
    assert "Traceback" not in message
    (log,) = folder.glob("fairpress-error-*.log")
    assert str(log) in message
    assert "Traceback" in log.read_text(encoding="utf-8")
    monkeypatch.setenv("FAIRPRESS_DEBUG", "1")
    assert "Traceback" in run(*GATE, code=70).err


def test_a_crash_log_holds_no_credentials_and_is_read_by_its_owner_alone(run, folder, monkeypatch):
    from fairpress.auditing import audit_table

    def fails(*_, **__):
        raise KeyError("postgresql://bob:geheim99@host/db?sslkey=k99 with password='word99' and variable99")

    monkeypatch.setattr(audit_table, "audit_table", fails)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setenv("WAREHOUSE_TOKEN", "variable99")
    monkeypatch.setenv("FAIRPRESS_DEBUG", "1")
    first = run(*GATE, "--markdown", "postgresql://bob:geheim99@x.md", code=70).err
    run(*GATE, code=70)  # in the same second: a file of its own
    logs = sorted(folder.glob("fairpress-error-*.log"))
    assert len(logs) == 2
    for text in (first, *(log.read_text(encoding="utf-8") for log in logs)):
        assert "Traceback" in text
        assert "postgresql://…@host/db?…" in text
        assert not [secret for secret in ("geheim99", "k99", "word99", "variable99") if secret in text]
    assert "may quote a value of your table" in logs[0].read_text(encoding="utf-8")
    assert os.name != "posix" or logs[0].stat().st_mode & 0o077 == 0


def test_a_crash_log_finds_another_place_where_the_first_cannot_be_written(run, folder, monkeypatch):
    from fairpress.auditing import audit_table

    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("cannot say what it is")

    def fails(*_, **__):
        raise Mute

    monkeypatch.setattr(audit_table, "audit_table", fails)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder / "t.csv"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    message = run(*GATE, code=70).err
    assert "unexpected error (Mute)" in message
    (log,) = (folder / "cache/fairpress").glob("fairpress-error-*.log")
    assert str(log) in message
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "t.csv"))
    assert "Set FAIRPRESS_DEBUG=1 to see the details" in run(*GATE, code=70).err


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (MemoryError(), 70, "out of memory; use fewer rows"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 70, "out of memory"),
        (type("OutOfMemoryException", (Exception,), {})("duckdb"), 70, "out of memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x"),
            2,
            "a disk is full (x): No space left on device",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RecursionError("deep"), 70, "unexpected error (RecursionError: deep)"),
    ],
)
def test_the_machine_and_the_user_are_no_faults_of_fairpress(run, folder, monkeypatch, error, code, sentence):
    from fairpress.auditing import audit_table

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(audit_table, "audit_table", fails)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    message = run(*GATE, code=code).err
    assert sentence in message
    assert ("bug in fairpress" in message) == ("unexpected" in sentence)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_printed_is_no_success(folder):
    for command in (["audit", "t.csv", *GATE], ["audit", "t.csv", *GATE, "--json"], ["gate", "--help"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*PROGRAM, *command],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert "cannot write to standard output (No space left on device)" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor in a shell")
def test_a_closed_standard_output_takes_nothing_and_changes_no_code(folder):
    command = shlex.join([*PROGRAM, "audit", "t.csv", *GATE])
    printed, silent = (
        subprocess.run(["sh", "-c", c], capture_output=True, check=False) for c in (command, f"{command} >&-")
    )
    assert silent.returncode == printed.returncode
    assert silent.stdout == b""
    assert b"Traceback" not in silent.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors in a shell")
def test_processes_that_a_command_with_closed_streams_starts_have_open_ones(tmp_path):
    child = (
        "import sys; open('child', 'w').write(str([s is None for s in (sys.stdin, sys.stdout, sys.stderr)]))"
    )
    parent = (
        "import subprocess, sys; from fairpress.cli.app import open_closed_streams; open_closed_streams(); "
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    command = f"{shlex.join([sys.executable, '-c', parent])} <&- >&- 2>&-"
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / "child").read_text() == "[False, False, False]"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_command_that_is_told_to_end_clears_up(folder, name, code):
    script = (
        "import os, signal, tempfile\n"
        f"signal.signal(signal.{name}, signal.SIG_DFL)\n"  # nohup ignores one of them
        # Under nohup the signal is ignored, and the child would inherit that.
        f"signal.signal(signal.{name}, signal.SIG_DFL)\n"
        "from fairpress import cli\n"
        "from fairpress.auditing import audit_table\n"
        "def waits(*_, **__):\n"
        "    with tempfile.TemporaryDirectory(dir='.', prefix='scratch'):\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        __import__('time').sleep(60)\n"
        "audit_table.audit_table = waits\n"
        f"cli.main({['audit', 't.csv', *GATE]!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "interrupted" in done.stderr
    assert [p.name for p in folder.iterdir()] == ["t.csv"]


def test_a_command_that_shows_nothing_says_that_it_is_at_work(run, monkeypatch):
    from fairpress.auditing import audit_table
    from fairpress.cli import progress

    real = audit_table.audit_table

    def slow(*arguments, **options):
        time.sleep(0.3)
        return real(*arguments, **options)

    monkeypatch.setattr(progress, "QUIET", 0.1)
    monkeypatch.setattr(audit_table, "audit_table", slow)
    assert "fairpress audit: running for 0 s\n" in run(*GATE).err


def test_three_classes_have_impact_ratios_without_rates_of_scores(run, folder):
    rows = ["label,sex,fp32,int8,fp32.score,int8.score"]
    rows += [
        f"{'abc'[i % 3]},{'FM'[i % 2]},{'abc'[i % 3]},{'abc'[i // 2 % 3]},0.{i % 9},0.{i % 7}"
        for i in range(600)
    ]
    Path("t.csv").write_text("\n".join(rows), encoding="utf-8")
    three = ["--baseline", "fp32", "--compressed", "int8", "--by", "sex", "--four-fifths"]
    assert "sex" in run(*three, "--positive", "a").out
    message = run(*three, "--html", "three.html", code=2).err
    assert "impact ratios need a positive class" in message
    assert not Path("three.html").exists()  # said before anything is written
