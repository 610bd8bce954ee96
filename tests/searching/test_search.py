"""A search from end to end on a made-up table, a made-up table's command line, and made-up faces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from scipy.stats import binom

import fairpress as fp
from fairpress import cli
from fairpress.compression import apply
from fairpress.core.errors import UserError
from fairpress.models.mlp import Mlp
from fairpress.searching import latency
from fairpress.searching.budget import Budget
from fairpress.searching.candidate_table import markdown
from fairpress.searching.limits import Limits
from fairpress.searching.search import search
from fairpress.searching.write_result import save_result
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit
from made_dataset import make_dataset

ASKED = {"by": ["sex"], "budget": 3, "train": False}  # int8, int4, int2


@pytest.fixture(scope="module")
def data():
    return make_dataset(12000)


@pytest.fixture(scope="module")
def base(data):
    config = FitConfig(max_epochs=4, batch_size=64, learning_rate=1e-2)
    return fit(Mlp(widths=(32, 32)), [data.development()], [0], config)[0]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("search") / ".store"


@pytest.fixture(scope="module")
def result(base, data, path):
    return fp.search(base, data, max_group_loss=0.05, store=path, **ASKED)


def test_the_winner_is_the_smallest_that_keeps_every_limit(result, base):
    winner = result.searched.winner
    assert result.recipe == winner.trial.recipe
    assert result.artifact.size == min(j.trial.bytes for j in result.searched.judged if j.passed) < base.size
    assert all(b.p <= 0.05 for b in winner.bounds)
    assert {b.who for b in winner.bounds} >= {"sex = Female", "sex = Male"}
    assert result.audit.verdict == "no_harm"


def test_the_card_logs_every_opening_of_the_test_rows(result, data):
    reported = result.artifact.card.provenance["search"]
    (opening,) = reported["openings"]["test"]
    assert opening["recipe"] == result.recipe
    assert opening["file"] == result.artifact.digest
    (judging,) = reported["openings"]["judging"]
    assert judging["sequence"] == reported["sequence"]
    assert reported["rows"] == {
        "choosing": 512,
        "judging": 1200 + 1200 - 512,
        "test": len(data.parts["test"]),
    }


def test_the_same_search_again_makes_nothing_and_opens_nothing(result, base, data, path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("made again")

    monkeypatch.setattr(apply, "compress", refuse)
    again = fp.search(base, data, max_group_loss=0.05, store=path, **ASKED)
    assert again.artifact.onnx == result.artifact.onnx
    assert again.searched.openings == result.searched.openings
    with_another_limit = fp.search(base, data, max_group_loss=0.06, store=path, **ASKED)
    assert len(with_another_limit.searched.openings["judging"]) == 2


def test_files_of_the_same_names_and_other_confidence_are_other_openings(base, data, tmp_path, monkeypatch):
    make = apply.compress

    def by_seed(bases, recipe, rows, seeds, say):
        (created,) = make(bases, recipe, rows, seeds, say)
        return (replace(created, onnx=_marked(created.onnx, str(seeds[0]))),)

    monkeypatch.setattr(apply, "compress", by_seed)
    monkeypatch.setattr(
        latency, "measure", lambda contestants, *_, **__: [_timing(c.model, 1.0) for c in contestants]
    )
    requested = {**ASKED, "budget": 1, "max_group_loss": 0.05, "store": tmp_path}
    first, second, sure = (
        fp.search(base, data, **{**requested, **more}).searched.openings["judging"]
        for more in ({"seed": 1}, {"seed": 2}, {"seed": 2, "confidence": 0.9})
    )
    assert [len(o) for o in (first, second, sure)] == [1, 2, 3]
    assert [o["sequence"] for o in sure] == [["int8"]] * 3
    assert len({o["files"][0] for o in sure}) == 2
    assert sorted(o["confidence"] for o in sure) == [0.9, 0.95, 0.95]


def _timing(name: str, milliseconds: float) -> SimpleNamespace:
    return SimpleNamespace(model=name, seconds=[1e-3 * milliseconds] * 20, median=1e-3 * milliseconds)


def _marked(onnx_bytes: bytes, mark: str) -> bytes:
    model = onnx.load_from_string(onnx_bytes)
    model.graph.doc_string = mark
    return model.SerializeToString()


def test_the_page_adds_up_what_each_opening_risked(result):
    openings = [{"at": "2026", "sequence": ["int8"], "confidence": c} for c in (0.95, 0.8)]
    page = markdown(replace(result, searched=replace(result.searched, openings={"judging": openings})))
    assert "opened 2 times for this baseline in this store" in page
    assert "is at most 25%, not 5%, if their limits did not depend on what earlier looks showed" in page


def test_latency_is_judged_by_a_timing_that_did_not_choose(base, data, path, monkeypatch):
    """The first timing is lucky, those of the same file after it are not."""
    timed = set()

    def lucky_at_first(contestants, batch, *, rounds=None, seconds):
        result = [_timing(c.model, 2.0 if c.model in timed else 0.5) for c in contestants]
        timed.update(c.model for c in contestants)
        return result

    monkeypatch.setattr(latency, "measure", lucky_at_first)
    with pytest.raises(fp.ConstraintNotMet, match="max_latency_ms: at most 2 ms") as refused:
        fp.search(base, data, max_group_loss=0.05, max_latency_ms=1.0, store=path, **ASKED)
    searched = refused.value.searched
    assert [t.latency_ms for t in searched.trials] == [0.5] * len(searched.trials)
    assert [j.trial.latency_ms for j in searched.judged] == [2.0]


@pytest.mark.parametrize(
    ("confidence", "rounds", "bound"), [(0.8, 20, 13), (0.95, 20, 15), (0.99, 20, 16), (0.999, 10, 10)]
)
def test_the_bound_of_a_latency_has_the_confidence_asked_for(monkeypatch, confidence, rounds, bound):
    """Ranks of the one-sided bound of a median: P(Binomial(n, ½) ≥ rank) ≤ 1 − confidence; seven rounds hold 99.2 %."""

    def times(contestants, batch, *, rounds, seconds):
        count = 20 if rounds is None else rounds
        return [SimpleNamespace(model="m", seconds=np.arange(count) + 1.0, median=count / 2)]

    monkeypatch.setattr(latency, "measure", times)
    _, upper = latency.measure_latency(
        {"m": SimpleNamespace(onnx=b"", text_tokenizer=None)}, np.zeros((1, 1)), confidence
    )["m"]
    assert upper == pytest.approx(1e3 * bound)
    assert binom.sf(bound - 1, rounds, 0.5) <= 1 - confidence
    assert bound == rounds or binom.sf(bound - 2, rounds, 0.5) > 1 - confidence


def test_the_folder_tells_how_it_was_found(result, tmp_path):
    folder = save_result(result, tmp_path / "best")
    assert fp.Artifact.load(folder).onnx == result.artifact.onnx
    page = (folder / "search.md").read_text()
    assert f"# Search: {result.recipe}" in page
    assert "keeps every limit: the winner" in page
    assert "front.svg" in page
    assert result.recipe in (folder / "front.svg").read_text()
    reported = json.loads((folder / "search.json").read_text())
    assert reported["winner"] == result.recipe
    assert json.loads((folder / "audit.json").read_text())["rows"] == reported["rows"]["test"]
    assert [p.name for p in tmp_path.iterdir()] == ["best"]


def test_a_limit_that_cannot_be_met_is_refused_with_the_nearest_and_what_binds(base, data, path):
    with pytest.raises(fp.ConstraintNotMet) as refused:
        fp.search(base, data, min_accuracy=0.9999, store=path, **ASKED)
    error = refused.value
    assert error.nearest in str(error)
    assert error.artifact.size < base.size
    assert error.binding.limit == "min_accuracy"
    assert error.rows_needed is None
    assert "a better model is needed, not more rows" in str(error)
    assert "The baseline itself is at" in str(error)
    assert not error.searched.judged[0].passed


def test_rows_that_are_too_few_are_told_from_a_model_that_is_too_bad(base, data, path):
    with pytest.raises(fp.ConstraintNotMet) as refused:
        fp.search(base, data, max_loss=0.0005, store=path, **ASKED)
    error = refused.value
    assert error.nearest in ("int8", "int4")
    assert error.binding.value < 0.0005 < error.binding.bound
    assert error.rows_needed > error.binding.n
    assert f"{error.rows_needed:,} rows of the same denominator would" in str(error)


def test_a_file_that_no_recipe_makes_so_small_is_refused_before_any_row_is_opened(base, data, tmp_path):
    with pytest.raises(fp.ConstraintNotMet, match="max_bytes") as refused:
        fp.search(base, data, max_group_loss=0.05, max_bytes=10, store=tmp_path, **{**ASKED, "budget": 1})
    assert not refused.value.searched.judged
    assert not refused.value.searched.openings["judging"]


def test_a_budget_too_short_for_one_candidate_is_refused(base, data, tmp_path):
    with pytest.raises(UserError, match="ended before a candidate could be made and judged"):
        search(
            base,
            data,
            by=["sex"],
            limits=Limits(max_group_loss=0.05),
            store=tmp_path,
            budget=Budget(seconds=1e-6),
        )


def test_a_compressed_model_is_no_baseline(result, data, path):
    with pytest.raises(UserError, match="search from the baseline"):
        fp.search(result.artifact, data, max_group_loss=0.05, store=path, **ASKED)


def test_fair_quantizer_quantizes_or_refuses(base, data, path):
    quantizer = fp.FairQuantizer(bits=8, by="sex", max_group_loss=0.05, budget=1, store=path)
    with pytest.raises(UserError, match=r"call quantize\(base, data\) first"):
        _ = quantizer.audit
    small = quantizer.quantize(base, data)
    assert small is quantizer.artifact
    assert "8" in quantizer.recipe
    assert quantizer.audit.verdict == "no_harm"
    assert 0 <= quantizer.final_dp_gap < 0.2
    with pytest.raises(fp.ConstraintNotMet, match="max_dp_gap") as refused:
        fp.FairQuantizer(bits=8, by="sex", max_dp_gap=0.001, budget=1, store=path).quantize(base, data)
    assert refused.value.nearest == "int8"  # the only one
    with pytest.raises(UserError, match="files of 5 bits"):
        fp.FairQuantizer(bits=5, by="sex", max_dp_gap=0.1).quantize(base, data)
    with pytest.raises(UserError, match="Did you mean 'max_dp_gap'"):
        fp.FairQuantizer(by="sex", max_dp_gaps=0.1).quantize(base, data)


TABLE = """\
path: people.csv
label: y
positive: yes
features: [a, b, c, d]
sensitive: [sex]
"""


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_from_there(tmp_path, monkeypatch, capsys, data):
    columns = {n: data.inputs[:, i] for i, n in enumerate(data.input_names)}
    columns |= {"sex": data.attributes["sex"], "y": np.array(["no", "yes"])[data.labels]}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "people.yaml").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    fp.train("mlp", "people.yaml", training={"max_epochs": 3}).save("base")

    def search_for(out: str, *limit: str) -> list[str]:
        return ["search", "base", "--by", "sex", "--budget", "2", "--no-train", "--out", out, *limit]

    expected = search_for("best", "--max-group-loss", "0.05")
    with subprocess.Popen(
        [sys.executable, "-c", "from fairpress.cli import main; main()", *expected],
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        while not (line := first.stderr.readline()).startswith("int8:"):
            assert line, "it ended before it made anything"
        os.kill(first.pid, signal.SIGKILL)
    assert not Path("best").exists()
    with pytest.raises(SystemExit) as ended:
        cli.main(expected)
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    assert "(from the store)" in next(line for line in shown.err.splitlines() if line.startswith("int8:"))
    assert "keeps every limit: the winner" in " ".join(Path("best/search.md").read_text().split())
    with pytest.raises(SystemExit) as ended:
        cli.main(search_for("none", "--max-dp-gap", "0.001"))
    assert ended.value.code == 2
    assert "Nearest: int" in capsys.readouterr().err
    assert not Path("none").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".store",
        "base",
        "best",
        "people.csv",
        "people.yaml",
    ]


@pytest.mark.slow
def test_networks_for_images_are_searched_too(tmp_path, monkeypatch):
    from faces import make_faces
    from fairpress import datasets

    make_faces(tmp_path / "data" / "utkface", 160, side=16)
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path / "data"))
    faces = datasets.load("utkface", on_message=lambda _: None, size=16)
    quick = {"max_epochs": 1, "batch_size": 16, "way": "fp32", "learning_rate": 3e-3}
    base = fp.train("resnet18", faces, seed=1, training=quick, device="cpu")
    requested = {"by": ["race", "age"], "budget": 2, "train": False, "store": tmp_path / ".store"}
    result = fp.search(base, faces, max_loss=0.9, **requested)
    assert {t.recipe for t in result.searched.trials} == {"int8", "int4"}
    assert base.size / result.artifact.size > 6
    assert result.searched.latency["baseline"] > 0
