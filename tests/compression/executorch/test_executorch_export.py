"""Exports to ExecuTorch: the program computes what the network does, with the integers of the ONNX file."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import fairpress as fp
from fairpress import cli
from fairpress.compression.apply import compress
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.calibrate import calibrate
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.compression.verification.checks import stored_weights
from fairpress.core.errors import MissingExtra, UserError
from fairpress.models.mlp import Mlp
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.executorch import load_program
from fairpress.runtime.external.model import open_external
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit
from learnable_texts import learnable_texts
from small_model import make_model, write_table

needs_executorch = pytest.mark.skipif(
    util.find_spec("executorch") is None, reason="the extra executorch is not installed"
)
EXECUTORCH = Backend("executorch")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fp.load_dataset(str(write_table(tmp_path_factory.mktemp("table"))))


@pytest.fixture(scope="module")
def base(data):
    config = FitConfig(max_epochs=6, batch_size=32, learning_rate=1e-2)
    return fit(Mlp(widths=(16, 16)), [data.development()], [3], config)[0]


@pytest.fixture(scope="module")
def exports(base, data):
    return {recipe: fp.export(base, recipe, data=data, max_batch=50) for recipe in ("fp32", "int8")}


@pytest.fixture(scope="module")
def saved(exports, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone")
    return {recipe: export.save(folder / f"{recipe}.pte") for recipe, export in exports.items()}


def outputs_by_executorch(program: bytes, rows: np.ndarray, batch: int) -> np.ndarray:
    """Return the first output by ExecuTorch's own interface."""
    load_program(program)  # imports the library without its warnings
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(program).load_method("forward")
    parts = [torch.from_numpy(rows[i : i + batch].copy()) for i in range(0, len(rows), batch)]
    return np.concatenate([method.execute([part])[0].numpy() for part in parts])


def logits_of_onnx(data: bytes, rows: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


@needs_executorch
def test_a_float_program_computes_what_the_onnx_file_does(base, data, exports):
    rows = data.inputs[data.index("test")]
    expected = logits_of_onnx(base.onnx, rows)
    for batch in (1, 7, 50):
        computed = outputs_by_executorch(exports["fp32"].program, rows, batch)
        assert np.abs(computed - expected).max() < 1e-5 * np.abs(expected).max()
    report = exports["fp32"].report
    assert report["shares_at_bits"] == {"32": {"parameters": 1.0, "bytes": 1.0}}
    assert report["layers"] == {"integer": 0, "float": 3, "portable": 0}
    assert report["operators"]["portable"] == {}


@needs_executorch
def test_an_int8_program_has_the_integers_of_the_onnx_file(base, data, exports):
    """The weights of both are equal; the rest is the rounding of activations, by two runtimes."""
    (small,) = compress([base], parse("int8"), [data], [0])
    integers = [weight.values for weight in stored_weights(onnx.load_from_string(small.onnx))]
    assert len(integers) == 3
    packed = exports["int8"].program
    for values in integers:  # XNNPACK's data have the rows of a weight one after another
        assert values.tobytes() in packed or values.T.tobytes() in packed
    rows = data.inputs[data.index("test")]
    ours = outputs_by_executorch(packed, rows, 50).argmax(1)
    theirs = logits_of_onnx(small.onnx, rows).argmax(1)
    assert (ours == theirs).mean() > 0.97
    report = exports["int8"].report
    assert report["layers"] == {"integer": 3, "float": 0, "portable": 0}
    in_layers = sum(values.size for values in integers)
    n_parameters = sum(v.numel() for v in from_bytes(base.weights).values())
    assert report["shares_at_bits"]["8"]["parameters"] == pytest.approx(in_layers / n_parameters, abs=0.02)
    assert report["check"]["error_against_graph"] < 0.05
    assert report["check"]["rows"] == report["validation"]["rows"] == len(data.index("validation"))


@needs_executorch
def test_an_export_is_shown_without_its_bytes_and_named_by_its_own_words(exports, saved):
    assert len(repr(exports["int8"])) < 3_000
    with pytest.raises(UserError, match="choose another file, or replace it with force=True"):
        exports["int8"].save(saved["int8"])
    with pytest.raises(
        UserError, match="is a file of a model, and an export needs the network's float weights"
    ):
        fp.export(saved["int8"])


@needs_executorch
def test_predict_needs_no_guess(base, data, saved):
    for path in saved.values():
        assert open_external(path, data, runtime=EXECUTORCH).guessed == ()
    table = fp.predict({"fp32": base, "phone": saved["fp32"], "int8": saved["int8"]}, data)
    assert table["phone"].to_pylist() == table["fp32"].to_pylist()
    scores = [np.array(table[f"{name}.score"]) for name in ("fp32", "phone")]
    assert np.abs(scores[0] - scores[1]).max() < 1e-5
    runtimes = json.loads(table.schema.metadata[b"fairpress.runtimes"])
    assert runtimes["int8"]["runtime"].startswith("executorch ")
    assert runtimes["int8"]["runtime"].endswith("(xnnpack)")


@needs_executorch
@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("int4", "XNNPACK's quantizer has no counterpart of weights of 4 bits; take int8"),
        ("w8", "no counterpart of activations in float"),
        ("int8(bits=first:4)", "no counterpart of bits="),
        ("int8(reduce_range=true)", "no counterpart of reduce_range="),
        ("int8-dynamic", "int8-dynamic has no counterpart in XNNPACK"),
        ("prune-50+int8", "compress by prune-50 first, and export the result with --recipe 'int8'"),
        ("prune-50", "compress by prune-50 first, and export the result"),
    ],
)
def test_what_xnnpack_cannot_compute_is_refused_by_name(base, data, recipe, message):
    with pytest.raises(UserError, match=message):
        fp.export(base, recipe, data=data)


@needs_executorch
@pytest.mark.slow
def test_a_layer_that_is_kept_stays_in_float(base, data):
    export = fp.export(base, "int8(keep_head=true)", data=data, max_batch=1)
    assert export.report["layers"] == {"integer": 2, "float": 1, "portable": 0}
    assert export.report["max_batch"] == 1
    rows = data.inputs[data.index("test")][:20]
    agree = outputs_by_executorch(export.program, rows, 1).argmax(1) == logits_of_onnx(
        base.onnx, rows
    ).argmax(1)
    assert agree.mean() >= 0.9


@needs_executorch
def test_models_without_weights_and_impossible_batches_are_refused(base, data):
    (small,) = compress([base], parse("int8"), [data], [0])
    with pytest.raises(
        UserError, match=r"\(int8\) has no float weights; export its baseline with --recipe int8"
    ):
        fp.export(small, data=data)
    with pytest.raises(UserError, match=r"`max_batch=0` is out of range; use 1 to 4,096 rows"):
        fp.export(base, data=data, max_batch=0)


class SmallConvolutions(torch.nn.Module):
    """Convolutions with a batch norm, a sum and a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(x + self.second(x))
        return self.head(x.mean((2, 3)))


@needs_executorch
def test_convolutions_read_every_batch_up_to_the_largest():
    """torch compares the rows of a convolution's input with 16, which must not limit the program."""
    from fairpress.compression.executorch.lower import lower
    from fairpress.compression.executorch.xnnpack_graph import quantize_for_xnnpack

    torch.manual_seed(0)
    network, rows = SmallConvolutions().eval(), torch.rand(64, 3, 12, 12)
    network.norm.running_mean.uniform_(-0.2, 0.2)
    engine = BatchQuantizer.from_module(network, rows)
    prepared = engine.prepare(Scheme())
    calibrated = calibrate(prepared, engine.fold(network.state_dict()), rows)
    graph, names = quantize_for_xnnpack(
        engine.folded, prepared, calibrated.state, rows, calibrated.activations
    )
    assert names == ["first", "second", "head"]
    lowered = lower(graph, rows[:1], 40)
    assert lowered.layers == {"integer": 3, "float": 0, "portable": 0}
    with torch.no_grad():
        expected = network(rows).numpy()
    spread = (expected - expected.mean(1, keepdims=True)).std()
    for batch in (1, 15, 17, 40):
        computed = outputs_by_executorch(lowered.data, rows.numpy(), batch)
        assert np.sqrt(np.square(computed - expected).mean()) < 0.1 * spread
    assert load_program(lowered.data).inputs[0].shape == (40, 3, 12, 12)


def quantized_graph(network: torch.nn.Module, rows: torch.Tensor) -> torch.fx.GraphModule:
    from fairpress.compression.executorch.xnnpack_graph import quantize_for_xnnpack

    engine = BatchQuantizer.from_module(network, rows)
    prepared = engine.prepare(Scheme())
    calibrated = calibrate(prepared, engine.fold(network.state_dict()), rows)
    return quantize_for_xnnpack(engine.folded, prepared, calibrated.state, rows, calibrated.activations)[0]


class Shifted(torch.nn.Module):
    """Picks columns by computed whole numbers; `value` is added to what it returns."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.layer, self.value = torch.nn.Linear(3, 2), value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positions = (x[0] * 0).long() + torch.arange(3) - 1 + 1
        return self.layer(x[:, positions]) + torch.tensor([0.0, self.value])


@needs_executorch
def test_whole_numbers_of_a_graph_stay_whole():
    torch.manual_seed(0)
    network, rows = Shifted(1.0).eval(), torch.rand(32, 3)
    with torch.no_grad():
        difference = quantized_graph(network, rows)(rows) - network(rows)
    assert difference.abs().max() < 0.05


@needs_executorch
@pytest.mark.parametrize("value", [float("-inf"), torch.finfo(torch.float32).min])
def test_a_mask_among_the_sums_is_refused(value):
    with pytest.raises(UserError, match="values that 8 bits cannot hold together with the others"):
        quantized_graph(Shifted(value).eval(), torch.rand(32, 3))


@needs_executorch
@pytest.mark.slow
def test_texts_are_read_one_at_a_time_and_in_any_length(tmp_path):
    texts = learnable_texts(240)
    sizes = {"layers": 1, "width": 16, "heads": 2, "feedforward": 32, "vocabulary": 300, "max_length": 40}
    training = {"max_epochs": 2, "batch_size": 16, "learning_rate": 5e-3, "way": "fp32"}
    base = fp.train("text", texts, options=sizes, training=training, device="cpu")
    with pytest.raises(UserError, match="takes them one at a time"):
        fp.export(base, data=texts, max_batch=8)
    path = fp.export(base, data=texts).save(tmp_path / "phone.pte")
    assert (tmp_path / "phone.tokenizer.json").read_bytes() == base.tokenizer
    opened = open_external(path, texts, runtime=EXECUTORCH)
    assert opened.guessed == ()
    table = fp.predict({"fp32": base, "phone": path}, texts)
    assert table["phone"].to_pylist() == table["fp32"].to_pylist()
    for name in texts.task.classes:
        scores = [np.array(table[f"{model}.score.{name}"]) for model in ("fp32", "phone")]
        assert np.abs(scores[0] - scores[1]).max() < 1e-4


def run_cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return int(stop.value.code or 0)


@needs_executorch
def test_the_command_says_what_is_integer_where_it_runs_and_what_changed(base, tmp_path, capsys):
    folder, out = base.save(tmp_path / "base"), tmp_path / "phone.pte"
    assert run_cli("export", str(folder), "--recipe", "int8", "--out", str(out)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"phone.pte: {out.stat().st_size:,} bytes" in said
    assert "of the parameters" in said
    assert "have 8 bits" in said
    assert "3 layers compute in integers" in said
    assert "it reads 1 to 256 rows a call" in said
    assert "validation rows it predicts differently from the baseline in" in said
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
        "phone.model.yaml",
        "phone.pte",
        "phone.report.json",
    ]
    before = out.read_bytes()
    assert run_cli("export", str(folder), "--out", str(out)) == 2
    assert "already exists; choose another file, or replace it with --force." in capsys.readouterr().err
    assert out.read_bytes() == before


def test_other_names_and_files_are_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert run_cli("export", str(tmp_path / "model.onnx"), "--out", str(tmp_path / "a.pte")) == 2
    assert "an export needs the network's float weights; name the model folder" in " ".join(
        capsys.readouterr().err.split()
    )
    assert run_cli("export", str(tmp_path), "--out", str(tmp_path / "a.onnx")) == 2
    assert "name a file that ends in .pte" in " ".join(capsys.readouterr().err.split())


def test_without_the_extra_the_command_says_which(base, data, monkeypatch):
    find = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *more: None if name == "executorch" else find(name, *more)
    )
    with pytest.raises(MissingExtra, match=r"fairpress\[executorch\]"):
        fp.export(base, data=data)


def test_settings_beside_the_program_are_those_of_the_card(tmp_path: Path):
    from fairpress.compression.executorch.settings import as_yaml, settings_of

    card = make_model(tmp_path).card
    settings = settings_of(card, None)
    assert settings.columns == ("a", "b", "c")
    assert settings.classes == ("no", "yes")
    assert "activation: softmax" in as_yaml(settings)
