"""A file that is checked, compared and scored in turn is loaded by ONNX Runtime once."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.models.export import export_many
from fairpress.runtime.backends.onnxruntime import last_session_kept, session


@pytest.fixture(scope="module")
def file() -> bytes:
    net = nn.Linear(6, 2).eval()
    return export_many(net, [net.state_dict()], torch.rand(2, 6))[0]


def test_the_same_bytes_and_options_give_the_session_of_before(file: bytes, tmp_path: Path) -> None:
    with last_session_kept():
        first = session(file, dump=str(tmp_path / "optimized.onnx"))
        assert session(file) is first
        assert session(file, threads=2) is not first
        assert session(bytes(bytearray(file))) is not first
    assert session(file) is not session(file)


def test_an_optimized_graph_is_written_although_the_file_is_loaded(file: bytes, tmp_path: Path) -> None:
    with last_session_kept():
        session(file)
        session(file, dump=str(tmp_path / "optimized.onnx"))
    assert (tmp_path / "optimized.onnx").stat().st_size


def test_a_compression_loads_its_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[bytes] = []
    original = ort.InferenceSession

    def load(source, *args, **options):  # type: ignore[no-untyped-def]
        loaded.append(source)
        return original(source, *args, **options)

    monkeypatch.setattr(ort, "InferenceSession", load)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    x, y = torch.randn(200, 6), torch.arange(200) % 2
    compressed = fp.compress(net, "int8", data=[(x, y)])
    assert loaded.count(compressed.onnx) == 1
