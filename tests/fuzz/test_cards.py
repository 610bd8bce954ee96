"""Hundreds of damaged cards, repairs and embedded audits: each is read, or refused in one sentence that names the file."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fairpress as fp
from fairpress.cli import main
from fairpress.core.errors import FairpressError, UserError
from fairpress.reporting.model_outputs import embed_audit, write_card
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.benchmark.inputs import available_data
from fairpress.runtime.onnx.load import parse_model
from fairpress.runtime.onnx.metadata import KEY
from fuzz_damage import a_sentence, damaged_json
from small_model import make_model, write_table

CARDS = int(os.environ.get("FAIRPRESS_FUZZ_CARDS", "100"))
FEW = 40


class Workplace:
    """A model folder whose files can be damaged, what reads them, and how often that went well."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.model, self.capsys = folder, folder / "m", capsys
        self.artifact = make_model(folder)
        self.repaired = fp.mitigate(self.artifact, by="sex")
        table = fp.predict({"base": self.artifact, "m": self.artifact})
        self.report = fp.audit(table, baseline="base", compressed=["m"], by=["sex"])
        self.good, self.refused = 0, 0
        self.sentences: list[str] = []

    def save(self, artifact: Artifact, **damaged: bytes) -> None:
        shutil.rmtree(self.model, ignore_errors=True)
        artifact.save(self.model)
        for name, data in damaged.items():
            (self.model / f"{name}.json").write_bytes(data)

    def use(self, what: Any) -> Any:
        """Call what reads the model; a refusal is a sentence, and comes soon."""
        began, result = time.process_time(), None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = what()
            self.good += 1
        except FairpressError as error:
            self.sentences.append(str(error))
            self.refused += 1
        assert time.process_time() - began < 30
        assert all(map(a_sentence, self.sentences)), self.sentences
        self.sentences.clear()
        return result

    def show(self, *options: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["show", str(self.model), *options])
        reported = self.capsys.readouterr()
        assert ended.value.code in (0, 2), reported.err
        assert ended.value.code == 0 or a_sentence(reported.err)

    def read(self) -> None:
        """Let everything that reads a model folder read it."""
        self.show()
        self.show("--json")
        if self.use(lambda: Artifact.load(self.model)) is None:
            return
        self.use(lambda: fp.predict({"m": str(self.model)}))
        self.use(lambda: available_data(Artifact.load(self.model).card))
        self.use(lambda: fp.mitigate(str(self.model), by="sex"))
        self.use(lambda: write_card(self.model, self.report, "m", force=True))
        self.use(lambda: embed_audit(self.model, self.report, "m", force=True))


@pytest.fixture
def location(tmp_path, capsys):
    return Workplace(tmp_path, capsys)


def check_cards(location: Workplace, count: int) -> None:
    card = json.loads(location.artifact.card.to_json())
    for i in range(count):
        data = damaged_json(card, random.Random(f"card {i}"))
        location.save(location.artifact, card=data)
        location.read()
    assert location.good > count  # some damage is to what nobody reads
    assert location.refused > count / 2


def test_a_damaged_card_is_read_or_refused(location):
    check_cards(location, FEW)


@pytest.mark.slow
def test_damaged_cards_are_read_or_refused(location):
    check_cards(location, CARDS)


def check_repairs(location: Workplace, count: int) -> None:
    assert location.repaired.mitigation is not None
    repair = json.loads(location.repaired.mitigation.to_json())
    for i in range(count):
        location.save(location.repaired, mitigation=damaged_json(repair, random.Random(f"repair {i}")))
        location.show()
        table = location.use(lambda: fp.predict({"m": str(location.model)}))
        if table is not None:
            assert np.isfinite(table["m.score"].to_numpy()).all()
    assert location.good > 0
    assert location.refused > count / 4


def test_a_damaged_repair_is_applied_or_refused(location):
    check_repairs(location, FEW)


@pytest.mark.slow
def test_damaged_repairs_are_applied_or_refused(location):
    check_repairs(location, CARDS // 2)


def test_a_damaged_audit_in_a_file_is_shown_or_refused(location):
    location.save(location.artifact)
    embed_audit(location.model, location.report, "m")
    model = parse_model((location.model / "model.onnx").read_bytes())
    (prop,) = (p for p in model.metadata_props if p.key == KEY)
    summary = json.loads(prop.value)
    for i in range(3 * FEW):
        text = damaged_json(summary, random.Random(f"audit {i}")).decode("utf-8", "replace")
        prop.value = text
        location.save(replace(location.artifact, onnx=model.SerializeToString()))
        location.show()
        location.show("--json")


@pytest.mark.slow
def test_damaged_cards_are_compressed_or_refused(tmp_path, capsys):
    pytest.importorskip("torch")
    location = Workplace(tmp_path, capsys)
    trained = fp.train("mlp", str(tmp_path / "t.yaml"), options={"widths": [4]}, training={"max_epochs": 1})
    card = json.loads(trained.card.to_json())
    for i in range(CARDS // 4):
        data = damaged_json(card, random.Random(f"compress {i}"))
        location.save(trained, card=data)
        recipe = ("w8", "w8", "w8", "finetune(epochs=1)", "checkpoint-1")[i % 5]
        location.use(lambda recipe=recipe: fp.compress(str(location.model), recipe))
    assert location.good > CARDS / 40
    assert location.refused > CARDS / 40


CORPUS = {
    "not UTF-8": b'{"schema": "\xff"}',
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "a number": b"1",
    "no schema": b"{}",
}
FIELDS: tuple[tuple[str, Any], ...] = (
    ("inputs", None),
    ("inputs", {"columns": 1}),
    ("inputs", {"columns": "abc"}),
    ("inputs", {"shape": ["3"]}),
    ("inputs", {"shape": 3}),
    ("classes", "no"),
    ("classes", [0, 1]),
    ("classes", []),
    ("classes", ["no", "no"]),
    ("positive", "maybe"),
    ("positive", 1),
    ("threshold", "0.5"),
    ("threshold", float("nan")),
    ("threshold", None),
    ("activation", "relu"),
    ("architecture", {}),
    ("architecture", []),
    ("data", []),
    ("data", {"config": []}),
    ("data", {"name": 1}),
    ("provenance", []),
    ("provenance", {"origin": []}),
    ("provenance", {"details": []}),
    ("provenance", {"warnings": 1}),
    ("seed", -1),
    ("seed", "0"),
    ("recipe", None),
    ("target", 0),
    ("extra", 1),
)


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_no_card_is_refused_by_the_name_of_its_file(tmp_path, name):
    make_model(tmp_path).save(tmp_path / "m")
    (tmp_path / "m" / "card.json").write_bytes(CORPUS[name])
    with pytest.raises(UserError, match=r"card\.json .*; create the model again\.$"):
        Artifact.load(tmp_path / "m")


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_field_of_another_type_is_refused_by_its_name(tmp_path, field, value):
    artifact = make_model(tmp_path)
    artifact.save(tmp_path / "m")
    path = tmp_path / "m" / "card.json"
    path.write_text(json.dumps({**json.loads(artifact.card.to_json()), field: value}))
    with pytest.raises(
        UserError, match=rf"card\.json is not a .* card \(.*`{field}.*\); create the model again"
    ):
        Artifact.load(tmp_path / "m")


def test_an_option_of_the_data_that_is_an_argument_of_loading_is_refused(tmp_path):
    artifact = make_model(tmp_path)
    for name in ("on_message", "name"):
        data = {**artifact.card.data, "config": {name: "x"}}
        card = replace(artifact.card, data=data)
        with pytest.raises(UserError, match="as an option of its dataset"):
            fp.predict({"m": replace(artifact, card=card)})


def test_a_name_of_data_that_is_too_long_for_a_file_is_refused(tmp_path):
    artifact = make_model(tmp_path)
    for name in ("x" * 5_000, "x" * 5_000 + ".yaml"):
        card = replace(artifact.card, data={**artifact.card.data, "name": name, "path": name})
        with pytest.raises(UserError):
            fp.predict({"m": replace(artifact, card=card)})
    with pytest.raises(UserError, match="no model folder"):
        Artifact.load("x" * 300)


def test_weights_of_another_network_are_refused_before_anything_is_trained(tmp_path):
    pytest.importorskip("torch")
    from fairpress.compression.apply import check_weights
    from fairpress.models import registry
    from fairpress.models.initialize import initialize

    dataset = fp.load_dataset(str(write_table(tmp_path, 100)))
    state = initialize(registry.get("mlp", widths=[4]), dataset).state_dict()
    check_weights(registry.get("mlp", widths=[4]), state, dataset)
    for widths in ([5], [4, 4]):
        with pytest.raises(UserError, match="do not match the network on its card"):
            check_weights(registry.get("mlp", widths=widths), state, dataset)
