"""Hundreds of ONNX classifiers: every row gets the class that ONNX Runtime and numpy give it, or the file is refused."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import fairpress as fp
from fairpress.core.errors import UserError
from fuzz_networks import File, files

FILES = int(os.environ.get("FAIRPRESS_FUZZ_FILES", "300"))


@pytest.mark.slow
@settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    max_examples=FILES,
)
@given(file=files())
def test_predictions_are_those_of_the_runtime(file: File):
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        file.write(folder)
        data = fp.load_dataset(str(folder / "d.yaml"))
        if file.fault is not None:
            with pytest.raises(UserError):
                fp.predict({"m": str(folder / "m.onnx")}, data, part="all")
            return
        table = fp.predict({"m": str(folder / "m.onnx")}, data, part="all")
    assert table["m"].to_pylist() == file.predicted
