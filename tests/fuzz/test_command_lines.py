"""Hundreds of odd command lines: each ends with a documented exit code, and no file of the user's is another afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluation_logs import two_models
from fairpress.cli import main
from fuzz_damage import a_sentence
from small_model import make_model, network

LINES = int(os.environ.get("FAIRPRESS_FUZZ_LINES", "150"))
FEW = 27
SECONDS = 120
DOCUMENTED = {0, 1, 2, 3}
LONG_NAME = "n" * 300
HUGE = "1" + "0" * 30
# Values that no option means.
ODD: tuple[str, ...] = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1e999",
        "-1e999",
        "nan",
        HUGE,
        "9" * 5_000,
        "1.5",
        "0x10",
        "1,000",
        "true",
        "None",
    ),
    *(
        LONG_NAME,
        f"{LONG_NAME}.html",
        "a\nb",
        "é\u202e",
        "\udc80",
        "a\\b",
        "%s",
        "{",
        "[",
        "'",
        '"',
        "$(touch x)",
    ),
    *(
        "/dev/null",
        "/dev/zero",
        "pipe",
        ".",
        "..",
        "~",
        "notes.txt",
        "mixed",
        "m",
        "t.csv",
        "net.onnx",
        "preds.csv",
    ),
    *(
        "=",
        "a=",
        "=b",
        "a=b=c",
        "int8=m",
        ",",
        "sex,",
        "sex*sex",
        "*",
        "sex=F|F",
        "|",
        "--",
        "-x",
        "@",
        "m/@openvino",
    ),
)
AUDIT = (
    "audit",
    "preds.csv",
    "--baseline",
    "fp32",
    "--compressed",
    "int8",
    "--by",
    "sex",
    "--positive",
    "yes",
)
# A command that works, and options that it takes beside those.
COMMANDS: tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...] = (
    (
        AUDIT,
        (
            *(("--margin", "0.03"), ("--confidence", "0.9"), ("--metrics", "tpr"), ("--weight", "age")),
            *(
                ("--subject", "subject"),
                ("--seed-column", "age"),
                ("--row-id", "row_id"),
                ("--bins", "age=30"),
            ),
            *(("--missing", "refuse"), ("--correction", "bh"), ("--family", "study"), ("--pair", "sex=F|M")),
            *(("--pair-from", "preds.csv"), ("--merge", "preds.csv"), ("--export-cells", "c.parquet")),
            *(
                ("--counterfactual", "age"),
                ("--html", "r.html"),
                ("--markdown", "r.md"),
                ("--latex", "r.tex"),
                ("--four-fifths",),
            ),
            *(("--embed", "int8=m"), ("--card", "int8=m"), ("--card", "int8=c.md"), ("--fail-on", "harm")),
            *(("--require", "sex=F"), ("--decide", "aged=age>=30"), ("--json",), ("--force",)),
        ),
    ),
    (
        ("audit", "--lm-eval", "base=logs/base", "q4=logs/q4", "--by", "category"),
        (
            *(
                ("--tasks", "toy"),
                ("--log-metric", "acc_norm"),
                ("--log-filter", "none"),
                ("--better", "higher"),
            ),
            *(("--same", "doc,target"), ("--drop-unpaired",), ("--subject", "answer"), ("--html", "r.html")),
            *(
                ("--inspect", "base=logs/base"),
                ("--pair-files", "base=preds.csv"),
                ("--json",),
                ("--outcome", "x"),
            ),
        ),
    ),
    (
        ("audit", "--pair-files", "base=preds.csv", "q4=preds2.csv", "--key", "row_id", "--by", "sex"),
        (
            ("--prediction", "int8"),
            ("--correct", "fp32"),
            ("--label", "age"),
            ("--drop-unpaired",),
            ("--json",),
        ),
    ),
    (
        ("predict", "base=m", "--out", "p.csv"),
        (
            ("--data", "t.yaml"),
            ("--part", "all"),
            ("--threads", "2"),
            ("--model-config", "x.yaml"),
            ("two=m",),
        ),
    ),
    (
        ("predict", "o=net.onnx", "--data", "t.yaml", "--dry-run"),
        (("--out", "p.parquet"), ("--threads", "1")),
    ),
    (("show", "m"), (("--json",),)),
    (
        ("mitigate", "m", "--by", "sex", "--out", "fair"),
        (
            *(("--cost", "fnr"), ("--calibration", "none"), ("--seed", "3"), ("--force",)),
            *(("--method", "thresholds"), ("--constraint", "equalized_odds")),
        ),
    ),
    (
        ("bench", "absent", "--batch", "1", "--seconds", "0.1"),
        (
            ("--rounds", "1"),
            ("--threads", "1"),
            ("--provider", "CPU"),
            ("--runtime", "onnxruntime"),
            ("--json",),
        ),
    ),
    (
        ("compress", "m", "--recipe", "w8", "--out", "small"),
        (("--seed", "1"), ("--data", "t.yaml"), ("--model-config", "x.yaml"), ("--force",)),
    ),
    (
        ("compress", "net.onnx", "--recipe", "w4", "--data", "absent.yaml", "--out", "o.onnx"),
        (("--seed", "1"), ("--force",)),
    ),
    (
        ("search", "m", "--by", "sex", "--out", "best", "--max-group-loss", "0.02"),
        (
            *(("--max-bytes", "100"), ("--max-latency-ms", "2"), ("--budget", "3"), ("--confidence", "0.9")),
            *(("--least-rows", "5"), ("--recipe", "w8"), ("--objective", "latency"), ("--seed", "1")),
        ),
    ),
    (
        ("train", "mlp", "--data", "absent.yaml", "--out", "new"),
        (
            *(
                ("--epochs", "1"),
                ("--batch-size", "8"),
                ("--learning-rate", "0.1"),
                ("--seed", "1"),
                ("--by", "sex"),
            ),
            *(("--test-share", "0.3"), ("--device", "cpu"), ("--method", "penalty"), ("--strength", "1")),
            *(("--constraint", "equalized_odds"), ("--class-weights", "no=1,yes=2"), ("--weights", "w")),
        ),
    ),
    (("data", "check", "t.yaml"), (("--strict",), ("--json",))),
    (("data", "list"), ()),
    (("data", "fetch", "nothing"), ()),
    (("demo", "--out", "demo"), ()),
    (("doctor",), (("--json",),)),
    (("study", "check", "study.yaml"), (("seeds=3",), ("audit.margin=0.01",), ("--data", "t.yaml"))),
    (
        ("study", "plan", "study.yaml"),
        (("--only", "seed=0"), ("--workers", "2"), ("--out", "runs"), ("--store", "kept"), ("--json",)),
    ),
    (("study", "run", "absent.yaml"), (("--only", "seed=0"), ("--workers", "2"), ("--out", "runs"))),
    (("study", "export", "absent", "--out", "models"), (("--only", "seed=0"), ("--store", "kept"))),
    (("study", "list"), ()),
    (("study", "schema"), ()),
    (
        ("report", "absent"),
        (
            ("--latex", "r.tex"),
            ("--csv", "numbers"),
            ("--figures", "pdf"),
            ("--cards", "cards"),
            ("--force",),
        ),
    ),
    (("dashboard", "absent"), (("--port", "0"),)),
)
STUDY = (
    "title: a study\ndataset: {name: t.yaml}\nmodel: {name: mlp, widths: [4]}\nrecipes: [w8]\nseeds: 2\n"
    "audit: {by: [sex]}\n"
)


def odd_line(rng: random.Random) -> list[str]:
    """Return a command line in which something is missing, twice, unknown, odd, or in another place."""
    command, options = rng.choice(COMMANDS)
    line = list(command)
    for option in rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 4)))):
        line += option
    words = 2 if command[0] in ("data", "study") else 1
    for _ in range(rng.choice((1, 1, 2))):
        what, at = rng.random(), rng.randrange(words, len(line) + 1)
        if what < 0.6 and at < len(line):
            line[at] = rng.choice(ODD)
        elif what < 0.7 and at < len(line):
            del line[at]
        elif what < 0.8:
            line[at:at] = line[words : words + 2]
        elif what < 0.9:
            line.insert(at, rng.choice(ODD))
        else:
            line.insert(
                at, rng.choice(("--absent", "--out", "--help", "--no-json", "--by=", "--threads=x", "-"))
            )
    return line


def write_workplace(folder: Path) -> None:
    """Write what the commands read, and beside it files of the user's in every place that could be written to."""
    rng = np.random.default_rng(0)
    make_model(folder).save(folder / "m")
    shutil.copytree(folder / "m", folder / "mixed")
    (folder / "mixed" / "notes.txt").write_text("mine")
    (folder / "net.onnx").write_bytes(network())
    (folder / "study.yaml").write_text(STUDY)
    (folder / "notes.txt").write_text("mine")
    (folder / "runs" / "figures").mkdir(parents=True)
    (folder / "runs" / "figures" / "mine.svg").write_text("<svg/>")
    (folder / "taken.html").write_text("mine")
    os.mkfifo(folder / "pipe")
    classes, sexes = np.array(["no", "yes"]), np.array(["F", "M"])
    lines = ["row_id,subject,label,sex,age,fp32,int8"]
    for i in range(300):
        label, base, small = classes[rng.integers(0, 2, 3)]
        lines.append(f"r{i},s{i % 150},{label},{sexes[i % 2]},{20 + i % 50},{base},{small}")
    (folder / "preds.csv").write_text("\n".join(lines) + "\n")
    shutil.copy(folder / "preds.csv", folder / "preds2.csv")
    two_models(folder / "logs")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every regular file below a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.is_symlink()
    }


class Desk:
    """A folder of a user, in which commands are run one after another."""

    def __init__(self, outer: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.outer, self.folder, self.capsys = outer, outer / "work", capsys
        self.kept = outer.parent / "kept"
        (self.kept / "work").mkdir(parents=True)
        write_workplace(self.kept / "work")
        (self.kept / "beside.txt").write_text("mine")
        self.codes: dict[int, int] = {}

    def fresh(self) -> None:
        """Lay the folder out anew."""
        os.chdir(self.outer.parent)
        shutil.rmtree(self.outer, ignore_errors=True)
        self.outer.mkdir()
        (self.outer / "beside.txt").write_text("mine")
        shutil.copytree(self.kept / "work", self.folder, ignore=shutil.ignore_patterns("pipe"))
        os.mkfifo(self.folder / "pipe")
        for name in ("m", "mixed"):  # the card names the data by its place
            card = self.folder / name / "card.json"
            card.write_text(card.read_text().replace(str(self.kept), str(self.outer)))
        os.chdir(self.folder)

    def run(self, line: Sequence[str]) -> tuple[int, str]:
        """Run a command, and return its exit code and what it wrote on standard error."""
        try:
            main(list(line))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        reported = self.capsys.readouterr()
        assert "Traceback" not in reported.err + reported.out, line
        self.codes[code] = self.codes.get(code, 0) + 1
        return code, reported.err

    def check(self, line: Sequence[str]) -> None:
        """Run a command, and look for what it must not have done."""
        self.fresh()
        before = contents(self.outer)
        code, err = self.run(line)
        assert code in DOCUMENTED, (line, code, err)
        assert code in (0, 1) or a_sentence(err[:2_999]), (line, code)
        after = contents(self.outer)
        # What a model's own folder holds may be replaced where that is said; all else is the user's.
        lost = [n for n, data in before.items() if after.get(n) != data and not n.startswith("work/m/")]
        assert not lost, (line, lost, code, err)
        half = [n for n in after if n not in before and (n.endswith(".part") or "/.tmp" in n)]
        assert not half, (line, half)


@pytest.fixture
def desk(tmp_path, capsys, monkeypatch) -> Iterator[Desk]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FAIRPRESS_DATA", raising=False)
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets=None: None)

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError("the command goes on and on")

    here, before = Path.cwd(), signal.signal(signal.SIGALRM, too_long)
    try:
        yield Desk(tmp_path / "outer", capsys)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        os.chdir(here)


def check_lines(desk: Desk, count: int) -> None:
    for i in range(count):
        signal.alarm(SECONDS)
        desk.check(odd_line(random.Random(f"line {i}")))
    signal.alarm(0)
    assert desk.codes.get(0, 0) > count / 30
    assert desk.codes.get(2, 0) > count / 3


@pytest.mark.filterwarnings("ignore")
def test_an_odd_command_line_ends_as_documented(desk):
    check_lines(desk, FEW)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_odd_command_lines_end_as_documented(desk):
    check_lines(desk, LINES)


ABSURD: tuple[tuple[str, ...], ...] = (
    ("bench", "m", "--batch", HUGE),
    ("bench", "m", "--batch", "9" * 5_000),
    ("bench", "m", "--batch", "1000001"),
    ("bench", "m", "--seconds", "1e999"),
    ("bench", "m", "--seconds", "nan"),
    ("bench", "m", "--seconds", "1e9"),
    ("bench", "m", "--rounds", HUGE),
    ("bench", "m", "--threads", HUGE),
    ("predict", "m=m", "--out", "p.csv", "--threads", "1000000000"),
    ("predict", "m=m", "--out", f"{LONG_NAME}.csv"),
    ("train", "mlp", "--data", "t.yaml", "--out", "new", "--epochs", HUGE),
    ("train", "mlp", "--data", "t.yaml", "--out", "new", "--epochs", "1000000000"),
    ("train", "mlp", "--data", "t.yaml", "--out", "new", "--batch-size", HUGE),
    ("train", "mlp", "--data", "t.yaml", "--out", "new", "--learning-rate", "1e999"),
    ("train", "mlp", "--data", "t.yaml", "--out", "new", "--seed", HUGE),
    ("train", "mlp", "--data", "t.yaml", "--out", LONG_NAME),
    ("train", "mlp", "--data", "t.yaml", "--out", "new", "--method", "penalty", "--by", "sex", "--constraint",
     "equalized_odds", "--strength", "1e999"),
    ("compress", "m", "--recipe", "finetune(epochs=1000000000)", "--out", "small"),
    ("compress", "m", "--recipe", f"int8(rows={HUGE})", "--out", "small"),
    ("compress", "m", "--recipe", "distill(widths=1000000000)", "--out", "small"),
    ("compress", "m", "--recipe", "w8", "--out", "small", "--seed", HUGE),
    ("compress", "m", "--recipe", "+".join(["prune-50"] * 5_000), "--out", "small"),
    ("mitigate", "m", "--by", "sex", "--out", "fair", "--seed", HUGE),
    ("search", "m", "--by", "sex", "--out", "best", "--max-group-loss", "0.02", "--budget", "9" * 400 + "h"),
    ("search", "m", "--by", "sex", "--out", "best", "--max-group-loss", "0.02", "--budget", HUGE),
    ("search", "m", "--by", "sex", "--out", "best", "--max-group-loss", "0.02", "--max-bytes", HUGE),
    ("search", "m", "--by", "sex", "--out", "best", "--max-group-loss", "1e999"),
    ("search", "m", "--by", "sex", "--out", "best", "--max-group-loss", "0.1", "--least-rows", "-1"),
    ("study", "check", "study.yaml", "seeds=1000000000"),
    ("study", "check", "study.yaml", "folds=1000000000"),
    ("study", "check", "study.yaml", "networks_per_task=" + HUGE),
    ("study", "check", "study.yaml", "training.max_epochs=" + HUGE),
    ("study", "check", "study.yaml", "model.widths=[1000000000]"),
    ("study", "plan", "study.yaml", "--only", "seed=0..1000000000", "--workers", HUGE),
    ("study", "plan", "study.yaml", "--workers", "1000000000"),
    ("dashboard", ".", "--port", HUGE),
    (*AUDIT, "--margin", "1e999"),
    (*AUDIT, "--confidence", "1e999"),
    (*AUDIT, "--bins", "age=1e999"),
    (*AUDIT, "--bins", "age=" + ",".join(map(str, range(100_000)))),
    (*AUDIT, "--decide", "aged=age>=1e999"),
    (*AUDIT, "--html", f"{LONG_NAME}.html"),
    (*AUDIT, "--markdown", f"{LONG_NAME}.md"),
    (*AUDIT, "--latex", f"{LONG_NAME}.tex"),
    (*AUDIT, "--export-cells", f"{LONG_NAME}.parquet"),
    (*AUDIT, "--card", f"int8={LONG_NAME}.md"),
    ("demo", "--out", LONG_NAME),
    ("show", LONG_NAME),
)  # fmt: skip


@pytest.mark.parametrize("line", ABSURD, ids=lambda line: " ".join(line)[:60])
def test_an_absurd_number_or_name_is_refused_soon(desk, line):
    desk.fresh()
    before, began = contents(desk.outer), time.process_time()
    signal.alarm(SECONDS)
    code, err = desk.run(line)
    assert code == 2, err
    assert a_sentence(err[:2_999])
    assert len(err) < 2_000
    assert time.process_time() - began < 20
    assert contents(desk.outer) == before
    assert sys.exc_info() == (None, None, None)


def test_a_name_that_is_not_utf8_is_written_and_shown(desk):
    desk.fresh()
    name = os.fsdecode(b"p\xff.csv")
    code, err = desk.run(["predict", "m=m", "--out", name])
    assert (code, err) == (0, "")
    assert Path(name).is_file()
