"""Damaged LiteRT files: an answer or one sentence, and never the end of this process."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.external.engines.litert import load_litert
from tflite_files import convolution, linear_int8

FILES = int(os.environ.get("FAIRPRESS_FUZZ_LITERT", "30"))
HOSTILE = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00", b"\x01\x00\x00\x80")


def damaged(content: bytes, seed: int) -> bytes:
    """Return a file that is cut, has a few other bytes, or a hostile number in the place of four."""
    rng, data = random.Random(seed), bytearray(content)
    if seed % 3 == 0:
        return bytes(data[: rng.randrange(8, len(data))])
    if seed % 3 == 1:
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(8, len(data))] = rng.randrange(256)
    else:
        start = rng.randrange(8, len(data) - 4)
        data[start : start + 4] = rng.choice(HOSTILE)
    return bytes(data)


@pytest.mark.slow
def test_damaged_files_give_an_answer_or_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CALL_SECONDS", "5")
    rng = np.random.default_rng(0)
    originals = (
        linear_int8(
            rng.integers(-9, 9, (2, 3)), np.zeros(2), scales=(0.1, 0.1, 0.1), zero_points=(0, 0), softmax=True
        ),
        convolution(rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(2, 4)), np.zeros(2), size=6),
    )
    loaded, sentences = 0, {}
    for seed in range(FILES):
        path = tmp_path / f"{seed}.tflite"
        path.write_bytes(damaged(originals[seed % 2], seed))
        try:
            engine = load_litert(path, Backend("litert"))
        except UserError as error:
            sentences[path.name] = str(error)
            continue
        shapes = {i.name: [1 if d is None else d for d in i.shape or ()] for i in engine.inputs}
        loaded += 1
        try:
            engine.run(list(engine.outputs), {n: np.zeros(s, np.float32) for n, s in shapes.items()})
        except (UserError, ValueError, RuntimeError):
            continue
    assert loaded
    assert sentences
    assert not [name for name, sentence in sentences.items() if name not in sentence]
