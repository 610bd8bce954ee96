"""Formats of model files: each is sent to a runtime that loads it, or to the way in which it is audited."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from fairpress import api
from fairpress.core.errors import MissingExtra, UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import RUNTIMES, choose
from fairpress.runtime.external.engines.registry import FORMATS, check_runtime, files_of, runtimes_of
from fairpress.runtime.model_reference import default_runtime_of, is_external, name_models


def test_every_format_names_runtimes_that_exist_and_every_runtime_loads_a_format():
    named = {runtime for _, runtimes in FORMATS.values() for runtime in runtimes}
    assert named == set(RUNTIMES)


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("m.onnx", "onnxruntime"), ("M.TFLITE", "litert"), ("ir/m.xml", "openvino"), ("folder", "onnxruntime")],
)
def test_the_suffix_chooses_the_runtime(name, runtime):
    assert default_runtime_of(name) == runtime
    assert is_external(name) == (name != "folder")


def test_a_folder_with_the_suffix_of_a_format_is_a_folder(tmp_path):
    (tmp_path / "m.tflite").mkdir()
    assert not is_external(tmp_path / "m.tflite")


def test_a_runtime_that_does_not_load_the_format_is_refused_with_those_that_do():
    with pytest.raises(
        UserError, match=r"m\.xml is an OpenVINO file, which runs on @openvino, @openvino-bf16, not"
    ):
        check_runtime(Path("m.xml"), Backend("litert"))
    with pytest.raises(UserError, match="is not a model file that fairpress runs"):
        runtimes_of(Path("m.doc"))


def test_files_of_an_xml_are_itself_and_its_weights(tmp_path):
    (tmp_path / "m.xml").write_text("<net/>")
    assert files_of(tmp_path / "m.xml") == [tmp_path / "m.xml"]
    (tmp_path / "m.bin").write_bytes(b"")
    assert files_of(tmp_path / "m.xml") == [tmp_path / "m.xml", tmp_path / "m.bin"]
    assert files_of(tmp_path / "m.onnx") == [tmp_path / "m.onnx"]


def test_models_are_named_after_their_files_without_the_suffix():
    assert list(name_models(["a/m.onnx", "b/phone.tflite", "c/v1.2"])) == ["m", "phone", "v1.2"]


def test_without_litert_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"fairpress\[litert\]"):
        choose("litert")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("q4.gguf", r"q4\.gguf is a GGUF file, which llama\.cpp runs; .* audit its log"),
        ("m.mlpackage", "is a Core ML model, which runs on Apple's systems"),
        ("m.keras", "is a model of TensorFlow; convert it"),
    ],
)
def test_formats_without_a_runtime_here_say_how_they_are_audited(tmp_path, name, sentence):
    from made_dataset import make_dataset

    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=sentence):
        api.predict({"m": str(tmp_path / name)}, make_dataset(100))
