"""Size, accuracy, bias: controls are chosen by validation rows, constant predictors are counted, words agree."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.reporting.html import render
from fairpress.reporting.palette import themed
from fairpress.reporting.tradeoff import Tradeoff, by_chance, control_words, draw, short, word
from fairpress.reporting.tradeoff import render as lines
from fairpress.reporting.tradeoff_result import DenseControl, TradeoffResult
from fairpress.studies.analysis.tradeoff import compare, match
from fairpress.studies.config.network_facts import NetworkFacts
from fairpress.studies.load import load

CURVE = [(0.60, "checkpoint-1"), (0.64, "checkpoint-2"), (0.68, "fp32")]
RIGHT = {
    "fp32": 0.7,
    "prune-80": 0.66,
    "placebo": 0.7,
    "checkpoint-1": 0.6,
    "checkpoint-2": 0.64,
    "prune-90": 0.5,
}
PARAMS = {
    "by": ["sex", "race"],
    "groups": {"race": ["A", "B"]},
    "positive": "yes",
    "confidence": 0.95,
    "repeated": False,
    "placebo_of": {"prune-80": "placebo", "prune-90": "placebo"},
}


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    seeds, folds, n = 3, 2, 900
    label = np.where(rng.random(n) < 0.5, "yes", "no")
    columns = {
        "row_id": np.tile([f"r{i:04d}" for i in range(n)], seeds),
        "seed": np.repeat(np.arange(seeds), n),
        "fold": np.tile(np.arange(n) % folds, seeds),
        "label": np.tile(label, seeds),
        "sex": np.tile(rng.choice(["F", "M"], n), seeds),
        "race": np.tile(rng.choice(["A", "B", "C"], n), seeds),
    }
    for model, share in RIGHT.items():
        hit = rng.random(seeds * n) < share
        predicted = np.where(hit, columns["label"], np.where(columns["label"] == "yes", "no", "yes"))
        columns[model] = np.full(seeds * n, "no") if model == "prune-90" else predicted
    facts = [
        NetworkFacts(
            recipe=m,
            seed=s,
            fold=f,
            bytes=1000,
            gzip_bytes=400,
            sha256="",
            threshold=0.5,
            provenance={"validation_accuracy": v}
            if m == "fp32"
            else {"details": {"validation": {"accuracy": v}, **({"sparsity": 0.8} if "prune" in m else {})}},
        )
        for m, v in RIGHT.items()
        for s in range(seeds)
        for f in range(folds)
    ]
    order = rng.permutation(seeds * n)  # the table's order must not matter
    return compare(pa.table({k: v[order] for k, v in columns.items()}), facts, PARAMS)


@pytest.fixture(scope="module")
def drawn(result):
    published = {
        "source": "Somebody <b>(2024)</b>",
        "note": "",
        "group_sizes": {"sex": {"F": 12}},
        "kilobytes": {"fp32": 136.0},
        "bias": {"race": {"fp32": 0.1351}},
        "accuracy": {"race": {"fp32": 0.8359}},
    }
    return Tradeoff(result, published, None, draw(Tradeoff(result, published)))


def test_a_control_lies_between_its_neighbours_and_above_the_curve_is_its_end():
    assert match(0.65, CURVE) == DenseControl("checkpoint-2", "fp32", pytest.approx(0.25))
    assert match(0.64, CURVE).above == "checkpoint-2"
    assert match(0.59, CURVE).side == "below"
    assert match(0.59, CURVE).weight is None
    assert match(0.69, CURVE) == DenseControl("checkpoint-2", "fp32", 1.0, "above")
    assert match(0.6, [(0.6, "a"), (0.6, "b")]).weight == 1.0


def test_every_model_is_compared_with_what_it_can_be_compared_with(result):
    content = result.to_dict()
    models = {m["model"]: m for m in content["models"]}
    assert {m: set(x) & {"against_baseline", "against_placebo", "control"} for m, x in models.items()} == {
        "fp32": set(),
        "placebo": {"against_baseline"},
        "checkpoint-1": {"against_baseline"},
        "checkpoint-2": {"against_baseline"},
        "prune-80": {"against_baseline", "against_placebo", "control"},
        "prune-90": {"against_baseline", "against_placebo", "control"},
    }
    pruned = models["prune-80"]
    assert (pruned["control"]["below"], pruned["control"]["above"]) == ("checkpoint-2", "fp32")
    assert pruned["accuracy"]["value"] == pytest.approx(0.66, abs=0.03)
    assert abs(pruned["control"]["accuracy_difference"]["value"]) < 0.05
    assert "less accurate" in models["prune-90"]["control"]["reason"]
    assert "change" not in models["prune-90"]["control"]
    assert content["used"] == {"sex": ["F", "M"], "race": ["A", "B"]}
    assert sum(content["groups"]["race"].values()) == 900
    assert TradeoffResult.from_dict(json.loads(json.dumps(content))) == result


def test_the_section_says_how_many_changes_it_shows_and_how_many_chance_would_call(drawn):
    # Two recipes against the baseline and a placebo, one of them against dense networks; by two attributes.
    sentence = by_chance(drawn)
    assert "10 changes of a recipe are shown" in sentence
    assert "about 0.5 of them would still be called raised or lowered" in sentence
    assert sentence in list(lines(drawn))
    assert sentence in _page(drawn)


def test_constant_predictors_are_counted_and_have_no_bias(result):
    models = {m.model: m for m in result.models}
    assert {m: x.constant for m, x in models.items() if x.constant} == {"prune-90": 6}
    assert models["prune-90"].networks == 6
    assert models["prune-90"].bias["sex"].value == 0


def test_repeated_people_are_the_unit_and_get_no_interval_of_bias_where_they_are_in_several_groups():
    n = 60
    sex = np.repeat(["F", "M"], n // 2)
    rows = {
        "row_id": [f"r{i:02d}" for i in range(n)] * 2,
        "subject": [str(i // 3) for i in range(n)] * 2,
        "seed": [0] * n + [1] * n,
        "fold": [0] * 2 * n,
        "label": ["yes" if i // 3 % 2 else "no" for i in range(n)] * 2,
        "sex": sex.tolist() * 2,
        "fp32": ["yes" if i // 3 % 3 else "no" for i in range(n)] * 2,
    }
    fact = [
        NetworkFacts(recipe="fp32", seed=s, fold=0, bytes=1, gzip_bytes=1, sha256="", threshold=0.5)
        for s in (0, 1)
    ]
    params = {**PARAMS, "by": ["sex"], "groups": {"sex": ["F", "M"]}}

    def first_model(repeated, **changed):
        return compare(pa.table({**rows, **changed}), fact, {**params, "repeated": repeated}).models[0]

    people, apart = first_model(True), first_model(False)
    assert people.accuracy.value == apart.accuracy.value == 0.55
    assert people.accuracy.n == 20
    width = [m.accuracy.high - m.accuracy.low for m in (people, apart)]
    assert width[0] > 1.5 * width[1]  # √3, less what the pseudo-rows add
    assert people.bias["sex"].low is not None
    mixed = first_model(True, sex=["F", "M"] * n)
    assert mixed.bias["sex"].low is None
    assert mixed.accuracy.low is not None


def test_words_follow_the_interval(result):
    assert word(Estimate(0.15, 0.1, 0.2)) == "raised"
    assert word(Estimate(-0.15, -0.2, -0.1)) == "lowered"
    assert word(Estimate(0.0, -0.1, 0.2)) == "undecided"
    assert word(Estimate.not_estimable("no rows")) == word(Estimate(0.1)) == "not estimable"
    models = {m.model: m for m in result.models}
    assert "50% checkpoint-2" not in control_words(models["fp32"])
    assert "checkpoint-2" in control_words(models["prune-80"])


def test_a_model_off_the_curve_says_whom_it_is_held_against(drawn):
    def with_control(control):
        models = [m if m.model != "prune-80" else replace(m, control=control) for m in drawn.models]
        t = Tradeoff(replace(drawn.results, models=tuple(models)))
        return [str(x) for x in lines(t) if "prune-80 against" in str(x)], _page(t)

    matched = next(m.control for m in drawn.models if m.model == "prune-80")
    (line,), page = with_control(replace(matched, above="fp32", weight=1.0, side="above"))
    assert "(fp32, the most accurate dense network; accuracy " in line
    assert ", against fp32</span></td>" in page
    # The comparison with fp32 is there already, and counts once.
    again = tuple(
        replace(m, control=replace(matched, above="fp32", weight=1.0)) if m.model == "prune-80" else m
        for m in drawn.models
    )
    assert "8 changes of a recipe are shown" in by_chance(Tradeoff(replace(drawn.results, models=again)))
    (line,), page = with_control(DenseControl(reason="less accurate than every checkpoint", side="below"))
    assert line.endswith("not estimable; less accurate than every checkpoint")
    both = 2 * len(drawn.attributes)  # prune-90 has none either
    assert page.count('<td class="nw">no control</td>') == both


def test_what_rounds_to_zero_has_no_sign():
    assert short(Estimate(-0.0004, -0.0002, 0.001), 3, "+") == "+0.000 [0.000, 0.001]"
    assert short(Estimate(-0.0006, -0.001, 0.0)) == "−0.001 [−0.001, 0.000]"


def test_the_terminal_and_the_page_tell_the_same(result, drawn):
    table, *more = lines(drawn)
    assert table.row_count == len(RIGHT)
    assert any("prune-80 against dense networks of equal accuracy" in str(x) for x in more)
    page = _page(drawn)
    assert "0.135" in page
    assert "6 of 6" in page
    assert "Somebody &lt;b&gt;" in page
    assert set(drawn.figures) == {"size", "sparsity-size", "sparsity-bias"}
    assert all(themed(svg) in page for svg in drawn.figures.values())


def _page(drawn):
    from fairpress import demo_data
    from fairpress.auditing.audit import audit
    from fairpress.reporting.html import Section

    demo = audit(demo_data.table(rows=1500), by=["sex"], baseline="fp32", compressed=["int8"])
    return render([Section("Demo", demo)], title="x", tradeoff=drawn)


@pytest.mark.slow
def test_chromium_shows_the_page_without_an_error(drawn, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    (tmp_path / "x.html").write_text(_page(drawn))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --enable-logging=stderr"
    command = [
        browser,
        *flags.split(),
        f"--user-data-dir={tmp_path}/p",
        "--dump-dom",
        (tmp_path / "x.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Size, accuracy, bias" in done.stdout
    assert not re.search("CONSOLE", done.stderr)


def test_what_the_section_cannot_tell_is_refused():
    with pytest.raises(UserError, match=r"not in `audit\.by`"):
        load("compas", ["size_accuracy_bias.groups={height: [tall, small]}"])
    with pytest.raises(UserError, match="one dataset"):
        load("compas-leak", ["size_accuracy_bias={}"])
