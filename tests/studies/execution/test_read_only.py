"""A finished study is run from, reported from and exported from a store that can only be read."""

from __future__ import annotations

import json
import os
import sys

import pytest

from fairpress.cli import main
from mounts import read_only, small

STUDY = """
dataset: compas
model: {name: mlp, widths: [8]}
training: {max_epochs: 1}
recipes: [w8]
audit: {by: [sex]}
"""
COMMANDS = """
import json, sys
from fairpress.cli import main
for line in json.loads(sys.argv[1]):
    try:
        main(line)
    except SystemExit as done:
        sys.stderr.write(f"code {done.code}\\n")
"""


def fairpress(*arguments):
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    return done.value.code


@pytest.mark.slow
def test_a_store_that_can_only_be_read_is_enough_for_what_is_in_it(tmp_path, data_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(STUDY)
    (tmp_path / "tmp").mkdir()
    assert fairpress("study", "run", "s.yaml", "--out", "a/s", "--workers", "1") == 0
    store = tmp_path / "a" / ".store"
    before = sorted(str(p) for p in store.rglob("*"))
    lines = [
        ["study", "run", "s.yaml", "--out", "b/s", "--store", "a/.store"],
        ["report", "a/s"],
        ["study", "export", "a/s", "--out", "models"],
        ["study", "run", "s.yaml", "seeds=2", "--out", "c/s", "--store", "a/.store"],
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = read_only(store, [sys.executable, "-c", COMMANDS, json.dumps(lines)], env=environment)
    assert [line for line in done.stderr.splitlines() if line.startswith("code")] == ["code 0"] * 3 + [
        "code 2"
    ]
    assert "is read-only and lacks 6 results that are needed (train fp32" in done.stderr
    assert sorted(str(p) for p in store.rglob("*")) == before
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["fp32", "w8"]
    for path in (p for p in (tmp_path / "a/s").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "b/s" / path.relative_to(tmp_path / "a/s")).read_bytes(), path
    assert not (tmp_path / "c").exists() or not list((tmp_path / "c").iterdir())
    assert not list((tmp_path / "tmp").iterdir())


KERNELS = """
import numpy as np
from onnx import helper, numpy_helper
from fairpress.runtime.backends.onnxruntime import kernels
w = numpy_helper.from_array(np.zeros((200, 200), np.float32), "w")
ends = [helper.make_tensor_value_info(name, 1, ["n", 200]) for name in "xy"]
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [w])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
kernels(model.SerializeToString())
"""


def test_a_full_TMPDIR_is_to_blame_and_not_the_ONNX_file(tmp_path):
    location = tmp_path / "t"
    location.mkdir()
    done = small(
        location, "64k", [sys.executable, "-c", KERNELS], env={**os.environ, "TMPDIR": str(location)}
    )
    assert done.returncode == 1
    assert f"TMPDIR ({location}) is full" in done.stderr
