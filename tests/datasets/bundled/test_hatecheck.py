"""The HateCheck loader against published counts and an independent reading of the file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets


@pytest.fixture
def frame(data_folder):
    path = data_folder / "hatecheck" / "test_suite_cases.csv"
    return pd.read_csv(path, keep_default_na=False, dtype=str).set_index("case_id")


@pytest.fixture
def data(data_folder):
    return datasets.load("hatecheck")


def test_there_are_the_published_3728_texts_in_29_functional_tests(data, frame):
    assert len(data) == 3728
    assert len(np.unique(data.attributes["functionality"])) == 29
    assert data.texts.tolist() == frame.loc[data.row_ids, "test_case"].tolist()
    assert [data.task.classes[y] for y in data.labels] == frame.loc[data.row_ids, "label_gold"].tolist()
    assert data.task.positive == "hateful"


def test_texts_without_a_target_are_a_group(data, frame):
    listed = frame.loc[data.row_ids, "target_ident"].replace("", "none")
    assert data.attributes["target"].tolist() == listed.tolist()
    assert (data.attributes["target"] == "none").sum() == 292


def test_a_template_is_a_subject_and_in_one_part(data, frame):
    assert data.subjects.tolist() == frame.loc[data.row_ids, "templ_id"].tolist()
    templates = [set(data.subjects[rows]) for rows in data.parts.values()]
    assert sum(map(len, templates)) == len(set.union(*templates)) == 845
    share = len(data.parts["test"]) / len(data)
    assert share == pytest.approx(0.3, abs=0.03)


def test_by_related_templates_no_part_has_a_variation_of_a_template_in_another(data_folder, frame):
    data = datasets.load("hatecheck", split="related")
    part_of = {id_: part for part, rows in data.parts.items() for id_ in data.row_ids[rows]}
    parts_of_template = (
        frame.assign(part=[part_of[i] for i in frame.index]).groupby("templ_id")["part"].first()
    )
    variations = frame[frame["ref_templ_id"] != ""]
    theirs = parts_of_template[variations["templ_id"]].to_numpy()
    assert (theirs == parts_of_template[variations["ref_templ_id"]].to_numpy()).all()
    assert {len(rows) > 250 for rows in data.parts.values()} == {True}


def test_by_template_variations_are_in_other_parts_and_a_note_says_so(data, frame):
    part_of = {data.subjects[i]: part for part, rows in data.parts.items() for i in rows}
    variations = frame[frame["ref_templ_id"] != ""]
    apart = [
        part_of[t] != part_of[r]
        for t, r in zip(variations["templ_id"], variations["ref_templ_id"], strict=True)
    ]
    assert any(apart)
    assert "may be in several parts" in data.notes[-1]
