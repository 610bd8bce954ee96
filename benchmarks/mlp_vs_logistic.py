"""`train mlp` against scikit-learn's logistic regression on the same rows: ``python benchmarks/mlp_vs_logistic.py [TABLE]``.

Both read the same inputs (one-hot columns, standardized for the logistic regression) of the training part; accuracy and AUC
are of the test part. Prints one line a table: figures of the logistic regression, and mean and worst difference (network
minus logistic regression) over seeds of data split and training. The column "all rows" compares with a logistic regression
of all rows that are not tested, those of the calibration and validation parts too. Needs FAIRPRESS_DATA for `adult` and
`compas`; the other tables come with scikit-learn or are drawn.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn import datasets as bundled
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

import fairpress as fp
from fairpress.datasets.dataset import Dataset, Part

SEEDS = range(5)


def drawn(rows: int, seed: int = 0, **options: float) -> pd.DataFrame:
    """Return a table of scikit-learn's `make_classification` with a column `y`."""
    x, y = bundled.make_classification(
        n_samples=rows,
        n_features=12,
        n_informative=6,
        flip_y=0.05,
        class_sep=0.8,
        random_state=seed,
        **options,
    )
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]).assign(y=y)


def credit(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a table like a file of credits: few rows, thirteen categories, seven numbers, a weak linear rule."""
    rng = np.random.default_rng(seed)
    table, score = {}, np.zeros(rows)
    for i in range(13):
        codes = rng.choice(int(rng.integers(2, 10)), rows, p=None)
        table[f"category{i}"] = np.char.add("A", codes.astype(str))
        score += rng.normal(0, 0.4, 10)[codes]
    for i in range(7):
        values = rng.lognormal(0, 0.8, rows)
        table[f"number{i}"] = values.round(2)
        score += rng.normal(0, 0.2) * values
    y = rng.random(rows) < 1 / (1 + np.exp(-(score - np.quantile(score, 0.7)) * 1.2))
    return pd.DataFrame(table).assign(y=y.astype(int))


def heavy(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a table with heavy tails, counts that are mostly zero, large offsets and constant columns."""
    rng = np.random.default_rng(seed)
    a, b = rng.lognormal(8, 2, rows), rng.standard_t(1.2, rows)
    counts, year = rng.poisson(0.05, rows), rng.integers(1950, 2020, rows)
    score = 0.6 * (np.log(a) - 8) + 0.4 * np.tanh(b) + 1.5 * counts + 0.03 * (year - 1985)
    y = rng.random(rows) < 1 / (1 + np.exp(-score))
    columns = {
        "a": a,
        "b": b,
        "counts": counts,
        "year": year,
        "zero": np.zeros(rows),
        "big": np.full(rows, 1e6),
    }
    return pd.DataFrame(columns).assign(y=y.astype(int))


def shipped(name: str) -> pd.DataFrame:
    """Return a table that comes with scikit-learn, its label made two classes."""
    found = getattr(bundled, f"load_{name}")(as_frame=True)
    x = found.data.set_axis([f"x{i}" for i in range(found.data.shape[1])], axis=1)
    y = found.target > found.target.median() if name == "diabetes" else found.target == 1
    return x.assign(y=y.astype(int))


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "breast-cancer": lambda: shipped("breast_cancer"),
    "wine": lambda: shipped("wine"),
    "diabetes": lambda: shipped("diabetes"),
    "credit-1000": lambda: credit(1000),
    "credit-5000": lambda: credit(5000),
    "heavy-1000": lambda: heavy(1000),
    "heavy-20000": lambda: heavy(20_000),
    "drawn-300": lambda: drawn(300),
    "drawn-1000": lambda: drawn(1000),
    "drawn-20000": lambda: drawn(20_000),
    "rare-1000": lambda: drawn(1000, weights=[0.95]),
    "rare-20000": lambda: drawn(20_000, weights=[0.95]),
}


def load(name: str, folder: Path, seed: int) -> Dataset:
    """Return a dataset, split by the seed where its makers did not split it."""
    if name not in TABLES:
        return fp.load_dataset(name, **({} if name == "adult" else {"split_seed": seed}))
    table = TABLES[name]()
    features = [c for c in table if c != "y"]
    table["group"] = np.where(np.arange(len(table)) % 2, "a", "b")
    table.to_csv(folder / f"{name}.csv", index=False)
    text = f"path: {name}.csv\nlabel: y\npositive: 1\nsensitive: [group]\nsplit_seed: {seed}\nfeatures: {features}\n"
    (folder / f"{name}.yaml").write_text(text)
    return fp.load_dataset(str(folder / f"{name}.yaml"))


def logistic(data: Dataset, *parts: Part) -> np.ndarray:
    """Return the probability of the positive class on test rows, of a logistic regression of the rows of these parts."""
    rows, test = np.concatenate([data.index(part) for part in parts]), data.part("test")
    scale = StandardScaler().fit(data.inputs[rows])
    model = LogisticRegression(max_iter=5000).fit(scale.transform(data.inputs[rows]), data.labels[rows])
    found: np.ndarray = model.predict_proba(scale.transform(test.inputs))[:, 1]
    return found


def network(data: Dataset, seed: int) -> tuple[np.ndarray, fp.Artifact]:
    """Return the probability of the positive class on test rows, of the shipped file, and the artifact."""
    artifact = fp.train("mlp", data, seed=seed)
    table = fp.predict({"fp32": artifact}, data)
    scores = np.array(table["fp32.score"].to_pylist(), dtype=float)
    return scores, artifact


def main(names: list[str]) -> None:
    """Print the comparison of each table."""
    torch.set_num_threads(1)
    print("differences are network − logistic regression, in points of accuracy and in AUC: mean (worst)\n")
    print(
        "| table | rows | train | logistic: accuracy | AUC | Δ accuracy | Δ AUC | Δ AUC, all rows "
        "| network | best epoch | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or ["adult", "compas", *TABLES]:
            found = []
            for seed in SEEDS:
                data = load(name, Path(folder), seed)
                labels = data.part("test").labels
                peer = logistic(data, "train")
                whole = logistic(data, "train", "calibration", "validation")
                started = time.perf_counter()
                own, artifact = network(data, seed)
                took = time.perf_counter() - started
                origin = artifact.card.provenance
                found.append(
                    (
                        accuracy_score(labels, peer > 0.5),
                        roc_auc_score(labels, peer),
                        accuracy_score(labels, own > 0.5) - accuracy_score(labels, peer > 0.5),
                        roc_auc_score(labels, own) - roc_auc_score(labels, peer),
                        took,
                        float(origin["best_epoch"]),
                        roc_auc_score(labels, own) - roc_auc_score(labels, whole),
                    )
                )
            f = np.array(found)
            epochs = " ".join(f"{e:.0f}" for e in f[:, 5])
            widths = "×".join(map(str, artifact.card.architecture["widths"]))
            print(
                f"| {name} | {len(data):,} | {len(data.index('train')):,} | {f[:, 0].mean():.3f} | {f[:, 1].mean():.3f} "
                f"| {100 * f[:, 2].mean():+.1f} ({100 * f[:, 2].min():+.1f}) | {f[:, 3].mean():+.3f} ({f[:, 3].min():+.3f}) "
                f"| {f[:, 6].mean():+.3f} ({f[:, 6].min():+.3f}) | {widths} | {epochs} | {f[:, 4].mean():.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
