"""The filters of the dashboard compare labels, and never take a part's name apart."""

from __future__ import annotations

from fairpress.dashboard.study_reader import Choice, StudyPart

PART = StudyPart("compas, mlp, age, in years", "compas", "mlp")


def test_a_filter_matches_the_label_of_a_dataset_or_a_model():
    assert Choice().part(PART)
    assert Choice(dataset="compas", model="mlp").part(PART)
    assert not Choice(dataset="mlp").part(PART)
    assert not Choice(model="age").part(PART)


def test_a_study_of_one_dataset_is_matched_although_its_part_has_no_name():
    assert Choice(dataset="compas").part(StudyPart("", "compas", "mlp"))
    assert not Choice(dataset="adult").part(StudyPart("", "compas", "mlp"))
