"""Hundreds of modules: the float file is its network, and an integer file is near it or refused in one sentence."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import onnxruntime as ort  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import fairpress as fp  # noqa: E402
from fairpress.core.errors import FairpressError  # noqa: E402
from fuzz_modules import network  # noqa: E402

MODULES = int(os.environ.get("FAIRPRESS_FUZZ_MODULES", "20"))

refused: list[str] = []


def logits(onnx: bytes, x: torch.Tensor) -> np.ndarray:
    session = ort.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.slow
@settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    max_examples=MODULES,
)
@given(
    seed=st.integers(0, 2**31),
    classes=st.integers(2, 4),
    recipe=st.sampled_from(("fp32", "fp32", "int8", "w4")),
)
def test_a_file_computes_what_its_module_does(seed: int, classes: int, recipe: str):
    module, x = network(seed, classes)
    with torch.no_grad():
        expected = module(x).numpy()
    y = torch.from_numpy(np.arange(len(x)) % classes)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        artifact, refusal = None, ""
        try:
            artifact = fp.compress(module, recipe, data=[(x, y)])
        except FairpressError as error:
            refusal = str(error)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not module.training
    if artifact is None:
        refused.append(f"{recipe}: {refusal}")
        assert recipe != "fp32", refusal
        assert len(refused) <= 1 + MODULES // 10, (
            refused
        )  # a test in which everything is refused shows nothing
        return
    for rows in (x, x[:1], x[:7]):
        result = logits(artifact.onnx, rows)
        if recipe == "fp32":
            spread = np.abs(expected).max()
            np.testing.assert_allclose(result, expected[: len(rows)], atol=1e-4 * max(1.0, spread), rtol=1e-4)
    if recipe != "fp32":
        distance = np.abs(logits(artifact.onnx, x) - expected).mean() / max(expected.std(), 1e-6)
        assert distance < 1.0, distance
