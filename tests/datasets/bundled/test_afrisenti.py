"""The AfriSenti loader against published counts and an independent reading of the files."""

from __future__ import annotations

import csv
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.bundled.afrisenti import LANGUAGES

# Muhammad et al. 2023, table 3: rows of the training, development and test parts.
PUBLISHED = {
    "Amharic": (5984, 1497, 1999),
    "Algerian Arabic": (1651, 414, 958),
    "Hausa": (14172, 2677, 5303),
    "Igbo": (10192, 1841, 3682),
    "Kinyarwanda": (3302, 827, 1026),
    "Moroccan Arabic": (5583, 494, 2961),
    "Nigerian Pidgin": (5121, 1281, 4154),
    "Mozambican Portuguese": (3063, 767, 3662),
    "Swahili": (1810, 453, 748),
    "Xitsonga": (804, 203, 254),
    "Twi": (3481, 388, 949),
    "Yoruba": (8522, 2090, 4515),
}


@lru_cache(maxsize=1)
def read_files(folder):
    """All files as pandas reads them, quotation marks taken as characters."""
    frames = []
    for code, language in LANGUAGES.items():
        for part in ("train", "dev", "test"):
            path = folder / "afrisenti" / part / f"{code}_{part}.tsv"
            one = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, keep_default_na=False)
            frames.append(one.assign(language=language, part=part))
    return pd.concat(frames, ignore_index=True).set_index("ID")


@lru_cache(maxsize=1)
def load_all(folder):
    return datasets.load("afrisenti")


@pytest.fixture
def frame(data_folder):
    return read_files(data_folder)


@pytest.fixture
def data(data_folder):
    return load_all(data_folder)


def rows_by_language(data, parts):
    rows = np.concatenate([data.parts[part] for part in parts])
    return dict(
        zip(
            *(v.tolist() for v in np.unique(data.attributes["language"][rows], return_counts=True)),
            strict=True,
        )
    )


def test_the_official_parts_have_the_published_rows(data):
    for column, parts in enumerate((("train", "calibration"), ("validation",), ("test",))):
        assert rows_by_language(data, parts) == {name: rows[column] for name, rows in PUBLISHED.items()}


def test_calibration_rows_share_no_text_with_training_rows(data, frame):
    training = frame.loc[frame["part"] == "train", "tweet"]
    assert training.duplicated().sum() > 1000
    assert not set(data.texts[data.parts["calibration"]]) & set(data.texts[data.parts["train"]])


def test_texts_labels_and_languages_are_those_of_the_files(data, frame):
    listed = frame.loc[data.row_ids]
    assert len(set(data.row_ids)) == len(frame) == len(data)
    assert data.texts.tolist() == listed["tweet"].tolist()
    assert [data.task.classes[y] for y in data.labels] == listed["label"].tolist()
    assert data.attributes["language"].tolist() == listed["language"].tolist()
    assert data.kind == "text"
    assert data.inputs is data.texts


def test_the_note_counts_the_texts_that_two_official_parts_share(data, frame):
    test = frame[frame["part"] == "test"]
    seen = test["tweet"].isin(frame.loc[frame["part"] != "test", "tweet"])
    pidgin = seen[test["language"] == "Nigerian Pidgin"].mean()
    assert f"{seen.sum():,} of the {len(test):,} test rows" in data.notes[-1]
    assert f"Nigerian Pidgin {pidgin:.1%}" in data.notes[-1]
    assert pidgin > 0.2


def test_the_note_on_amharic_is_true_of_the_files(data, frame):
    amharic = frame[frame["language"] == "Amharic"]
    negative = (amharic["label"] == "negative").groupby(amharic["part"]).mean()
    quoted = amharic["tweet"].str.fullmatch(r"'.*'").groupby(amharic["part"]).mean()
    note = next(n for n in data.notes if "Amharic" in n)
    assert f"{negative['train']:.0%} of the training tweets".replace("%", " %") in note
    assert f"{negative['test']:.0%} of the test tweets".replace("%", " %") in note
    assert (quoted["train"], quoted["test"]) == (0, 1)


def test_the_note_on_names_is_true_of_the_files(data, frame):
    share = frame["tweet"].str.contains("@user").groupby([frame["language"], frame["part"]]).mean()
    note = next(n for n in data.notes if n.startswith("@user"))
    assert share["Hausa", "train"] > 0.99
    assert f"in {100 * share['Igbo', 'train']:.0f} % of those in Igbo" in note
    assert f"in {100 * share['Yoruba', 'train']:.0f} % of those in Yoruba" in note
    assert all(share[language, "test"] == 0 for language in ("Hausa", "Igbo", "Yoruba"))


def test_dropping_repeated_texts_leaves_none_in_two_parts_and_all_test_rows(data_folder):
    data = datasets.load("afrisenti", languages=["pcm", "Twi"], repeated_texts="drop")
    texts = {part: set(data.texts[rows]) for part, rows in data.parts.items()}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))
    assert rows_by_language(data, ("test",)) == {"Nigerian Pidgin": 4154, "Twi": 949}


@pytest.mark.parametrize("options", [{"folds": 3, "fold": 1}, {"test_share": 0.5}])
def test_drawn_parts_share_no_text(data_folder, options):
    data = datasets.load("afrisenti", languages=["pcm"], **options)
    texts = {part: set(data.texts[rows]) for part, rows in data.parts.items()}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values()))


def test_scripts_are_those_of_the_languages(data):
    pairs = set(zip(data.attributes["language"].tolist(), data.attributes["script"].tolist(), strict=True))
    assert {script for language, script in pairs if language == "Moroccan Arabic"} == {"Arabic", "Latin"}
    assert {script for language, script in pairs if language == "Yoruba"} == {"Latin"}
    assert ("Amharic", "Ethiopic") in pairs


def test_an_unknown_language_is_refused_with_the_one_that_was_meant():
    with pytest.raises(UserError, match="Did you mean 'Yoruba'"):
        datasets.load("afrisenti", languages=["Yoruva"])
    with pytest.raises(UserError, match="at least one language"):
        datasets.load("afrisenti", languages=[])
    with pytest.raises(UserError, match="keep equal texts in one part anyway"):
        datasets.load("afrisenti", folds=5, repeated_texts="drop")
