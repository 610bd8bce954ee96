"""Studies of text classifiers: the store keeps each network's tokenizer, and exported models predict what was reported."""

from __future__ import annotations

import csv

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.runtime.artifact import Artifact
from fairpress.store.local import Store
from fairpress.studies.config.json_schema import schema
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.execution.tasks import _pack, read_artifacts
from fairpress.studies.load import load as load_study
from fairpress.studies.planning.plan import plan_study
from fairpress.studies.report.export_models import export
from fairpress.studies.run import run_study
from learnable_texts import CLASSES, learnable_texts
from tiny_texts import text_artifact


def test_a_stored_network_has_its_tokenizer(tmp_path) -> None:
    artifact = text_artifact()
    store = Store(tmp_path)
    store.put("ab" * 32, _pack([artifact, artifact]), {})
    assert read_artifacts(store, "ab" * 32) == [artifact, artifact]
    assert artifact.tokenizer is not None


def test_training_options_of_texts_are_checked(tmp_path) -> None:
    file = tmp_path / "posts.yaml"
    text = "dataset: afrisenti\nmodel: text\nrecipes: [w8]\naudit: {by: [language]}\ntraining: {%s}\n"
    file.write_text(text % "max_epochs: 1, way: fp32")
    load_study(str(file))
    for options, sentence in (("flip: true", "flip"), ("way: fp32-channels-last", "way")):
        file.write_text(text % options)
        with pytest.raises(UserError, match=sentence):
            load_study(str(file))


def test_networks_with_initial_weights_are_refused_before_any_work(tmp_path) -> None:
    file = tmp_path / "faces.yaml"
    file.write_text(
        "dataset: fairface\nmodel: {name: resnet18, weights: mine.safetensors}\nrecipes: [w8]\naudit: {by: [race]}\n"
    )
    _, config = load_study(str(file))
    with pytest.raises(UserError, match="trains networks from random weights, and this resnet18 begins with"):
        plan_study(config, lambda dataset, fold: "made")


def test_the_schema_has_the_options_of_every_kind_of_training() -> None:
    training = schema()["properties"]["training"]["properties"]
    assert {"way", "schedule", "flip", "start", "max_epochs"} <= set(training)


def test_the_bundled_study_of_languages_is_valid() -> None:
    _, config = load_study("languages")
    assert config.placebos
    assert all(claim.by in (None, "language") for claim in config.claims.values())


@pytest.mark.slow
def test_a_study_of_texts_runs_and_its_exported_models_predict_what_it_reports(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = learnable_texts(500)
    assert dataset.texts is not None
    with open("posts.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["comment", "language", "tone"])
        for text, language, label in zip(
            dataset.texts, dataset.attributes["language"], dataset.labels, strict=True
        ):
            writer.writerow([text, language, CLASSES[label]])
    (tmp_path / "posts.yaml").write_text(
        "path: posts.csv\ntext: comment\nlabel: tone\nsensitive: [language]\n"
    )
    config = StudyConfig.model_validate(
        {
            "dataset": str(tmp_path / "posts.yaml"),
            "model": {
                "name": "text",
                "layers": 1,
                "width": 32,
                "heads": 2,
                "feedforward": 64,
                "vocabulary": 400,
                "max_length": 48,
            },
            "training": {"max_epochs": 2, "batch_size": 16, "learning_rate": 5e-3},
            "seeds": 2,
            "networks_per_task": 1,
            "recipes": ["w4", "qat-int8(epochs=1)"],
            "placebos": True,
            "audit": {"by": ["language"]},
        }
    )
    done = run_study("posts", config, out=tmp_path / "run", workers=1)
    assert done.outcome.complete
    export(tmp_path / "run", tmp_path / "models", only=["recipe=w4,seed=1"])
    artifact = Artifact.load(tmp_path / "models" / "w4")
    assert artifact.text_tokenizer is not None
    predicted = fp.predict({"w4": artifact}, fp.load_dataset("posts.yaml"), part="test")
    reported = pq.read_table(tmp_path / "run" / "predictions.parquet")
    reported = reported.filter(pc.equal(reported["seed"], 1))
    assert dict(zip(*predicted.select(["row_id", "w4"]), strict=True)) == dict(
        zip(*reported.select(["row_id", "w4"]), strict=True)
    )
    assert {"qat-int8(epochs=1)", "placebo(qat-int8(epochs=1))"} & set(reported.column_names)
