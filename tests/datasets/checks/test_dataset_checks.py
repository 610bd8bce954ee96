"""`data check` names what would mislead, each with what to write; what is clean is not warned of."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.cli import main
from fairpress.datasets.checks.base_rates import class_rates
from fairpress.datasets.checks.dataset import check_dataset

ROWS = 2400


def table(**columns) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    score = rng.normal(size=ROWS)
    base = {
        "score": score,
        "visits": rng.poisson(2, ROWS),
        "sex": rng.choice(["F", "M"], ROWS),
        "y": np.where(score + rng.normal(size=ROWS) > 0, "yes", "no"),
    }
    return pd.DataFrame(base | columns)


def some(*values, p=None):
    return np.random.default_rng(3).choice(np.array(values, dtype=object), ROWS, p=p)


@pytest.fixture
def write(tmp_path):
    def write(frame: pd.DataFrame, more: str = "") -> str:
        frame.to_csv(tmp_path / "t.csv", index=False)
        text = f'path: t.csv\nlabel: y\npositive: "yes"\nall_but: []\nsensitive: [sex]\n{more}'
        (tmp_path / "t.yaml").write_text(text)
        return str(tmp_path / "t.yaml")

    return write


@pytest.fixture
def kinds(write):
    return lambda frame, more="": {w.kind: w for w in check_dataset(datasets.load(write(frame, more)), 115)}


def test_clean_data_are_not_warned_of(kinds):
    assert not kinds(table())


@pytest.mark.parametrize(
    ("columns", "kind", "remedy"),
    [
        ({"row": np.arange(ROWS)}, "unique_ids", "leave 'row' out of the inputs"),
        ({"patient_nbr": np.arange(ROWS) // 3}, "repeated_ids", "`subject: patient_nbr`"),
        ({"zip": some(10115, 20095, 80331, 50667)}, "codes", "`categorical: [zip]`"),
        ({"kind_id": some(1, 2, 3)}, "codes", "`categorical: [kind_id]`"),
        ({"charge": some(11, 12, 21, 33, 95)}, "codes", "`categorical: [charge]`"),
        ({"work": some("a", "b", "?")}, "placeholder", '`missing: ["?"]`'),
        ({"work": some("a", "b", "Unknown")}, "placeholder", '`missing: ["Unknown"]`'),
        ({"hours": some(40, 38, 20, 12, -999)}, "placeholder", '`missing: ["-999"]`'),
        ({"sex": some("F", "M", "?")}, "placeholder", '`missing: ["?"]`'),
        ({"sex": some("F", "f", "M")}, "near_equal", "write them the same way"),
        ({"work": some("a b", "A b ", "c")}, "near_equal", "write them the same way"),
        ({"same": 1}, "constant", "Leave it out"),
        ({"after": np.where(table().y == "yes", "x", "z")}, "gives_away", "Leave it out"),
        ({"sex": some("F", "M", "X", p=[0.5, 0.47, 0.03])}, "tiny_groups", "gather rows"),
    ],
)
def test_what_was_planted_is_named_with_its_remedy(kinds, columns, kind, remedy):
    result = kinds(table(**columns))
    assert result[kind].column == next(iter(columns))
    assert remedy in result[kind].sentence


@pytest.mark.parametrize("columns", [{"zip": some(1, 2, 5)}, {"work": some("a", "?")}])
def test_the_remedy_silences_the_warning(kinds, columns):
    (name,) = columns
    more = "categorical: [zip]\n" if name == "zip" else 'missing: ["?"]\n'
    frame = table(**columns) if name == "zip" else table(work=some("a", "b", "?"))
    assert not {"codes", "placeholder"} & set(kinds(frame, more))


def test_counts_are_no_codes(kinds):
    assert "codes" not in kinds(table(priors=np.random.default_rng(0).geometric(0.3, ROWS) - 1))


def test_an_input_that_says_whose_row_it_is_is_named_though_the_subject_is_known(kinds):
    who = np.arange(ROWS) // 2
    result = kinds(table(who=who, member=(who * 7919) % 100_003), "subject: who\n")
    assert result["repeated_ids"].column == "member"


def test_the_same_row_in_training_and_test_is_counted(kinds):
    frame = table()
    result = kinds(pd.concat([frame, frame[:15]]))["duplicates"]
    assert result.number == 15
    assert "15 of them in label and groups too" in result.sentence


def test_base_rates_are_those_of_each_group_and_part(write):
    data = datasets.load(write(table()))
    known = {(name, group): counts for name, group, counts in class_rates(data)}
    frame = table()
    for part, rows in data.parts.items():
        taken = frame.iloc[rows]
        assert known["", "everybody"][part] == (len(rows), (taken.y == "yes").sum())
        women = taken[taken.sex == "F"]
        assert known["sex", "F"][part] == (len(women), (women.y == "yes").sum())


def test_groups_that_are_short_of_one_class_are_named_with_the_rows_needed(kinds):
    frame = table(sex=some("F", "M", "X", p=[0.4, 0.4, 0.2]))
    frame.loc[frame.sex == "X", "y"] = np.where(np.arange((frame.sex == "X").sum()) % 10, "no", "yes")
    sentence = kinds(frame)["few_of_a_class"].sentence
    assert "X (14 of 'yes')" in sentence or "X (15 of 'yes')" in sentence
    assert "fewer than 115 test rows of a class" in sentence
    frame.loc[frame.sex == "X", "y"] = "no"
    assert "X has none of 'yes' among" in kinds(frame)["one_class_groups"].sentence
    few = table(sex=some("F", "M", "X", p=[0.45, 0.45, 0.1]))
    few.loc[few.sex == "X", "y"] = np.where(np.arange((few.sex == "X").sum()) % 30, "no", "yes")
    assert "X (" in kinds(few)["few_of_a_class_in_training"].sentence


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    return int(done.value.code)


def test_the_command_informs_and_fails_only_where_it_is_strict_or_nothing_can_be_read(write, capsys):
    path = write(table(work=some("a", "b", "?")))
    assert run("data", "check", path) == 0
    out = capsys.readouterr().out
    assert "share of 'yes' (rows)" in out
    assert "sex: F" in out
    assert '`missing: ["?"]`' in out
    assert run("data", "check", path, "--strict") == 1
    capsys.readouterr()
    assert run("data", "check", path, "--json") == 0
    assert [w["kind"] for w in json.loads(capsys.readouterr().out)] == ["placeholder"]
    assert run("data", "check", path.replace("t.yaml", "absent.yaml")) == 2
