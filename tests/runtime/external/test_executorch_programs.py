"""Programs of ExecuTorch that were made elsewhere: read by what the file says, refused in a sentence."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.external.engines.arrays import read_message, write_message
from small_model import write_table

pytestmark = pytest.mark.skipif(
    util.find_spec("executorch") is None, reason="the extra executorch is not installed"
)
WEIGHTS = np.array([[0.5, -0.5], [1.0, -1.0], [0.0, 0.25]], np.float32)


def make_program(path: Path, module: Any, example: tuple[Any, ...], shapes: Any = None) -> Path:
    """Export a module by ExecuTorch's own calls, with nothing delegated."""
    import torch

    from fairpress.runtime.backends.executorch import quiet

    with quiet():
        from executorch.exir import to_edge

        program = to_edge(torch.export.export(module, example, dynamic_shapes=shapes)).to_executorch()
    path.write_bytes(program.buffer)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fp.load_dataset(str(write_table(tmp_path_factory.mktemp("table"), 300)))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Logits x·W of three columns: of any batch up to 64, of exactly 4 rows, and of two inputs."""
    import torch

    class OneInput(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.from_numpy(WEIGHTS)

    class TwoInputs(torch.nn.Module):
        def forward(self, numbers: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
            return numbers @ torch.from_numpy(WEIGHTS[:2]) + code * torch.from_numpy(WEIGHTS[2])

    folder = tmp_path_factory.mktemp("programs")
    batch = torch.export.Dim("batch", min=1, max=64)
    free = make_program(folder / "free.pte", OneInput(), (torch.zeros(64, 3),), ({0: batch},))
    fixed = make_program(folder / "fixed.pte", OneInput(), (torch.zeros(4, 3),))
    two = make_program(
        folder / "two.pte", TwoInputs(), (torch.zeros(64, 2), torch.zeros(64, 1)), ({0: batch}, {0: batch})
    )
    return {"free": free, "fixed": fixed, "two": two}


def expected_scores(data: Any) -> np.ndarray:
    logits = data.inputs[data.index("test")] @ WEIGHTS
    return 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))


def settings(path: Path, text: str) -> None:
    path.with_suffix(".model.yaml").write_text(f"classes: ['no', 'yes']\nactivation: softmax\n{text}")


@pytest.mark.parametrize("name", ["free", "fixed"])
def test_any_batch_and_a_fixed_one_give_the_same_scores(data, programs, name):
    settings(programs[name], "columns: [a, b, c]\n")
    table = fp.predict({"phone": programs[name]}, data)
    assert np.allclose(np.array(table["phone.score"]), expected_scores(data), atol=1e-6)
    assert b'"executorch ' in table.schema.metadata[b"fairpress.runtimes"]
    assert b"(portable)" in table.schema.metadata[b"fairpress.runtimes"]


def test_several_inputs_are_named_by_their_number(data, programs):
    settings(programs["two"], "inputs: {input_0: [a, b], input_1: c}\n")
    table = fp.predict({"phone": programs["two"]}, data)
    assert np.allclose(np.array(table["phone.score"]), expected_scores(data), atol=1e-6)


def test_columns_that_do_not_fit_are_refused(data, programs):
    settings(programs["free"], "columns: [a, b]\n")
    with pytest.raises(UserError, match="columns"):
        fp.predict({"phone": programs["free"]}, data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a program of ExecuTorch; give the .pte file that an export wrote"),
        (b"PK\x03\x04 no program at all", "is not a program of ExecuTorch"),
        (None, "ExecuTorch cannot load .*export it again"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(data, programs, tmp_path, content, message):
    path = tmp_path / "damaged.pte"
    whole = programs["free"].read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=message):
        fp.predict({"phone": path}, data)


def test_a_process_that_ends_is_a_sentence(programs, monkeypatch, tmp_path):
    """What damages ExecuTorch's process leaves this one alone."""
    from fairpress.runtime.external.engines.executorch import load_executorch

    path = tmp_path / "copy.pte"
    path.write_bytes(programs["free"].read_bytes())
    engine = load_executorch(path, Backend("executorch"))
    engine.worker._process.kill()
    engine.worker._process.wait()
    with pytest.raises(UserError, match=r"copy\.pte was ended by the system"):
        engine.run(["output_0"], {"input_0": np.zeros((2, 3), np.float32)})
    again = load_executorch(path, Backend("executorch"))  # another process
    assert again.run(["output_0"], {"input_0": np.zeros((2, 3), np.float32)})[0].shape == (2, 2)


def test_each_format_has_its_runtime(data, programs, tmp_path):
    with pytest.raises(UserError, match="is a program of ExecuTorch, which runs on @executorch"):
        fp.predict({"phone": f"{programs['free']}@openvino"}, data)
    with pytest.raises(UserError, match=r"there is no file"):
        fp.predict({"phone": tmp_path / "absent.pte"}, data)


def test_messages_between_processes_keep_arrays_and_their_types():
    from io import BytesIO

    pipe = BytesIO()
    arrays = [np.arange(6, dtype=np.int64).reshape(2, 3), np.zeros((0, 2), np.float16)]
    write_message(pipe, {"a": 1}, arrays)
    pipe.seek(0)
    answer = read_message(pipe)
    assert answer is not None
    content, read = answer
    assert content == {"a": 1}
    assert [(a.dtype, a.shape) for a in read] == [(a.dtype, a.shape) for a in arrays]
    assert np.array_equal(read[0], arrays[0])
    assert read_message(pipe) is None
