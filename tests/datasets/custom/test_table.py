"""Any table as a dataset: a few lines of YAML, and one sentence for whatever is wrong in them or in the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.checks.dataset import check_dataset

YAML = """\
path: people.csv
label: hired
positive: "yes"
all_but: [name, person]
sensitive:
  sex:
  age_group: {column: age, bins: [30, 50]}
subject: person
"""


def people(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    score = rng.normal(size=rows)
    return pd.DataFrame(
        {
            "name": [f"n{i}" for i in range(rows)],
            "person": np.arange(rows) // 2,
            "sex": rng.choice(["F", "M"], rows),
            "age": rng.integers(18, 70, rows),
            "degree": rng.choice(["none", "BA", "MA"], rows),
            "score": score.round(3),
            "hired": np.where(score + rng.normal(size=rows) > 0, "yes", "no"),
        }
    )


@pytest.fixture
def load(tmp_path):
    def load(table=None, yaml=YAML, **options):
        (people() if table is None else table).to_csv(tmp_path / "people.csv", index=False)
        (tmp_path / "my.yaml").write_text(yaml, encoding="utf-8")
        return datasets.load(str(tmp_path / "my.yaml"), **options)

    return load


def test_one_edge_and_another_column_need_no_list(load):
    data = load(
        yaml=YAML.replace("{column: age, bins: [30, 50]}", "{column: age, bins: 30}\n  diploma: degree")
    )
    assert set(data.attributes["age_group"]) == {"below 30", "30 and above"}
    np.testing.assert_array_equal(data.attributes["diploma"], people().degree)


def test_a_table_becomes_a_dataset(load):
    data, table = load(), people()
    assert data.task.classes == ("no", "yes")
    assert data.input_names == ("degree=BA", "degree=MA", "degree=none", "score")
    np.testing.assert_array_equal(data.labels, table.hired == "yes")
    np.testing.assert_array_equal(data.attributes["sex"], table.sex)
    expected = pd.cut(
        table.age, [0, 30, 50, 200], right=False, labels=["below 30", "30 to below 50", "50 and above"]
    )
    np.testing.assert_array_equal(data.attributes["age_group"], expected.astype(str))


def test_no_person_is_in_two_parts(load):
    data = load()
    seen = [set(data.subjects[index]) for index in data.parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 300


def test_the_same_file_has_the_same_fingerprint_wherever_it_lies(load, tmp_path):
    first = load()
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("people.csv", "my.yaml"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    assert datasets.load(str(other / "my.yaml")).fingerprint == first.fingerprint
    assert load(people().assign(score=0.5)).fingerprint != first.fingerprint


def test_a_column_of_the_table_can_say_which_part_a_row_is_in(load):
    table = people().assign(part=np.where(np.arange(600) < 400, "train", "test"))
    data = load(table, YAML + "split: part\n")
    np.testing.assert_array_equal(np.sort(data.parts["test"]), np.arange(400, 600))
    assert {"train", "calibration", "validation"} < set(data.parts)


def test_a_split_that_tests_whom_it_trained_on_is_refused(load):
    table = people().assign(part=np.where(np.arange(600) % 2, "train", "test"))
    with pytest.raises(UserError, match=r"300 subjects.*in both test and train"):
        load(table, YAML + "split: part\n")


def test_missing_features_are_refused_or_dropped_and_counted_missing_groups_are_a_group(load):
    table = people()
    table.loc[3, "score"] = np.nan
    table.loc[5, "sex"] = np.nan
    with pytest.raises(UserError, match=r"'score' has 1 missing values, the first in row 4"):
        load(table)
    data = load(table, YAML + "missing: drop\n")
    assert len(data) == 599
    assert any("1 rows are left out" in n for n in data.notes)
    assert (data.attributes["sex"] == "(missing)").sum() == 1


def test_parquet_gives_what_csv_gives(load, tmp_path):
    first = load()
    people().to_parquet(tmp_path / "people.parquet")
    (tmp_path / "p.yaml").write_text(YAML.replace("people.csv", "people.parquet"), encoding="utf-8")
    np.testing.assert_array_equal(datasets.load(str(tmp_path / "p.yaml")).inputs, first.inputs)


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        (
            YAML.replace("label: hired", "label: hird"),
            r"my\.yaml:2:1: .*no column 'hird'.*Did you mean 'hired'",
        ),
        (YAML.replace("label:", "lable:"), r"my\.yaml:2:1: unknown key 'lable'.*Did you mean 'label'"),
        (YAML.replace("[name, person]", "[name, persn]"), r"my\.yaml:4:\d+: .*no column 'persn'"),
        (YAML.replace("  sex:", "  sx:"), r"my\.yaml:6:3: .*no column 'sx'"),
        (YAML.replace("[30, 50]", "[50, 30]"), "bins must ascend"),
        (YAML.replace("people.csv", "absent.csv"), "absent.csv"),
        (YAML.replace('positive: "yes"\n', ""), "choose the positive class"),
        (YAML.replace('"yes"', '"perhaps"'), "'perhaps' is not a class"),
        (YAML + "missing: guess\n", r"my\.yaml:9:1: missing"),
        (YAML.replace("  sex:", "  hired:"), "is the label"),
        (YAML + "features: [score]\n", "either `features` or `all_but`"),
        ("just text\n", "expected `key: value`"),
        ("label: [\n", r"my\.yaml:2:1"),
    ],
)
def test_what_is_wrong_in_the_yaml_is_said_with_its_place(load, yaml, sentence):
    with pytest.raises(UserError, match=sentence):
        load(yaml=yaml)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.assign(hired="yes"), "is 'yes' in every row"),
        (lambda t: t.assign(score=t.score.where(t.index != 2, 1e300)), "infinite or beyond float32"),
        (lambda t: t.assign(score=t.score.where(t.index != 2, np.inf)), "numbers and text, 'inf' in row 3"),
        (
            lambda t: t.assign(score=t.score.astype(object).where(t.index != 2, "n.a.")),
            "numbers and text, 'n.a.' in row 3",
        ),
        (lambda t: t.assign(degree=t.name), "600 different texts"),
        (lambda t: t.assign(person=t.person.where(t.index > 0)), "subject column 'person' has 1 missing"),
        (lambda t: t.assign(sex=np.where(t.hired == "yes", "a", "b")), "is equivalent to the label"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(sex=t.name), "600 groups"),
    ],
)
def test_what_is_wrong_in_the_table_is_one_sentence(load, change, sentence):
    with pytest.raises(UserError, match=sentence):
        load(change(people()))


def test_hostile_names_stay_text(load):
    table = people().assign(sex=np.where(people().sex == "F", "<b>'; DROP--", "../../x\n"))
    assert set(load(table).attributes["sex"]) == {"<b>'; DROP--", "../../x\n"}


def test_a_damaged_file_is_one_sentence(load, tmp_path):
    load()
    for name, content, sentence in (
        ("people.csv", "hired,sex\nyes".encode("utf-16"), "UTF-8"),
        ("people.csv", b"", "people.csv"),
        ("people.parquet", b"PAR1xxxx", "damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        (tmp_path / "d.yaml").write_text(YAML.replace("people.csv", name), encoding="utf-8")
        with pytest.raises(UserError, match=sentence):
            datasets.load(str(tmp_path / "d.yaml"))


def kinds(data):
    return {w.kind: w for w in check_dataset(data, 115)}


def test_the_check_is_silent_about_clean_data_and_finds_what_was_planted(load):
    table = people(4500).assign(person=np.arange(4500), id_=np.arange(4500) / 7)
    assert not kinds(load(table))
    leak = load(table.assign(outcome=np.where(table.hired == "yes", 5.0, 1.0)))
    assert kinds(leak)["gives_away"].column == "outcome"
    assert kinds(load(table.assign(same=1)))["constant"].column == "same"
    assert kinds(load(pd.concat([table, table[:900]])))["duplicates"].number >= 900
    repeated = kinds(load(table.assign(person=np.arange(4500) // 3)))
    assert repeated["repeated_people"].number == 1500
    tiny = load(table.assign(sex=np.where(table.index < 60, "X", table.sex)))
    assert "X (" in kinds(tiny)["tiny_groups"].sentence
    nearly = np.where(table.index < 20, table.sex, np.where(table.hired == "yes", "F", "M"))
    assert kinds(load(table.assign(sex=nearly)))["attribute_is_label"].number > 0.95


def test_a_tsv_file_is_read_by_its_tabs(tmp_path):
    table = people()
    table.to_csv(tmp_path / "people.csv", index=False)
    table.to_csv(tmp_path / "people.tsv", index=False, sep="\t")
    (tmp_path / "comma.yaml").write_text(YAML)
    (tmp_path / "tab.yaml").write_text(YAML.replace("people.csv", "people.tsv"))
    (tmp_path / "said.yaml").write_text(YAML.replace("people.csv", "people.tsv") + 'separator: "\\t"\n')
    expected, *result = (datasets.load(str(tmp_path / f"{name}.yaml")) for name in ("comma", "tab", "said"))
    for own in result:
        np.testing.assert_array_equal(own.inputs, expected.inputs)
        assert own.parts.keys() == expected.parts.keys()
