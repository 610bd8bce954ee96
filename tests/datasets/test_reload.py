"""A card's data are found from any working directory, and their fingerprint does not depend on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.reload import dataset_facts, reload

YAML = "path: data/t.csv\nlabel: y\npositive: 1\nfeatures: [a]\nsensitive: [sex]\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    path = tmp_path / "project"
    (path / "data").mkdir(parents=True)
    a = rng.normal(size=300)
    frame = pd.DataFrame({"a": a, "sex": rng.choice(["F", "M"], 300), "y": (a > 0).astype(int)})
    frame.to_csv(path / "data" / "t.csv", index=False)
    (path / "t.yaml").write_text(YAML)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(path)
    return path


def test_a_relative_description_is_found_again_elsewhere(project, tmp_path, monkeypatch):
    here = datasets.load("t.yaml", folds=2)
    retained = dataset_facts(here)
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = reload(retained)
    assert there.fingerprint == here.fingerprint
    assert len(there.parts["test"]) == len(here.parts["test"])
    by_options = datasets.load(
        "table", path=str(project / "data" / "t.csv"), label="y", positive=1, features="a", sensitive="sex"
    )
    assert reload(dataset_facts(by_options)).fingerprint == by_options.fingerprint


def test_a_table_named_relatively_in_python_is_found_again(project, tmp_path, monkeypatch):
    here = datasets.load("table", path="data/t.csv", label="y", positive=1, features="a", sensitive="sex")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert reload(dataset_facts(here)).fingerprint == here.fingerprint


def test_another_file_of_that_name_in_the_working_directory_is_not_taken(project, tmp_path, monkeypatch):
    retained = dataset_facts(datasets.load("t.yaml"))
    other = tmp_path / "elsewhere"
    (other / "t.yaml").write_text(
        YAML.replace("data/t.csv", str(project / "data" / "t.csv")) + "split_seed: 4\n"
    )
    monkeypatch.chdir(other)
    assert reload(retained).fingerprint == retained["fingerprint"]


def test_a_project_that_moved_is_found_by_name_and_one_that_is_gone_is_named(project, tmp_path, monkeypatch):
    retained = dataset_facts(datasets.load("t.yaml"))
    moved = project.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert reload(retained).fingerprint == retained["fingerprint"]
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"described by 't\.yaml', which is not at .*pass it as `data=`"):
        reload(retained)


def test_data_that_changed_are_refused(project):
    retained = dataset_facts(datasets.load("t.yaml"))
    frame = pd.read_csv("data/t.csv")
    frame.assign(a=frame.a + 1).to_csv("data/t.csv", index=False)
    with pytest.raises(UserError, match="differs from what this model was trained on"):
        reload(retained)
