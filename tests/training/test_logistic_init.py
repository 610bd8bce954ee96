"""A table's network is as good as logistic regression, says when it is not better than one answer, and weighs classes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Task
from fairpress.models.feature_scaling import fit_robust, fit_standardize
from fairpress.models.mlp import Mlp
from fairpress.models.registry import build
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.backends.onnxruntime import run
from fairpress.training.config import FitConfig, training_config
from fairpress.training.fit import fit
from fairpress.training.logistic_init import initialize_from_logistic, logistic_regression
from made_dataset import make_dataset


def table(inputs, labels, classes=("no", "yes"), seed=0) -> Dataset:
    """A table with parts of 45, 15, 10 and 30 %: train, calibration, validation, test."""
    rows = len(labels)
    order = np.random.default_rng(seed).permutation(rows)
    cuts = np.split(order, [int(0.45 * rows), int(0.6 * rows), int(0.7 * rows)])
    ids = np.array([f"p{i}" for i in range(rows)])
    names = ("train", "calibration", "validation", "test")
    return Dataset(
        "made",
        Task("y", classes, classes[1] if len(classes) == 2 else None),
        np.asarray(inputs, dtype=np.float32),
        tuple(f"x{i}" for i in range(np.shape(inputs)[1])),
        np.asarray(labels, dtype=np.int64),
        {"group": np.where(np.arange(rows) % 2, "a", "b")},
        ids,
        ids,
        dict(zip(names, cuts, strict=True)),
        f"made-{rows}-{seed}",
    )


def one_hot(rows, seed):
    """Thirteen categories as one-hot columns and a weak rule: what a network without a linear start overfits."""
    rng = np.random.default_rng(seed)
    columns, score = [], np.zeros(rows)
    for _ in range(13):
        codes = rng.choice(int(rng.integers(2, 9)), rows)
        columns.append(np.eye(9)[codes])
        score += rng.normal(0, 0.4, 9)[codes]
    return np.concatenate(columns, 1), rng.random(rows) < 1 / (1 + np.exp(-score))


def outliers(rows, seed):
    """Heavy tails, counts that are mostly zero, a year, constant columns."""
    rng = np.random.default_rng(seed)
    a, b, counts = rng.lognormal(8, 2, rows), rng.standard_t(1.2, rows), rng.poisson(0.05, rows)
    year = rng.integers(1950, 2020, rows)
    score = 0.6 * (np.log(a) - 8) + 0.4 * np.tanh(b) + 1.5 * counts + 0.03 * (year - 1985)
    inputs = np.stack([a, b, counts, year, np.zeros(rows), np.full(rows, 1e6)], 1)
    return inputs, rng.random(rows) < 1 / (1 + np.exp(-score))


def rare(rows, seed):
    """One row in twenty is positive."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6))
    return x, rng.random(rows) < 1 / (1 + np.exp(-(2 * x[:, 0] + x[:, 1] - 4.5)))


def auc(labels, scores):
    order = np.argsort(np.argsort(scores)) + 1.0
    positive = labels == 1
    n = positive.sum()
    return (order[positive].sum() - n * (n + 1) / 2) / (n * (len(labels) - n))


def logistic(data):
    """Return the probability of the second class on test rows, of a logistic regression of the training rows."""
    train, test = data.part("train"), data.part("test")
    mean, scale = train.inputs.mean(0, dtype=np.float64), train.inputs.std(0, dtype=np.float64)
    scale[scale == 0] = 1.0
    x, own = (torch.from_numpy((rows.inputs - mean) / scale) for rows in (train, test))
    w, b = logistic_regression(x, torch.from_numpy(train.labels), 2)
    return torch.sigmoid(own.float() @ w[0] + b[0]).numpy()


def scores(artifact, data):
    return np.array(fp.predict({"fp32": artifact}, data)["fp32.score"].to_pylist(), dtype=float)


def differences(data, seed):
    """Return accuracy and AUC of the network on test rows minus those of logistic regression."""
    labels, peer = data.part("test").labels, logistic(data)
    own = scores(fp.train("mlp", data, seed=seed), data)
    accuracy = ((own > 0.5) == labels).mean() - ((peer > 0.5) == labels).mean()
    return accuracy, auc(labels, own) - auc(labels, peer)


@pytest.mark.parametrize(
    ("created", "rows"), [(one_hot, 1000), (outliers, 1000), (rare, 1000), (one_hot, 300)]
)
def test_on_few_rows_it_is_within_a_point_of_accuracy_and_a_hundredth_of_auc_of_logistic_regression(
    created, rows
):
    result = np.array([differences(table(*created(rows, seed), seed=seed), seed) for seed in range(3)])
    accuracy, area = result.mean(0)
    assert accuracy > -0.01
    assert area > -0.01


def test_a_rare_linear_class_on_few_thousand_rows_keeps_the_logistic_regression():
    """Some 500 validation rows with 15 positives do not tell which of forty epochs is best."""
    result = []
    for seed in range(3):
        rng = np.random.default_rng(1000 * seed + 5000)
        x = rng.normal(size=(5000, 8))
        y = rng.random(5000) < 1 / (1 + np.exp(-(x[:, :3] @ [1, 0.8, 0.6] - 4.2)))
        result.append(differences(table(x, y, seed=seed), seed)[1])
    assert min(result) > -0.01


def test_on_many_rows_it_finds_what_logistic_regression_cannot():
    x = np.random.default_rng(0).normal(size=(6000, 4))
    accuracy, area = differences(table(x, x[:, 0] * x[:, 1] > 0), 0)
    assert accuracy > 0.3
    assert area > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adult", "compas"])
def test_on_real_tables_it_is_within_a_point_and_a_hundredth(data_folder, name):
    data = fp.load_dataset(name)
    for seed in range(2):
        accuracy, area = differences(data, seed)
        assert accuracy > -0.01
        assert area > -0.01


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("widths", [(16,), (16, 12, 9)])
def test_a_planted_network_is_the_logistic_regression_at_any_depth(n_classes, widths):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(200, 5))).float()
    y = (x[:, :n_classes] + torch.from_numpy(rng.normal(size=(200, n_classes)))).argmax(1)
    module = build(Mlp(widths=widths), 5, n_classes, 0)
    state = {**module.state_dict()}
    state["0.mean"], state["0.scale"] = fit_standardize(x)
    module.load_state_dict(initialize_from_logistic(state, x, y, n_classes))
    w, b = logistic_regression((x - state["0.mean"]) / state["0.scale"], y, n_classes)
    expected = (x - state["0.mean"]) / state["0.scale"] @ w.T + b
    got = module(x).detach()
    if n_classes == 2:
        assert torch.allclose(got[:, 1] - got[:, 0], expected[:, 0], atol=1e-4)
    else:
        assert torch.allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_logistic_regression_is_scikit_learns(n_classes):
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 5))
    x = (x - x.mean(0)) / x.std(0)
    y = (x[:, :n_classes] + rng.normal(size=(300, n_classes))).argmax(1)
    own = rng.uniform(0.5, 2, 300)
    peer = linear.LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(x, y, sample_weight=own)
    w, b = logistic_regression(torch.from_numpy(x), torch.from_numpy(y), n_classes, torch.from_numpy(own))
    assert np.allclose(w.numpy(), peer.coef_, atol=2e-3)
    assert np.allclose(
        (b - b.mean() if n_classes == 3 else b).numpy(),
        peer.intercept_ - (peer.intercept_.mean() if n_classes == 3 else 0),
        atol=2e-3,
    )


def test_hidden_layers_too_narrow_to_carry_it_are_refused(small):
    with pytest.raises(UserError, match="at least 2 units for 2 classes, and one has 1"):
        fit(Mlp(widths=(8, 1)), [small], [0], FitConfig(start="linear"))


def test_the_network_grows_with_the_table_and_given_widths_stay():
    sizes = [Mlp().sized(rows, 2).widths for rows in (300, 5000, 50_000)]
    assert sizes == [(32, 32), (64, 64), (128, 64)]
    assert Mlp(widths=(8,)).sized(50_000, 2).widths == (8,)
    assert Mlp().sized(300, 3).widths == (36, 36)
    card = fp.train("mlp", make_dataset(), training={"max_epochs": 1}).card
    assert card.architecture["widths"] == [32, 32]
    assert card.provenance["training"]["start"] == "linear"


def test_networks_that_start_linearly_are_the_same_alone_and_in_company():
    data = [make_dataset(fold=i).development() for i in (0, 1)]
    together = fit(Mlp(), data, [3, 4], FitConfig(max_epochs=4))
    (alone,) = fit(Mlp(), data[1:], [4], FitConfig(max_epochs=4))
    a, b = from_bytes(together[1].weights), from_bytes(alone.weights)
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)
    (again,) = fit(Mlp(), data[1:], [4], FitConfig(max_epochs=4))
    assert again.onnx == alone.onnx


def test_the_checkpoint_of_its_best_epoch_is_a_network_that_started_linearly():
    x = np.random.default_rng(0).normal(size=(1500, 3))
    data = table(x, x[:, 0] * x[:, 1] > 0)
    base = fp.train("mlp", data, training={"max_epochs": 3, "class_weights": "balanced"})
    assert base.card.provenance["best_epoch"] == 3
    assert fp.compress(base, "checkpoint-3", data=data).weights == base.weights


def test_neither_test_rows_nor_their_labels_change_the_network():
    data = make_dataset()
    inputs, labels = data.inputs.copy(), data.labels.copy()
    inputs[data.index("test")], labels[data.index("test")] = 7.0, 1
    one, other = (
        fp.train("mlp", d, training={"max_epochs": 3})
        for d in (data, dataclasses.replace(data, inputs=inputs, labels=labels))
    )
    assert one.onnx == other.onnx


def test_outliers_set_no_scale_and_mostly_zero_columns_keep_theirs():
    rng = np.random.default_rng(0)
    wild, usual = rng.standard_normal(1000), rng.standard_normal(1000)
    wild[0] = 1e6
    counts = (rng.random(1000) < 0.03).astype(float)
    x = torch.from_numpy(np.stack([wild, usual, counts, np.ones(1000)], 1)).float()
    mean, scale = fit_robust(x)
    plain_mean, plain_scale = fit_standardize(x)
    assert abs(mean[0]) < 0.2
    assert 2 < scale[0] < 5
    assert torch.allclose(mean[1:], plain_mean[1:], atol=1e-5)
    assert torch.allclose(scale[1:], plain_scale[1:], atol=1e-5)


def test_a_network_no_better_than_one_answer_says_so_and_names_the_base_rate():
    rng = np.random.default_rng(0)
    data = table(rng.normal(size=(600, 3)), rng.random(600) < 0.1)
    origin = fp.train("mlp", data).card.provenance
    constant = origin["constant_answer"]
    labels = data.labels[data.index("validation")]
    assert constant == {"class": "no", "accuracy": pytest.approx((labels == 0).mean())}
    (warning,) = origin["warnings"]
    assert f"does not beat always predicting 'no' ({constant['accuracy']:.3f}, the base rate)" in warning
    assert "warnings" not in fp.train("mlp", make_dataset()).card.provenance


def test_balanced_class_weights_find_the_rare_class_and_stay_in_further_training():
    data = table(*rare(3000, 0))
    labels = data.part("test").labels
    plain, weighted = (fp.train("mlp", data, training={"class_weights": w}) for w in (None, "balanced"))
    result = [
        ((scores(m, data) > 0.5) & (labels == 1)).sum() / (labels == 1).sum() for m in (plain, weighted)
    ]
    assert result[1] > result[0] + 0.2
    weights = weighted.card.provenance["class_weights"]
    counts = np.bincount(data.labels[data.index("train")])
    assert weights["yes"] / weights["no"] == pytest.approx(counts[0] / counts[1])
    tuned = fp.compress(weighted, "finetune(epochs=2)", data=data)
    assert ((scores(tuned, data) > 0.5) & (labels == 1)).sum() / (labels == 1).sum() > result[0] + 0.2


def test_class_weights_name_classes_by_any_spelling_of_them_and_no_others():
    data = dataclasses.replace(make_dataset(), task=Task("y", ("0", "1"), "1"))
    one, other = (
        fp.train("mlp", data, training={"max_epochs": 1, "class_weights": w})
        for w in ({1: 3.0}, {"1.0": 3.0})
    )
    assert one.onnx == other.onnx
    with pytest.raises(UserError, match="'2' is not a class of 'y'"):
        fp.train("mlp", data, training={"class_weights": {"2": 3.0}})
    for wrong in ("balancd", {"1": 0.0}):
        with pytest.raises(UserError, match="class_weights"):
            training_config(Mlp(), {"class_weights": wrong})


def test_options_that_are_not_used_are_absent_so_that_older_results_keep_their_keys():
    older = training_config(Mlp(widths=(68,) * 8)).model_dump(mode="json")
    assert "start" not in older
    assert "class_weights" not in older
    assert older["batch_size"] == 128
    assert training_config(Mlp(), {"start": "random"}).model_dump()["start"] == "random"


@pytest.mark.parametrize(
    "recipe",
    [
        "int8",
        "w8",
        "int4",
        "qat-int8(epochs=2)",
        "prune-50(epochs=2)",
        "kmeans-16",
        "mixed(budget=30%)",
        "checkpoint-1",
    ],
)
def test_every_recipe_reads_a_network_that_starts_linearly(recipe, sized):
    data, base = sized
    labels = data.part("test").labels
    created = fp.compress(base, recipe, data=data)
    before, after = (((scores(m, data) > 0.5) == labels).mean() for m in (base, created))
    assert after > before - 0.05


@pytest.fixture(scope="module")
def sized():
    data = table(*one_hot(2500, 0))
    return data, fp.train("mlp", data)


def test_the_file_is_the_network(sized):
    data, artifact = sized
    module = Mlp(widths=(64, 64)).build(data.inputs.shape[1], 2)
    module.load_state_dict(from_bytes(artifact.weights))
    x = data.inputs[:50]
    with torch.no_grad():
        assert np.allclose(module(torch.from_numpy(x)).numpy(), run(artifact.onnx, x), atol=1e-4)
