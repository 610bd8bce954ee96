"""The intervals file: who is in it, who is on both sides of which split, and what is never read unasked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.checks.dataset import check_dataset
from fairpress.datasets.split_leakage import repeated_subject_rows
from fairpress.studies.analysis.naive_predictors import majority, person_lookup

PATH = "compas/cox-violent-parsed_filt.csv"


@pytest.fixture
def frame(data_folder):
    file = data_folder / PATH
    if not file.is_file():
        pytest.skip("the intervals file is not among the real data")
    return pd.read_csv(file)


def test_unknown_outcomes_are_left_out_and_two_races_kept(frame):
    data = datasets.load("compas-intervals")
    two = frame[frame["race"].isin(["African-American", "Caucasian"])]
    assert len(two) == 15_877
    assert len(data) == 15_201
    assert len(np.unique(data.subjects)) == 8_732
    assert data.labels.sum() == (two["is_recid"] == 1).sum()
    assert any("676 rows are left out" in note for note in data.notes)
    everybody = datasets.load("compas-intervals", races="all")
    assert len(everybody) == (frame["is_recid"] != -1).sum()
    assert len(np.unique(everybody.attributes["race"])) == 6


def test_by_person_nobody_is_on_both_sides_and_by_row_more_than_half_of_the_test_rows_are_about_somebody_seen(
    frame,
):
    by_person, by_row = (datasets.load("compas-intervals", split=split) for split in ("person", "rows"))
    assert not by_person.warnings
    assert not repeated_subject_rows(by_person.subjects, by_person.parts).any()
    assert len(by_row.parts["test"]) == len(by_person.parts["test"])
    # 57 % of the test rows of a 70/30 split by row: a known figure of this file.
    assert repeated_subject_rows(by_row.subjects, by_row.parts).mean() == pytest.approx(0.57, abs=0.01)
    assert by_person.fingerprint != by_row.fingerprint


def test_a_split_by_row_is_said_loudly_in_check_card_and_what_is_derived(frame):
    from fairpress.datasets.reload import dataset_facts

    data = datasets.load("compas-intervals", split="rows")
    (warning,) = data.warnings
    assert warning.startswith("LEAK: the split is by row")
    first = check_dataset(data, 100)[0]
    assert (first.kind, first.sentence) == ("people_in_two_parts", warning)
    assert first.number == pytest.approx(0.57, abs=0.01)
    # What training sees has no test rows, and says it nevertheless.
    assert dataset_facts(data.development())["warnings"] == [warning]
    assert "warnings" not in dataset_facts(datasets.load("compas-intervals"))


def test_looking_people_up_is_right_for_everybody_who_was_seen(frame):
    data = datasets.load("compas-intervals", split="rows")
    test = data.parts["test"]
    right = person_lookup(data) == data.labels[test]
    assert right[repeated_subject_rows(data.subjects, data.parts)].all()
    # 88.8 % is the known figure of a 70/30 split by row.
    assert right.mean() == pytest.approx(0.888, abs=0.01)
    # The same by other means.
    rest = np.setdiff1d(np.arange(len(data)), test)
    message = pd.Series(data.labels[rest], index=data.subjects[rest]).groupby(level=0).first()
    guess = pd.Series(data.subjects[test]).map(message).fillna(message.mode()[0]).to_numpy()
    assert (guess == person_lookup(data)).all()
    # By person nobody is known, so that one class is left.
    assert len(np.unique(person_lookup(datasets.load("compas-intervals")))) == 1
    assert (majority(data) == np.bincount(data.labels[rest]).argmax()).all()


def test_what_gives_the_outcome_away_is_read_only_where_the_name_says_so(frame):
    given = {}
    for features in ("usual", "careless", "gives_outcome_away"):
        data = datasets.load("compas-intervals", features=features)
        after = {"is_violent_recid", "event"}
        given[features] = {c for c in data.input_columns if c.startswith(("r_", "vr_")) or c in after}
    assert not given["usual"]
    assert not given["careless"]
    assert len(given["gives_outcome_away"]) == 6
    result = {
        w.column for w in check_dataset(datasets.load("compas-intervals", features="gives_outcome_away"), 100)
    }
    assert "r_offense_date" in result
    assert "person" in datasets.load("compas-intervals", features="careless").input_columns


def test_the_original_file_with_names_is_recognised_and_gives_the_same_people(frame, tmp_path, monkeypatch):
    named = frame.drop(columns="person_id")
    named.insert(0, "name", [f"Person {i}" for i in frame["person_id"]])
    named.insert(1, "dob", "1980-01-01")
    (tmp_path / "compas").mkdir()
    named.to_csv(tmp_path / PATH, index=False)
    ours = datasets.load("compas-intervals")
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path))
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    theirs = datasets.load("compas-intervals")
    assert theirs.subjects.tolist() == ours.subjects.tolist()
    assert {k: v.tolist() for k, v in theirs.parts.items()} == {k: v.tolist() for k, v in ours.parts.items()}
    assert any("recognized by its header" in note for note in theirs.notes)
    assert not any("Person 1" in str(v) for v in (*theirs.notes, *theirs.row_ids[:9], *theirs.subjects[:9]))
    # With a row missing it is another file.
    named.iloc[1:].to_csv(tmp_path / PATH, index=False)
    with pytest.warns(UserWarning, match="is not the expected file"), pytest.raises(UserError) as error:
        datasets.load("compas-intervals")
    assert "Kaggle" in str(error.value)
    assert PATH in str(error.value)
