"""The COMPAS loader against published figures and an independent reading of the file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError


@pytest.fixture
def real(data_folder):
    return data_folder / "compas" / "compas-scores-two-years.csv"


def test_the_published_filter_leaves_6172_rows_and_none_leaves_7214(real):
    assert len(datasets.load("compas")) == 6172
    assert len(datasets.load("compas", filter="none")) == 7214


def test_groups_and_labels_are_those_of_the_file(real):
    data = datasets.load("compas", filter="none")
    frame = pd.read_csv(real)
    for name in ("sex", "race"):
        values, counts = np.unique(data.attributes[name], return_counts=True)
        assert dict(zip(values, counts, strict=True)) == frame[name].value_counts().to_dict()
    assert data.labels.sum() == frame["two_year_recid"].sum()
    assert (data.attributes["age_group"] == "25-45").sum() == frame["age"].between(25, 45).sum()


def test_over_five_folds_every_person_is_tested_once_and_no_person_is_in_two_parts(real):
    tested = []
    for fold in range(5):
        data = datasets.load("compas", folds=5, fold=fold)
        seen = [set(data.subjects[rows]) for rows in data.parts.values()]
        assert sum(map(len, seen)) == len(set.union(*seen))
        tested += list(data.subjects[data.parts["test"]])
    assert len(tested) == len(set(tested)) == 6172


def test_test_rows_are_not_at_hand_in_development(real):
    with pytest.raises(UserError, match="tuning never reads test rows"):
        datasets.load("compas").development().part("test")


def test_equal_loads_have_equal_fingerprints_and_other_folds_have_others(real):
    one, same, other = (datasets.load("compas", folds=5, fold=f).fingerprint for f in (0, 0, 1))
    assert one == same != other


def test_unknown_names_and_options_say_what_was_meant():
    with pytest.raises(UserError, match="Did you mean 'compas'"):
        datasets.load("compass")
    with pytest.raises(UserError, match=r"unknown key 'filtr'.*Did you mean 'filter'"):
        datasets.load("compas", filtr="none")
