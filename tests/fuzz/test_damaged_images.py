"""Image folders that are read, then damaged: each is read with the right pixels still, or refused naming the file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError
from fuzz_images import DAMAGES, ROWS, Damage, Folder, make

SEEDS = int(os.environ.get("FAIRPRESS_FUZZ_IMAGES", "6"))
LOSSY = 6


def assert_same(data: datasets.Dataset, folder: Folder, damage: Damage) -> None:
    assert list(data.row_ids) == [line[0] for line in folder.lines]
    for name, result in zip(data.row_ids, data.inputs, strict=True):
        if name != damage.changed:
            assert np.abs(result.astype(int) - folder.pixels[name].astype(int)).max() <= LOSSY, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_image_is_named_and_the_others_are_right(kind: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    warnings.simplefilter("ignore")
    for seed in range(SEEDS):
        path = tmp_path / str(seed)
        path.mkdir()
        folder = make(path, seed)
        before = datasets.load(folder.write(), on_message=lambda _: None)
        assert len(before) == ROWS  # accepted before it is damaged
        assert_same(before, folder, Damage(True))
        rng = np.random.default_rng(seed)
        damage = DAMAGES[kind](folder, folder.lines[int(rng.integers(ROWS))][0], rng)
        sentence, after = "", None
        try:
            after = datasets.load(folder.write(), on_message=lambda _: None)
        except UserError as refused:
            sentence = str(refused)
        if after is not None:
            assert damage.accepted is not False
            assert_same(after, folder, damage)
            continue
        assert damage.accepted is not True, sentence
        assert damage.names in sentence
        assert "\n" not in sentence
        assert len(sentence) < 1000
