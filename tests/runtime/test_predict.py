"""The predictions table: any size of input, any runtime, and what ran is told."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import util

import numpy as np
import pyarrow.parquet as pq
import pytest

from fairpress import api, cli, demo_data
from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.batching import bytes_per_row, outputs, rows_at_once
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.backends.registry import choose, open_session
from fairpress.runtime.predict import predictions
from fairpress.runtime.probabilities import score
from tiny_networks import artifact, chain, images, linear, pixels

openvino = pytest.mark.skipif(
    util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)
SIDE = 8


class Watched(np.memmap):
    """A memory-mapped array that notes how many rows are taken out of it at once."""

    taken: list[int]

    def __getitem__(self, key):
        out = super().__getitem__(key)
        if isinstance(key, np.ndarray):
            Watched.taken.append(len(out))
        return np.asarray(out)


@pytest.fixture
def faces(tmp_path):
    """200 images in a file, memory-mapped."""
    path = tmp_path / "pixels.u8"
    values = np.random.default_rng(0).integers(0, 256, (200, 3, SIDE, SIDE), dtype=np.uint8)
    values.tofile(path)
    Watched.taken = []
    return images(Watched(path, np.uint8, "r", shape=values.shape)), values


def model(**changes):
    return artifact(pixels(SIDE), [3, SIDE, SIDE], inputs={"dtype": "uint8"}, **changes)


def test_images_in_a_file_larger_than_a_batch_are_read_a_batch_at_a_time(faces, monkeypatch):
    dataset, values = faces
    messages = []
    monkeypatch.setattr("fairpress.runtime.probabilities.rows_at_once", lambda data: 16)
    table = predictions({"m": model()}, dataset, progress=lambda *step: messages.append(step))
    assert max(Watched.taken) == 16
    assert sum(Watched.taken) == 100
    assert messages[0] == ("m", 16, 100)
    assert messages[-1] == ("m", 100, 100)
    logits = run(pixels(SIDE), values[dataset.parts["test"]])
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    np.testing.assert_allclose(np.array(table["m.score"]), expected, rtol=1e-5)
    assert table["row_id"].to_pylist() == [f"i{i}" for i in range(0, 200, 2)]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_file_that_insists_on_a_batch_gets_it_whatever_the_number_of_rows(batch):
    rows = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    reference = run(linear(), rows)
    session = open_session(linear(batch=batch), Backend())
    np.testing.assert_allclose(outputs(session, rows, np.arange(23), 16), reference, rtol=1e-5)
    np.testing.assert_allclose(
        outputs(session, rows, np.array([22, 3, 3]), 16), reference[[22, 3, 3]], rtol=1e-5
    )


def test_the_rows_of_a_batch_follow_from_the_bytes_that_a_row_takes_in_the_graph():
    # x: 4 floats; y: 2 floats. Weights and bias are not a row's.
    assert bytes_per_row(linear()) == 4 * (4 + 2)
    # uint8 pixels, the same as floats twice (cast, divided), 3 means, 2 logits.
    assert bytes_per_row(pixels(SIDE)) == 3 * SIDE * SIDE * (1 + 4 + 4) + 4 * (3 + 2)
    assert rows_at_once(pixels(SIDE), budget=100 * bytes_per_row(pixels(SIDE))) == 100
    assert rows_at_once(chain(2, 64), budget=1) == 1
    assert rows_at_once(linear()) == 8192


def test_the_table_tells_what_ran_each_model_and_its_threshold(faces, tmp_path):
    dataset, _ = faces
    table = predictions(
        {"a": model(), "b": model(threshold=0.3)}, dataset, runtimes={"b": choose(threads=2)}, threads=1
    )
    pq.write_table(table, tmp_path / "p.parquet")
    ran = json.loads(pq.read_table(tmp_path / "p.parquet").schema.metadata[b"fairpress.runtimes"])
    assert set(ran) == {"a", "b"}
    assert ran["a"]["runtime"].startswith("onnxruntime ")
    assert (ran["a"]["threads"], ran["b"]["threads"]) == (1, 2)
    assert (ran["a"]["threshold"], ran["b"]["threshold"]) == (0.5, 0.3)
    assert ran["a"]["precision"] == "f32"
    assert ran["a"]["processor"]


@openvino
def test_one_file_on_two_runtimes_is_audited_like_any_other_pair(faces):
    dataset, _ = faces
    files = {"ort": model(), "ov": model()}
    table = api.predict(files, dataset, runtime={"ov": "openvino"})
    ran = json.loads(table.schema.metadata[b"fairpress.runtimes"])
    assert ran["ort"]["runtime"].startswith("onnxruntime")
    assert ran["ov"]["runtime"].startswith("openvino")
    report = api.audit(table, by=["sex"])
    (comparison,) = report.comparisons
    assert (report.baseline, comparison.compressed) == ("ort", "ov")
    assert comparison.overall.flips.right_to_wrong + comparison.overall.flips.wrong_to_right == 0
    with pytest.raises(UserError, match=r"`runtime=` names 'vo'.*Available: ort, ov"):
        api.predict(files, dataset, runtime={"vo": "openvino"})


def misfit(**changes):
    created = model()
    return replace(created, card=replace(created.card, inputs={**created.card.inputs, **changes}))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (misfit(shape=[3, 64, 64]), r"reads rows of 3 × 64 × 64, 'faces' has rows of 3 × 8 × 8"),
        (misfit(dtype="float32"), "reads float32, 'faces' contains uint8"),
        (misfit(columns=["age"]), "reads the columns age; 'faces' has images, not columns"),
        (artifact(pixels(16), [3, 8, 8]), "model 'm': the file reads rows of 3 × 16 × 16, the data"),
        (artifact(linear(192), [3, 8, 8]), "model 'm': the file reads rows of 192"),
        (replace(model(), onnx=pixels(SIDE)[:50]), "model 'm'.*not an ONNX file"),
        (replace(model(), card=replace(model().card, target="age")), "predicts 'age'"),
    ],
)
def test_a_model_that_does_not_fit_the_images_is_one_sentence(faces, wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        predictions({"m": wrong}, faces[0])


def test_a_dtype_that_the_file_does_not_read_is_one_sentence():
    with pytest.raises(UserError, match="reads uint8, the data are float32"):
        score(model(), np.zeros((4, 3, SIDE, SIDE), np.float32), np.arange(4))


def test_a_model_without_numbers_is_one_sentence(faces):
    rows = np.full((5, 4), np.nan, np.float32)
    with pytest.raises(UserError, match=r"NaN for 2 of 2 rows"):
        score(artifact(linear(), [4]), rows, np.arange(2))


@pytest.mark.parametrize("name", ["label", "sex", "seed"])
def test_a_name_that_is_taken_is_refused_before_anything_runs(faces, name):
    with pytest.raises(UserError, match="a column of that name already exists"):
        predictions({name: model()}, faces[0])
    with pytest.raises(UserError, match=r"'m\.score'.*already exists"):
        predictions({"m": model(), "m.score": model()}, faces[0])


def test_the_command_line_takes_runtimes_after_an_at(tmp_path, monkeypatch, capsys, faces):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fairpress.runtime.model_reference.data_of", lambda artifact: faces[0])
    model().save("m")

    def fairpress(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main(["predict", *arguments])
        assert stop.value.code == code
        return capsys.readouterr()

    shown = fairpress("a=m", "b=m@onnxruntime-exact", "--out", "p.csv").out
    assert "b: onnxruntime" in shown
    assert "session.x64quantprecision" in shown
    assert "differs from a in 0 of 100 rows" in shown
    assert "A CSV file does not record the runtimes" in shown
    assert "onnxruntime" not in fairpress("a=m", "b=m/", "--out", "p.parquet").out
    model(threshold=0.99).save("strict")
    scores = np.array(pq.read_table("p.parquet")["a.score"])
    changed = int(((scores >= 0.5) != (scores >= 0.99)).sum())
    assert changed > 0
    shown = fairpress("a=m", "b=strict", "--out", "p.parquet").out
    assert f"b: differs from a in {changed} of 100 rows" in shown
    assert "Did you mean 'openvino'" in fairpress("a=m@opnvino", "--out", "q.csv", code=2).err
    assert "there is no model folder n" in fairpress("a=n@onnxruntime", "--out", "q.csv", code=2).err
    assert not (tmp_path / "q.csv").exists()


def test_every_table_says_which_class_its_scores_are_of(faces):
    dataset, _ = faces
    message = json.loads(api.predict({"m": model()}, dataset).schema.metadata[b"fairpress.task"])
    task = dataset.task
    assert message == {"label": task.target, "classes": list(task.classes), "positive": task.positive}
    assert json.loads(demo_data.table(10).schema.metadata[b"fairpress.task"])["positive"] == "yes"


def test_parts_without_rows_are_refused(faces):
    dataset, _ = faces
    empty = replace(dataset, parts={**dataset.parts, "validation": np.arange(0)})
    with pytest.raises(UserError, match="has no validation rows to predict"):
        api.predict({"m": model()}, empty, part="validation")
    with pytest.raises(UserError, match="the test rows of"):
        api.predict({"m": model()}, dataset.development())


def test_the_threshold_on_the_card_decides(faces):
    dataset, _ = faces
    created = model()
    table = api.predict({"m": replace(created, card=replace(created.card, threshold=0.3))}, dataset)
    scores, decided = (np.array(table[c].to_pylist()) for c in ("m.score", "m"))
    negative = next(c for c in dataset.task.classes if c != dataset.task.positive)
    assert (decided == np.where(scores >= np.float32(0.3), dataset.task.positive, negative)).all()
    assert ((scores >= np.float32(0.3)) != (scores >= 0.5)).any()
