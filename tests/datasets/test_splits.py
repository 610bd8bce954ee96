"""Parts by subject: people with many rows are in every part as often as in the whole, with folds and without."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import PARTS
from fairpress.datasets.splits import SplitOptions, split


def visits(seed: int, people: int = 3000, classes: int = 2):
    """Rows of people of whom those with many rows have another label more often."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.zipf(2.0, people), 40) if seed % 2 else rng.choice([1, 2, 5, 10], people)
    ill = rng.random(people) < 0.1 + 0.25 * (sizes >= 5)
    label = np.where(ill, rng.integers(1, classes, people), 0)
    sex = np.where(rng.random(people) < 0.3, "F", "M")
    who = np.repeat(np.arange(people), sizes)
    labels = np.where(rng.random(len(who)) < 0.1, 0, label[who])
    rows = rng.permutation(len(who))
    names = np.char.add("p", who.astype(str))
    return labels[rows], {"sex": sex[who][rows]}, names[rows], sizes[who][rows]


def noise(share: np.ndarray, subjects: np.ndarray, rows: np.ndarray) -> float:
    """Return how far from the whole's a part's share is, in standard errors of subjects drawn at random."""
    _, unit = np.unique(subjects, return_inverse=True)
    residuals = np.bincount(unit, weights=share - share.mean())
    error = np.sqrt((residuals**2).mean() * len(np.unique(subjects[rows]))) / len(rows)
    return float((share[rows].mean() - share.mean()) / error)


@pytest.mark.parametrize("folds", [1, 5])
@pytest.mark.parametrize("classes", [2, 4])
def test_every_part_has_the_same_labels_and_as_many_rows_of_people_with_many_rows(folds, classes):
    far: dict[str, list[list[float]]] = {part: [] for part in PARTS}
    for seed in range(12):
        labels, attributes, subjects, sizes = visits(seed, classes=classes)
        parts = split(
            labels, attributes, subjects, SplitOptions(folds=folds, fold=seed % folds, split_seed=seed)
        )
        shares = [labels == c for c in range(classes)] + [sizes >= 5]
        for part, rows in parts.items():
            far[part].append([noise(share, subjects, rows) for share in shares])
    for part, result in far.items():
        scores = np.array(result)
        # Each within sampling noise of whole subjects drawn at random, and no direction over seeds.
        assert np.abs(scores).max() < 2, part
        assert np.abs(scores.mean(0)).max() < 0.6, part


@pytest.mark.parametrize("folds", [1, 4])
def test_parts_are_disjoint_by_person_hold_all_rows_and_have_their_share(folds):
    labels, attributes, subjects, _ = visits(3)
    tested = []
    for fold in range(folds):
        parts = split(labels, attributes, subjects, SplitOptions(folds=folds, fold=fold))
        assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
        people = [set(subjects[rows].tolist()) for rows in parts.values()]
        assert sum(map(len, people)) == len(set.union(*people))
        assert len(parts["test"]) / len(labels) == pytest.approx(0.30 if folds == 1 else 1 / folds, abs=0.02)
        tested.append(parts["test"])
    if folds > 1:
        assert sorted(np.concatenate(tested).tolist()) == list(range(len(labels)))


def test_each_person_is_tested_as_often_as_another_however_many_rows_they_have():
    labels, attributes, subjects, sizes = visits(2, people=400)
    tested = np.zeros(len(labels))
    for seed in range(60):
        tested[split(labels, attributes, subjects, SplitOptions(split_seed=seed))["test"]] += 1
    many, few = tested[sizes == 10].mean() / 60, tested[sizes == 1].mean() / 60
    assert many == pytest.approx(0.30, abs=0.03)
    assert few == pytest.approx(0.30, abs=0.03)


def test_one_person_with_two_fifths_of_the_rows_is_trained_on_and_the_other_parts_keep_their_size():
    rng = np.random.default_rng(0)
    who = np.concatenate([np.zeros(800, dtype=int), 1 + rng.integers(0, 300, 1200)])
    labels, attributes = rng.integers(0, 2, 2000), {"sex": rng.choice(["F", "M"], 2000)}
    for seed in range(8):
        parts = split(labels, attributes, who.astype(str), SplitOptions(split_seed=seed))
        assert (who[parts["train"]] == 0).sum() == 800
        assert len(parts["test"]) / 2000 == pytest.approx(0.30, abs=0.03)


def test_one_person_with_most_rows_leaves_the_training_rows_other_people_too():
    who = np.concatenate([np.zeros(800, dtype=int), 1 + np.arange(200) // 2])
    rng = np.random.default_rng(2)
    labels, attributes = rng.integers(0, 2, 1000), {"sex": rng.choice(["F", "M"], 1000)}
    for seed in range(8):
        parts = split(labels, attributes, who.astype(str), SplitOptions(split_seed=seed))
        people = {part: len(np.unique(who[rows])) for part, rows in parts.items()}
        assert people["train"] > 10
        assert min(people.values()) >= 10


def test_the_few_people_with_most_rows_are_tested_as_often_as_others():
    rng = np.random.default_rng(3)
    sizes = np.ceil(rng.lognormal(1, 1.5, 300)).astype(int)
    who = np.repeat(np.arange(300), sizes)
    labels, attributes = rng.integers(0, 2, len(who)), {"sex": rng.choice(["F", "M"], 300)[who]}
    # Of those whom a part can hold; each is alone with so many rows.
    largest = np.argsort(np.where(sizes < 60, sizes, 0))[-6:]
    tested = np.zeros(300)
    for seed in range(40):
        tested[
            np.unique(who[split(labels, attributes, who.astype(str), SplitOptions(split_seed=seed))["test"]])
        ] += 1
    assert tested[largest].mean() / 40 == pytest.approx(0.3, abs=0.08)


def test_a_handful_of_people_fill_every_part_or_are_too_few():
    rng = np.random.default_rng(1)
    for people in range(2, 10):
        who = np.repeat(np.arange(people), 5)
        labels, attributes = rng.integers(0, 2, len(who)), {"sex": rng.choice(["F", "M"], len(who))}
        for seed in range(10):
            options = SplitOptions(split_seed=seed)
            if people < 4:
                with pytest.raises(UserError, match="too few for the parts"):
                    split(labels, attributes, who.astype(str), options)
            else:
                parts = split(labels, attributes, who.astype(str), options)
                assert all(len(rows) for rows in parts.values())


def test_parts_that_the_makers_fixed_are_kept_and_the_others_carved_fairly():
    labels, attributes, subjects, sizes = visits(4)
    number = np.char.lstrip(subjects, "p").astype(int)
    official = {"train": np.flatnonzero(number >= 700), "test": np.flatnonzero(number < 700)}
    parts = split(labels, attributes, subjects, SplitOptions(), official)
    np.testing.assert_array_equal(np.sort(parts["test"]), official["test"])
    rest = official["train"]
    for part in ("train", "calibration", "validation"):
        rows = parts[part]
        for share in (labels == 1, sizes >= 5):
            assert abs(noise(share[rest], subjects[rest], np.flatnonzero(np.isin(rest, rows)))) < 2


def test_people_with_one_row_each_are_split_as_ever():
    rng = np.random.default_rng(5)
    labels, attributes = rng.integers(0, 2, 500), {"sex": rng.choice(["F", "M"], 500)}
    subjects = np.array([f"s{i}" for i in range(500)])
    parts = split(labels, attributes, subjects, SplitOptions())
    # Sums of the first forty rows of each part, as they were before people with several rows were dealt differently.
    assert {p: int(rows[:40].sum()) for p, rows in parts.items()} == {
        "train": 1648,
        "calibration": 5987,
        "validation": 9475,
        "test": 2555,
    }
