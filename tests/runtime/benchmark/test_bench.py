"""bench: medians with intervals that hold, models that do not disturb one another, sentences that follow from numbers."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from math import comb

import numpy as np
import pytest

from fairpress import api, cli
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.datasets import reload
from fairpress.reporting.benchmark_table import duration, render
from fairpress.runtime.backends.base import Backend, Kernels
from fairpress.runtime.benchmark import inputs
from fairpress.runtime.benchmark import measure as bench_module
from fairpress.runtime.benchmark import run as run_module
from fairpress.runtime.benchmark.inputs import BenchmarkModel, input_of, rows_for
from fairpress.runtime.benchmark.measure import BenchmarkRun, Measurement, measure
from fairpress.runtime.benchmark.result import BenchmarkResult, Size, format_ratio
from fairpress.runtime.benchmark.statistics import median_ratio, order_statistic_rank, quartiles
from tiny_networks import artifact, chain, images, linear, pixels, quantized


def test_the_ranks_of_a_median_are_those_of_the_binomial():
    """P(X₍ᵣ₎ ≤ median ≤ X₍ₙ₊₁₋ᵣ₎) = 1 − 2·Σ_{i<r} C(n, i)/2ⁿ, reached at 95 % by r and not by r + 1."""
    assert order_statistic_rank(5, 0.95) is None  # 1 − 2/32 = .9375
    assert order_statistic_rank(6, 0.95) == 1  # 1 − 2/64 = .969
    for n in (10, 25, 101):
        r = order_statistic_rank(n, 0.95)
        reached = [1 - 2 * sum(comb(n, i) for i in range(k)) / 2**n for k in (r, r + 1)]
        assert reached[0] >= 0.95 > reached[1]


def test_the_interval_of_a_ratio_holds_it_while_the_machine_drifts():
    """Both models slow down together by up to ten times; the ratio of each round stays, its noise is heavy-tailed."""
    rng = np.random.default_rng(0)
    rounds, runs, truth = 25, 1000, 1.3
    drift = np.exp(np.cumsum(rng.normal(0, 0.5, (runs, rounds)), axis=1).clip(-1, 2.3))
    first, other = (drift * np.exp(0.1 * rng.standard_t(2, (runs, rounds))) for _ in range(2))
    result = [median_ratio(truth * a, b) for a, b in zip(first, other, strict=True)]
    held = np.mean([f.low <= truth <= f.high for f in result])
    assert 0.94 <= held <= 0.99  # nominal .957 for 25 rounds
    unpaired = np.mean(
        [abs(np.median(truth * a) / np.median(b) - truth) for a, b in zip(first, other, strict=True)]
    )
    assert np.mean([abs(f.value - truth) for f in result]) < unpaired


def test_too_few_rounds_have_a_ratio_without_an_interval():
    result = median_ratio([2, 2, 2], [1, 1, 1])
    assert (result.value, result.low, result.high, result.n) == (2, None, None, 3)
    assert format_ratio(result) == "2.00x"
    assert quartiles([1, 2, 3, 4, 5]) == (2, 3, 4)


def contestant(name, data, rows):
    return BenchmarkRun(name, data, rows, Backend())


def test_each_is_timed_in_every_round_and_the_larger_takes_longer_and_more_memory():
    rows = np.random.default_rng(0).normal(size=(10, 512)).astype(np.float32)
    messages = []
    small, large = measure(
        [contestant("small", chain(1, 512), rows), contestant("large", chain(40, 512), rows)],
        4,
        rounds=6,
        progress=lambda *step: messages.append(step),
    )
    assert messages == [("batch 4", i, 6) for i in range(6)]
    assert len(small.seconds) == len(large.seconds) == 6
    assert small.speedup is None
    assert large.against == "small"
    assert large.speedup.high < 0.5  # 40 times the arithmetic
    assert large.median > small.median > 0
    assert small.calls > large.calls >= 1
    if small.memory_peak is not None:
        weights = 40 * 512 * 512 * 4
        assert large.memory_peak - large.memory_before > weights > small.memory_peak - small.memory_before
    shown = large.to_dict()
    assert shown["milliseconds"]["median"] == pytest.approx(1e3 * large.median)
    assert shown["rows_per_second"] == pytest.approx(4 / large.median)
    assert json.loads(json.dumps(shown)) == json.loads(json.dumps(large.to_dict()))


def test_a_model_that_cannot_be_run_is_one_sentence():
    rows = np.zeros((1, 7), np.float32)  # the model reads 4 columns
    with pytest.raises(UserError, match=r"model 'm' on onnxruntime at batch 2 cannot be run: .*dimension"):
        measure([contestant("m", linear(), rows)], 2, rounds=1)


def test_a_process_that_is_killed_is_named_with_the_likely_reason(monkeypatch):
    started = []
    true_popen = subprocess.Popen

    def popen(*arguments, **options):
        started.append(true_popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(bench_module.subprocess, "Popen", popen)
    with pytest.raises(
        UserError, match=r"model 'm' .* killed by the system, most likely because memory ran out"
    ):
        measure(
            [contestant("m", linear(), np.zeros((1, 4), np.float32))],
            1,
            rounds=3,
            progress=lambda *_: started[0].kill(),
        )
    assert started[0].returncode is not None  # nobody is left behind


def measured(model, seconds, batch=1, runtime="onnxruntime", speedup=None):
    return Measurement(
        model,
        runtime,
        batch,
        1,
        tuple(seconds),
        1,
        0.1,
        2 * 10**8,
        10**8,
        {"runtime": runtime},
        speedup,
        "base",
    )


def pair(ratio, batch=1, runtime="onnxruntime"):
    """Seven rounds in which the first takes `ratio` times as long as int8."""
    times_ = np.linspace(1.0, 1.1, 7)
    return [
        replace(measured("base", ratio * times_, batch, runtime), against=None),
        measured("int8", times_, batch, runtime, median_ratio(ratio * times_, times_)),
    ]


def bench(measurements, kernels=None, processor="some (AVX512-VNNI)"):
    sizes = [Size("base", 400, 300, "random numbers"), Size("int8", 100, 90, "random numbers")]
    return BenchmarkResult(sizes, measurements, processor, kernels or {})


INTEGER = {("int8", "onnxruntime"): Kernels(9, 0, 1)}


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (bench(pair(0.5)), "int8 is slower than base on onnxruntime: 2.00x [2.00, 2.00] at batch 1."),
        (
            bench([pair(0.5)[0], replace(pair(0.5)[1], runtime="litert")]),
            "int8 on litert is slower than base on onnxruntime: 2.00x [2.00, 2.00] at batch 1.",
        ),
        (
            bench([*pair(0.5), *pair(1.25, 1000)], INTEGER),
            "int8 is slower than base on onnxruntime: 2.00x [2.00, 2.00] at batch 1. All its 9 layers run in integers, with "
            "1 conversion from or to floats. An integer layer has a fixed cost per call, which larger batches amortize: "
            "at batch 1,000 it is 1.25x [1.25, 1.25] faster.",
        ),
        (
            bench([*pair(0.5), *pair(0.8, 1000)], INTEGER, "old (no VNNI)"),
            "int8 is slower than base on onnxruntime: 2.00x [2.00, 2.00] at batch 1, 1.25x [1.25, 1.25] at batch 1,000. All "
            "its 9 layers run in integers, with 1 conversion from or to floats. This processor has no fast 8-bit "
            "instructions (VNNI).",
        ),
        (
            bench(pair(0.5), {("int8", "onnxruntime"): Kernels(19, 2, 14)}),
            "int8 is slower than base on onnxruntime: 2.00x [2.00, 2.00] at batch 1. Of its 21 layers 2 run in floats, with "
            "14 conversions from or to floats.",
        ),
    ],
)
def test_a_model_that_is_slower_is_told_with_what_is_known_of_the_reason(result, sentence):
    assert result.sentences() == [sentence]
    assert sentence in "".join(str(part) for part in render(result))


def test_kernels_are_counted_in_the_graph_of_the_smallest_batch_at_which_a_model_is_slower(monkeypatch):
    counted = []
    monkeypatch.setattr(
        run_module, "measure", lambda runs, batch, **_: pair(0.5 if batch > 1 else 2.0, batch)
    )
    monkeypatch.setattr(run_module, "kernels", lambda *what: counted.append(what) or Kernels(9, 0, 1))
    entries = [BenchmarkModel(name, linear(), None, (Backend(),)) for name in ("base", "int8")]
    result = run_module.bench_all(entries, [1, 8, 32])
    assert counted == [(linear(), Backend(), 8)]
    assert result.kernels == INTEGER


def test_what_is_not_shown_to_be_slower_is_not_said_to_be():
    noisy = measured("int8", [1] * 7, speedup=Estimate(0.9, 0.7, 1.1, 7))
    few = measured("int8", [1] * 3, speedup=Estimate(0.9, n=3))
    assert bench([measured("base", [0.9] * 7), noisy]).sentences() == []
    assert bench([measured("base", [0.9] * 3), few]).sentences() == []
    assert bench(pair(2.0)).sentences() == []


def test_the_fastest_is_compared_with_the_very_first_across_runtimes():
    both = [
        *pair(1.5),
        *[replace(m, seconds=tuple(s / 4 for s in m.seconds)) for m in pair(1.5, 1, "openvino")],
    ]
    ((best, ratio),) = bench(both).fastest()
    assert (best.model, best.runtime) == ("int8", "openvino")
    assert ratio.value == pytest.approx(6.0)
    assert bench(pair(0.5)).fastest() == []


def test_times_are_written_in_one_unit():
    assert duration(41e-6, 47e-6) == "41–47 µs"
    assert duration(0.9e-3, 1.5e-3) == "0.90–1.50 ms"
    assert duration(2.119, 2.968) == "2,119–2,968 ms"


def test_rows_are_real_where_the_data_fits_and_made_up_else():
    values = np.arange(200 * 3 * 64, dtype=np.uint8).reshape(200, 3, 8, 8)
    dataset = images(values)
    rows, source = rows_for(input_of(pixels(8), "m"), dataset)
    assert source == "validation rows of faces"
    assert (rows == values[dataset.parts["validation"]]).all()
    rows, source = rows_for(input_of(pixels(16), "m"), dataset)
    assert (source, rows.shape[1:], rows.dtype) == ("random numbers", (3, 16, 16), np.uint8)
    assert rows.min() == 0
    assert rows.max() == 255
    rows, source = rows_for(input_of(linear(), "m"), None)
    assert (source, rows.shape[1:], rows.dtype) == ("random numbers", (4,), np.float32)


def test_data_that_would_have_to_be_fetched_is_not_at_hand(monkeypatch):
    def load(name, *, on_message, **config):
        on_message(f"fetching {name}")
        raise AssertionError("went on to fetch")

    monkeypatch.setattr(reload, "load", load)
    card = artifact(linear(), [4], trained_on={"name": "compas", "config": {}, "fingerprint": "x"}).card
    assert inputs.available_data(card) is None
    monkeypatch.setattr(reload, "load", lambda *_, **__: images(np.zeros((4, 3, 8, 8), np.uint8)))
    assert inputs.available_data(card) is None  # other data than in training
    created = replace(card, data={**card.data, "fingerprint": "made"})
    assert inputs.available_data(created).name == "faces"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifact(linear(), [4]).save("base")
    (tmp_path / "wide.onnx").write_bytes(linear(8))
    (tmp_path / "fixed.onnx").write_bytes(linear(batch=16))
    (tmp_path / "int8.onnx").write_bytes(quantized(np.full((4, 2), 3)))
    return tmp_path


def fairpress(capsys, *arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", *arguments])
    assert stop.value.code == code
    return capsys.readouterr()


def test_the_command_measures_folders_and_foreign_files_and_prints_json(folder, capsys):
    options = ["--rounds", "1", "--batch", "2,3", "--json"]
    shown = json.loads(fairpress(capsys, "base/", "wide.onnx", "fixed.onnx", *options).out)
    assert shown["schema"] == "fairpress.bench/1"
    assert [s["model"] for s in shown["sizes"]] == ["base", "wide", "fixed"]
    assert shown["sizes"][0]["bytes"] == (folder / "base" / "model.onnx").stat().st_size
    assert shown["sizes"][0]["gzip_bytes"] > 0
    result = [(m["model"], m["batch"]) for m in shown["measurements"]]
    assert result == [("base", 2), ("wide", 2), ("base", 3), ("wide", 3), ("fixed", 16)]
    assert "fixed requires exactly 16 rows per call and was measured at that batch size." in shown["notes"]
    alone = shown["measurements"][-1]
    assert alone["speedup"] is None  # nothing else ran 16 rows


def test_what_the_command_prints_fits_a_terminal(folder, capsys):
    text = fairpress(capsys, "first=base", "second=int8.onnx", "--rounds", "1", "--batch", "1000").out
    assert max(map(len, text.splitlines())) <= 100
    flowing = " ".join(text.split())  # the name of the processor decides where lines break
    for part in ("batch 1,000, 1 rounds", "random numbers", "smaller", "rows/s", "second"):
        assert part in flowing


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name at least one model"),
        (["nope"], "no model folder nope"),
        (["nope.onnx"], "cannot read nope.onnx"),
        (["base", "base"], "given twice"),
        (["a=base", "wide.onnx"], "name all models"),
        (["a=base", "a=wide.onnx"], "two models have the name 'a'"),
        (["base", "--batch", "1,x"], "--batch x"),
        (["base", "--batch", "0"], "1 or more"),
        (["base", "--rounds", "0"], "--rounds 0` is too small"),
        (["base", "--seconds", "0"], "--seconds 0` is out of range"),
        (["base", "--threads", "0"], "--threads 0` is too small"),
        (["base", "--runtime", "onnxruntme"], "Did you mean 'onnxruntime'"),
        (["base", "--runtime="], "name at least one runtime"),
        (["base@opnvino"], "Did you mean 'openvino'"),
        (["base", "--provider", "CUDA"], r"no provider 'CUDA', only .*CPU"),
        (["open.onnx"], r"its input 'x' is n|\? × \?"),
        (["damaged.onnx"], "model 'damaged' is not an ONNX file"),
    ],
)
def test_wrong_input_is_one_sentence(folder, capsys, arguments, sentence):
    import re

    (folder / "damaged.onnx").write_bytes(b"nothing")
    (folder / "open.onnx").write_bytes(_open())
    output = fairpress(capsys, *arguments, code=2).err
    assert re.search(sentence, output)
    assert "Traceback" not in output


def _open():
    """A file whose rows have no known length."""
    import onnx

    model = onnx.load_from_string(linear())
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "columns"
    return model.SerializeToString()


def test_the_python_function_takes_artifacts(folder):
    result = api.bench({"a": artifact(linear(), [4]), "b": "wide.onnx@onnxruntime-exact"}, batch=2, rounds=1)
    assert [(m.model, m.runtime) for m in result.measurements] == [
        ("a", "onnxruntime"),
        ("b", "onnxruntime-exact"),
    ]
    assert result.measurements[1].against == "a"
