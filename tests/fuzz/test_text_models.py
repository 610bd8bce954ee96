"""Damaged tokenizers, cards and descriptions of models that read texts: read, or refused in one sentence."""

from __future__ import annotations

import json
import os
import random
import warnings
from dataclasses import replace
from hashlib import sha256

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.external.model import open_external
from fairpress.runtime.predict import predictions
from fuzz_damage import a_sentence, damaged_json, other_bytes
from tiny_texts import CLASSES, text_artifact, text_dataset, tokenizer, transformers_export

FILES = int(os.environ.get("FAIRPRESS_FUZZ_TEXTS", "150"))


def outcome(what) -> bool:
    """Return whether a call succeeds; a refusal is one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            what()
    except UserError as error:
        assert a_sentence(str(error)), error  # noqa: PT017
        return False
    return True


def test_a_damaged_folder_is_read_or_refused(tmp_path):
    made, dataset = text_artifact(), text_dataset(40)
    folder = made.save(tmp_path / "m")
    whole, read = {name: (folder / name).read_text() for name in ("card.json", "tokenizer.json")}, 0
    for i in range(FILES):
        rng = random.Random(f"folder {i}")
        name = rng.choice(list(whole))
        damaged = damaged_json(json.loads(whole[name]), rng) if i % 3 else other_bytes(whole[name], rng)
        (folder / name).write_bytes(damaged)
        read += outcome(lambda: predictions({"m": Artifact.load(folder)}, dataset))
        (folder / name).write_text(whole[name])
    assert 0 < read < FILES


def test_a_damaged_tokenizer_that_its_card_names_is_read_or_refused():
    made, dataset, read = text_artifact(), text_dataset(40), 0
    for i in range(FILES):
        data = damaged_json(json.loads(made.tokenizer), random.Random(f"tokenizer {i}"))
        inputs = {**made.card.inputs, "tokenizer": sha256(data).hexdigest()}
        model = replace(made, tokenizer=data, card=replace(made.card, inputs=inputs))
        read += outcome(lambda model=model: predictions({"m": model}, dataset))
    assert 0 < read < FILES


def test_damaged_files_beside_an_export_are_read_or_refused(tmp_path):
    dataset, read = text_dataset(40), 0
    (tmp_path / "m.onnx").write_bytes(transformers_export())
    truncation = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    whole = {
        "tokenizer.json": {**json.loads(tokenizer().data), "truncation": truncation},
        "config.json": {"id2label": dict(enumerate(CLASSES)), "pad_token_id": 0},
        "tokenizer_config.json": {"model_max_length": 16},
    }
    for name, content in whole.items():
        (tmp_path / name).write_text(json.dumps(content))
    for i in range(FILES):
        rng = random.Random(f"export {i}")
        name = rng.choice(list(whole))
        (tmp_path / name).write_bytes(damaged_json(whole[name], rng))
        read += outcome(lambda: open_external(tmp_path / "m.onnx", dataset).scores(dataset, np.arange(40)))
        (tmp_path / name).write_text(json.dumps(whole[name]))
    assert 0 < read < FILES
