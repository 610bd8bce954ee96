"""Tables of numbers and of several labels: predicted from batches and from YAML, and audited by what the table records."""

from __future__ import annotations

import csv
import json
import shlex

import numpy as np
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress import cli
from fairpress.core.errors import UserError

GENERATOR = torch.Generator().manual_seed(1)
X = torch.randn(600, 4, generator=GENERATOR)
AGE = 45 + 10 * X[:, 0] + 5 * X[:, 1] ** 2
LABELS = torch.stack([X[:, 0] > 0, X[:, 1] > 0.3], 1).long()
SEX = ["f" if v > 0 else "m" for v in X[:, 3]]


def trained(width, loss):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, width))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss(net(X)).backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def numbers():
    net = trained(1, lambda out: nn.functional.mse_loss(out[:, 0], AGE))
    return {r: fp.compress(net, r, data=[(X, AGE)], outputs="number") for r in ("fp32", "w4")}


@pytest.fixture(scope="module")
def labels():
    net = trained(2, lambda out: nn.functional.binary_cross_entropy_with_logits(out, LABELS.float()))
    data, names = [(X, LABELS)], ["smile", "young"]
    return {r: fp.compress(net, r, data=data, outputs="labels", label_names=names) for r in ("fp32", "w4")}


def test_numbers_are_columns_that_an_audit_reads_as_recorded(numbers):
    table = fp.predict(numbers, [(X, AGE, SEX)])
    assert table.column_names == ["row_id", "subject", "group", "label", "fp32", "w4"]
    np.testing.assert_allclose(table["label"].to_numpy(), AGE.numpy(), rtol=1e-6)
    report = fp.audit(table, by="group", margin="50% of baseline")
    difference = np.abs(table["w4"].to_numpy() - AGE.numpy()) - np.abs(table["fp32"].to_numpy() - AGE.numpy())
    (comparison,) = report.comparisons
    assert report.outcome.kind == "abs_error"
    assert comparison.overall.changes["abs_error"].value == pytest.approx(difference.mean(), rel=1e-9)


def test_several_labels_are_columns_of_their_own_with_probabilities(labels):
    table = fp.predict(labels, [(X, LABELS, SEX)])
    for i, name in enumerate(("smile", "young")):
        assert table[f"label.{name}"].to_pylist() == LABELS[:, i].tolist()
        probability = table[f"w4.score.{name}"].to_numpy()
        assert table[f"w4.{name}"].to_pylist() == (probability >= 0.5).astype(int).tolist()
    report = fp.audit(table, by="group", margin="50pp")
    assert report.verdict == "no_harm"


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (LABELS, "predicts a number, and the batches have labels"),
        (torch.full((600,), float("nan")), "missing or infinite labels"),
    ],
)
def test_batches_with_other_labels_are_refused(numbers, y, message):
    with pytest.raises(UserError, match=message):
        fp.predict(numbers, [(X, y)])


def test_models_that_predict_different_things_do_not_share_a_table(numbers, labels):
    with pytest.raises(UserError, match=r"'b' predicts several labels.*has a number in each row"):
        fp.predict({"a": numbers["fp32"], "b": labels["fp32"]}, [(X, AGE)])


def test_batches_of_classes_are_predicted_too():
    net = trained(2, lambda out: nn.functional.cross_entropy(out, LABELS[:, 0]))
    artifact = fp.compress(net, "fp32", data=[(X, LABELS[:, 0])])
    table = fp.predict({"fp32": artifact}, [(X[:300], LABELS[:300, 0]), (X[300:], LABELS[300:, 0])])
    with torch.no_grad():
        assert table["fp32"].to_pylist() == [str(v) for v in net(X).argmax(1).tolist()]
    with pytest.raises(UserError, match="the label 5, and the model has 2 classes"):
        fp.predict({"fp32": artifact}, [(X, LABELS[:, 0] + 4)])


def test_rows_exactly_at_the_threshold_are_positive_and_counted(fairpress, tmp_path):
    net = nn.Linear(4, 1, bias=False)
    x = torch.cat([torch.zeros(30, 4), X[:270]])
    artifact = fp.compress(net.eval(), "fp32", data=[(X, LABELS[:, 0])])
    table = fp.predict({"fp32": artifact}, [(x, LABELS[:300, 0], SEX[:300])])
    assert table["fp32.score"].to_pylist()[:30] == [0.5] * 30
    assert set(table["fp32"].to_pylist()[:30]) == {"1"}
    assert json.loads(table.schema.metadata[b"fairpress.runtimes"])["fp32"]["at_threshold"] == 30


def written(folder, **keys):
    with (folder / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "c", "d", "age", "smile", "young", "sex"])
        for x, age, (smile, young), sex in zip(X.tolist(), AGE.tolist(), LABELS.tolist(), SEX, strict=True):
            rows.writerow([*(f"{v:.5f}" for v in x), f"{age:.3f}", smile, "yes" if young else "no", sex])
    lines = {"path": "people.csv", "features": "[a, b, c, d]", "sensitive": "[sex]", **keys}
    path = folder / "people.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in lines.items()))
    return path


@pytest.fixture
def fairpress(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(command, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(command))
        shown = capsys.readouterr()
        assert (stop.value.code or 0) == code, shown.err
        return shown

    return run


def next_command(printed):
    return next(line for line in printed.splitlines() if line.startswith("  fairpress audit")).removeprefix(
        "  fairpress "
    )


@pytest.mark.parametrize(
    ("models", "keys", "changed", "verdict"),
    [
        ("numbers", {"label": "age", "label_is": "number"}, "differs from fp32 by", "mean absolute error"),
        ("labels", {"label": "smile", "more_labels": "[young]"}, "of 360 labels of 180 rows", "wrong labels"),
    ],
)
def test_models_of_batches_predict_a_table_and_print_the_audit(
    models, keys, changed, verdict, request, fairpress, tmp_path
):
    path = written(tmp_path, **keys)
    for name, artifact in request.getfixturevalue(models).items():
        artifact.save(tmp_path / name)
    shown = fairpress(f"predict fp32=fp32 w4=w4 --data {path.name} --out p.parquet")
    assert changed in " ".join(shown.out.split())
    audited = fairpress(next_command(shown.out).replace("5% of baseline", "90% of baseline"))
    assert verdict in " ".join(audited.out.split())


@pytest.mark.parametrize(
    ("models", "keys"),
    [
        ("numbers", {"label": "age", "label_is": "number"}),
        ("labels", {"label": "smile", "more_labels": "[young]"}),
    ],
)
def test_an_external_file_of_a_number_or_of_labels_gives_the_answers_of_its_model(
    models, keys, request, fairpress, tmp_path
):
    path = written(tmp_path, **keys)
    artifact = request.getfixturevalue(models)["fp32"]
    (tmp_path / "other.onnx").write_bytes(artifact.onnx)
    table = fp.predict({"fp32": artifact, "other": "other.onnx"}, path.name)
    columns = [c for c in table.column_names if c.startswith("fp32")]
    assert len(columns) == (1 if models == "numbers" else 4)
    for column in columns:
        other = table[column.replace("fp32", "other")].to_numpy()
        np.testing.assert_allclose(other, table[column].to_numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("activation: sigmoid", "`activation` is for classes and labels"),
        ("output: z", "the model has no output 'z'"),
    ],
)
def test_a_configuration_that_does_not_fit_a_number_is_refused(config, message, numbers, fairpress, tmp_path):
    path = written(tmp_path, label="age", label_is="number")
    (tmp_path / "other.onnx").write_bytes(numbers["fp32"].onnx)
    (tmp_path / "model.yaml").write_text(config)
    with pytest.raises(UserError, match=message):
        fp.predict({"other": "other.onnx"}, path.name)


def test_an_external_file_of_other_outputs_is_refused(numbers, labels, fairpress, tmp_path):
    path = written(tmp_path, label="age", label_is="number")
    (tmp_path / "other.onnx").write_bytes(labels["fp32"].onnx)
    with pytest.raises(UserError, match="needs an output of one number for a row"):
        fp.predict({"other": "other.onnx"}, path.name)
    assert (
        "compress the network"
        in fairpress(f"compress other.onnx --recipe int8 --data {path.name} --out i.onnx", code=2).err
    )


def test_models_of_batches_name_no_data(numbers, fairpress):
    numbers["fp32"].save("fp32")
    assert "compressed in Python with batches" in fairpress("predict fp32=fp32 --out p.parquet", code=2).err


def test_a_dataset_of_numbers_is_named_by_the_models_of_it(fairpress, tmp_path):
    path = written(tmp_path, label="age", label_is="number")
    data = fp.load_dataset(path.name)
    assert data.task.outputs == "number"
    assert not data.task.classes
    net = trained(1, lambda out: nn.functional.mse_loss(out[:, 0], AGE))
    fp.compress(net, "int8", data=data).save("int8")
    assert "180 rows" in fairpress("predict int8=int8 --out p.parquet").out
    assert "trains classifiers" in fairpress(f"train mlp --data {path.name} --out t", code=2).err


def test_an_output_that_a_file_lacks_is_refused_before_any_row_is_run(
    numbers, fairpress, tmp_path, monkeypatch
):
    path = written(tmp_path, label="age", label_is="number")
    (tmp_path / "other.onnx").write_bytes(numbers["fp32"].onnx)
    (tmp_path / "model.yaml").write_text("output: z")
    monkeypatch.setattr(
        "fairpress.runtime.external.model.run_rows", lambda *_, **__: pytest.fail("rows were run")
    )
    with pytest.raises(UserError, match="the model has no output 'z'"):
        fp.predict({"other": "other.onnx"}, path.name)
