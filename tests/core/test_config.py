"""Errors of a YAML file: all at once, with line and column."""

from __future__ import annotations

import pytest

from fairpress.core.errors import UserError, did_you_mean
from fairpress.studies.load import load


def test_every_error_is_named_with_its_place(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "dataset: compas\nmodel: mlp\nsedes: 4\nrecipes: [int8]\naudit:\n  by: [sex]\n  margn: 3\n"
    )
    with pytest.raises(UserError) as error:
        load(str(path))
    text = str(error.value)
    assert "s.yaml:3:1: unknown key 'sedes'. Did you mean 'seeds'?" in text
    assert "s.yaml:7:3: unknown key 'audit.margn'. Did you mean 'margin'?" in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a: [1\n", "correct the YAML"),
        ("a: 1\na: 2\n", "duplicate key"),
        ("- 1\n", "expected `key: value`"),
    ],
)
def test_what_is_no_yaml_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "s.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence):
        load(str(path))


def test_an_override_changes_an_inner_key_and_a_bad_one_is_refused():
    _, config = load("compas", ["audit.margin=0.01", "seeds=2"])
    assert config.audit.margin == 0.01
    assert config.seeds == (0, 1)
    with pytest.raises(UserError, match="is not an override"):
        load("compas", ["seeds"])


def test_an_unknown_study_says_what_was_meant():
    with pytest.raises(UserError, match="Did you mean 'compas'"):
        load("compass")
    assert did_you_mean("zzz", ["a", "b"]) == " Available: a, b."
