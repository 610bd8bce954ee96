"""One file on several runtimes: the same numbers where they should be the same, and what ran is told."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import util

import numpy as np
import onnx
import pytest

from fairpress.core.errors import MissingExtra, UserError
from fairpress.runtime.backends.base import Backend, Kernels, integer_instructions, processor
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.backends.registry import choose, kernels, open_session, split_suffix
from fairpress.runtime.onnx.compatibility import separate_constants, widen_two_bits
from fairpress.runtime.onnx.weight_packing import weight_bits
from tiny_networks import chain, linear, pixels, quantized

openvino = pytest.mark.skipif(
    util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)
RNG = np.random.default_rng(0)


def outputs(data, name, rows):
    return open_session(data, choose(name), len(rows)).run(rows)


def test_what_follows_an_at_names_the_runtime_unless_it_is_part_of_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me@home").mkdir()
    assert split_suffix("int8/@openvino") == ("int8/", "openvino")
    assert split_suffix("int8@onnxruntime-exact") == ("int8", "onnxruntime-exact")
    assert split_suffix("int8/") == ("int8/", None)
    assert split_suffix("me@home") == ("me@home", None)
    assert split_suffix("me@home/int8") == ("me@home/int8", None)
    assert split_suffix("me@home/int8@openvino") == ("me@home/int8", "openvino")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "opnvino"}, "Did you mean 'openvino'"),
        ({"name": "tensorrt"}, "Available: executorch, litert"),
        ({"threads": 0}, "`threads=0` is too small"),
        ({"provider": "cpu"}, "Did you mean 'CPU'"),
    ],
)
def test_a_runtime_that_is_none_is_one_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        choose(**arguments)


def test_without_openvino_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"fairpress\[openvino\]"):
        choose("openvino")


@openvino
def test_bf16_is_refused_where_the_processor_has_none_and_openvino_would_not_say_so(monkeypatch):
    from fairpress.runtime.backends import openvino as engine

    monkeypatch.setattr(engine, "capabilities", lambda: ["FP32", "INT8"])
    with pytest.raises(UserError, match="does not compute in bfloat16"):
        choose("openvino-bf16")
    monkeypatch.setattr(engine, "capabilities", lambda: ["FP32", "BF16"])
    assert choose("openvino-bf16") == Backend("openvino", "bf16")
    assert choose(provider="CPUExecutionProvider") == choose()
    with pytest.raises(UserError, match="`provider='CUDA'`"):
        choose("openvino", provider="CUDA")


@openvino
@pytest.mark.parametrize("batch", [None, 5])
def test_float_files_give_the_same_on_both_runtimes(batch):
    rows = RNG.normal(size=(5, 4)).astype(np.float32)
    faces = RNG.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    for data, x in ((linear(), rows), (pixels(), faces)):
        other = open_session(data, choose("openvino"), batch)
        assert other.input.dtype == x.dtype
        assert other.input.shape == (batch, *x.shape[1:])
        np.testing.assert_allclose(other.run(x), outputs(data, "onnxruntime", x), rtol=1e-5)


@openvino
def test_what_ran_is_told_with_version_threads_and_precision():
    import onnxruntime

    facts = open_session(linear(), choose(threads=2)).facts
    assert facts["runtime"] == f"onnxruntime {onnxruntime.__version__}"
    assert (facts["threads"], facts["precision"], facts["provider"]) == (2, "f32", "CPU")
    assert "options" not in facts
    exact = open_session(linear(), choose("onnxruntime-exact")).facts
    assert exact["options"] == {"session.x64quantprecision": "1"}
    facts = open_session(linear(), choose("openvino")).facts
    assert facts["runtime"].startswith("openvino 20")
    assert facts["precision"] == "f32"  # its own default is bf16 where the processor has it


@openvino
def test_a_bf16_session_says_so_and_differs_in_the_digits_bf16_lacks():
    from fairpress.runtime.backends.openvino import capabilities

    if "BF16" not in capabilities():
        pytest.skip("this processor has no bfloat16")
    rows = RNG.normal(size=(64, 256)).astype(np.float32)
    session = open_session(chain(2, 256), choose("openvino-bf16"), len(rows))
    assert session.facts["precision"] == "bf16"
    exact = outputs(chain(2, 256), "onnxruntime", rows)
    error = np.abs(session.run(rows) - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05


def test_exact_sums_do_not_saturate_and_constants_that_nodes_share_are_no_obstacle():
    """255 · 127 + 255 · 127 = 64,770 does not fit 16 bits, in which processors without VNNI add two products."""
    weights = np.full((64, 8), 127)
    rows = np.full((3, 64), 255, np.float32)
    data = quantized(weights)
    assert kernels(data, Backend()).integer == 1  # else floats would be added, which never saturate
    assert (outputs(data, "onnxruntime-exact", rows) == rows @ weights).all()


def test_constants_of_their_own_change_no_number():
    rows = RNG.integers(0, 256, (50, 16)).astype(np.float32)
    data = quantized(RNG.integers(-20, 21, (16, 4)))
    apart = separate_constants(data)
    nodes = [n for n in onnx.load_from_string(apart).graph.node if n.op_type.endswith("quantizeLinear")]
    read = [name for n in nodes for name in n.input[1:]]
    assert len(read) == len(set(read))
    assert (run(data, rows) == run(apart, rows)).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_the_widened_file_gives_the_same_numbers_as_the_packed_one(bits):
    top = 2 ** (bits - 1) - 1
    data = quantized(RNG.integers(-top, top + 1, (7, 3)), bits=bits, scale=0.5)
    assert weight_bits(data) == {"w_packed": bits}
    wide = widen_two_bits(data)
    rows = RNG.integers(0, 256, (50, 7)).astype(np.float32)
    assert (run(data, rows) == run(wide, rows)).all()
    if bits == 4:
        assert wide is data  # every runtime reads 4 bits
    else:
        assert weight_bits(wide) == {"w_packed": 8}
        assert all(n.op_type != "Cast" for n in onnx.load_from_string(wide).graph.node)


@openvino
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_openvino_runs_files_of_every_width_in_integers_and_says_when_it_read_them_widened(bits):
    top = 2 ** (min(bits, 4) - 1) - 1  # no sum of two products exceeds 16 bits
    weights = RNG.integers(-top, top + 1, (16, 4))
    data = quantized(weights, bits=bits)
    rows = RNG.integers(0, 256, (50, 16)).astype(np.float32)
    session = open_session(data, choose("openvino"), len(rows))
    assert (session.run(rows) == rows @ weights).all()
    assert ("weights" in session.facts) == (bits == 2)
    assert kernels(data, choose("openvino")) == Kernels(1, 0, 1)


def test_float_layers_are_counted_as_such():
    assert kernels(linear(), Backend()) == Kernels(0, 1, 0)
    if util.find_spec("openvino") is not None:
        assert kernels(linear(), choose("openvino")) == Kernels(0, 1, 0)


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=openvino)])
def test_what_a_runtime_cannot_load_is_one_sentence(name):
    with pytest.raises(UserError, match=r"cannot load this model|cannot run this model|not an ONNX file"):
        open_session(b"nothing", choose(name))


@openvino
def test_importing_openvino_reports_nothing_and_leaves_the_home_folder_alone(tmp_path):
    code = (
        "import sys; from fairpress.runtime.backends.openvino import version; print(version()); "
        "assert 'openvino_telemetry' not in sys.modules"
    )
    home = {**os.environ, "HOME": str(tmp_path), "CI": "", "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20")
    assert list(tmp_path.iterdir()) == []


def test_the_processor_is_named_with_what_decides_about_integers():
    assert integer_instructions("fpu avx2 avx512_vnni amx_int8 amx_tile") == ["AVX512-VNNI", "AMX"]
    assert integer_instructions("fpu avx2") == []
    assert processor()
