"""The positive class: named by the user, recorded by the table, said by its name, or asked for; never guessed in silence."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairpress import api
from fairpress.auditing.audit import audit
from fairpress.auditing.cells.positive_class import PositiveClass, RecordedTask, choose_positive
from fairpress.core.errors import UserError

PAIR = {"baseline": "m", "compressed": ["n"], "by": ["sex"]}


def table(negative="good", positive="bad", rows: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Scores are the probability of `positive`."""
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < 0.4
    names = np.array([negative, positive])
    frame = pd.DataFrame({"label": names[y.astype(int)], "sex": rng.choice(["F", "M"], rows)})
    for model, noise in (("m", 0.35), ("n", 0.4)):
        score = np.clip(np.where(y, 0.7, 0.3) + noise * (rng.random(rows) - 0.5), 0.01, 0.99)
        frame[model], frame[f"{model}.score"] = names[(score >= 0.5).astype(int)], score
    return frame


def recorded(frame: pd.DataFrame, positive) -> pa.Table:
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    task = {"label": "outcome", "classes": ["bad", "good"], "positive": positive}
    return arrow.replace_schema_metadata({"fairpress.task": json.dumps(task)})


@pytest.mark.parametrize(
    ("classes", "option", "noted", "expected"),
    [
        (("bad", "good"), "bad", "good", PositiveClass("bad", "option")),
        (("bad", "good"), None, "bad", PositiveClass("bad", "table")),
        (("bad", "good"), None, "other", PositiveClass("good", "order")),
        (("no", "yes"), None, None, PositiveClass("yes", "name")),
        (("No", "Yes"), None, None, PositiveClass("Yes", "name")),
        (("0", "1"), None, None, PositiveClass("1", "name")),
        (("False", "True"), 1, None, PositiveClass("True", "option")),
        (("0.0", "1.0"), "1", None, PositiveClass("1.0", "option")),
        (("0", "1"), True, None, PositiveClass("1", "option")),
        (("1", "2"), None, None, PositiveClass("1", "name")),
        (("a", "b", "c"), None, None, PositiveClass(None)),
        (("a", "b", "c"), None, "b", PositiveClass("b", "table")),
    ],
)
def test_the_rule(classes, option, noted, expected):
    recorded = None if noted is None else RecordedTask(noted)
    assert choose_positive(classes, option, recorded, "label", "t") == expected


def test_only_alphabetical_order_and_the_1_of_1_and_2_are_doubtful():
    assert PositiveClass("good", "order").doubtful(("bad", "good"))
    assert PositiveClass("1", "name").doubtful(("1", "2"))
    assert not PositiveClass("1", "name").doubtful(("0", "1"))
    assert not PositiveClass("1", "name").doubtful(("-1", "1"))
    assert not PositiveClass("yes", "name").doubtful(("no", "yes"))
    assert not PositiveClass("good", "option").doubtful(("bad", "good"))


def test_decisions_alone_are_audited_and_a_note_names_the_class_and_the_other_choice():
    report = audit(table()[["label", "sex", "m", "n"]], **PAIR)
    assert (report.positive, report.positive_from) == ("good", "order")
    (note,) = (n for n in report.notes if "positive class" in n)
    assert "'good'" in note
    assert "`positive='bad'`" in note
    clear = audit(table("no", "yes")[["label", "sex", "m", "n"]], **PAIR)
    assert (clear.positive, clear.positive_from) == ("yes", "name")
    assert not [n for n in clear.notes if "positive class" in n]


@pytest.mark.parametrize("names", [("good", "bad"), ("1", "2"), ("Female", "Male")])
def test_scores_alone_are_asked_about_where_only_a_convention_says_whose_they_are(names):
    frame = table(*names)[["label", "sex", "m.score", "n.score"]]
    a, b = sorted(names)
    with pytest.raises(UserError, match=f"`positive='{a}'` or `positive='{b}'`"):
        audit(frame, **PAIR)
    with pytest.raises(UserError, match="holds scores, and nothing indicates"):
        audit(frame, **PAIR, decide={"m": "m.score>=0.5", "n": "n.score>=0.5"})
    assert audit(frame, **PAIR, positive=names[1]).models[0].overall.rates["accuracy"].value > 0.9
    assert audit(table("no", "yes")[["label", "sex", "m.score", "n.score"]], **PAIR).positive == "yes"


def test_the_table_s_own_record_decides_in_every_form(tmp_path):
    frame = table()
    scores = frame[["label", "sex", "m.score", "n.score"]]
    pq.write_table(recorded(scores, "bad"), tmp_path / "t.parquet")
    pq.write_table(recorded(scores, "bad"), tmp_path / "u.parquet")
    for given in (
        recorded(scores, "bad"),
        tmp_path / "t.parquet",
        [tmp_path / "t.parquet", tmp_path / "u.parquet"],
        str(tmp_path / "*.parquet"),
    ):
        report = audit(given, **PAIR)
        assert (report.positive, report.positive_from) == ("bad", "table")
        assert report.models[0].overall.rates["auc"].value > 0.9
    assert audit(recorded(frame, "bad"), **PAIR, positive="good").positive_from == "option"


def test_tables_that_record_different_classes_are_refused(tmp_path):
    for name in ("good", "bad"):
        pq.write_table(recorded(table(), name), tmp_path / f"{name}.parquet")
    files = [tmp_path / "good.parquet", tmp_path / "bad.parquet"]
    with pytest.raises(
        UserError, match=r"the positive class is 'good' in .*good\.parquet and 'bad' in .*bad\.parquet"
    ):
        audit(files, **PAIR)


@pytest.mark.parametrize("broken", ["[1", "[]", '{"positive": ["bad"]}', '{"positive": null}', "7"])
def test_a_record_that_cannot_be_read_records_nothing(broken):
    arrow = recorded(table()[["label", "sex", "m", "n"]], "bad").replace_schema_metadata(
        {"fairpress.task": broken}
    )
    assert audit(arrow, **PAIR).positive_from == "order"


def test_scores_that_contradict_an_alphabetical_choice_are_refused_and_others_are_warned_of():
    frame = table()
    with pytest.raises(UserError, match=r"probability of 'bad'; name the positive class: `positive='bad'`"):
        audit(frame, **PAIR)
    assert audit(frame, **PAIR, positive="bad").warnings == ()
    first, second = audit(frame, **PAIR, positive="good").warnings
    assert "'m.score' are higher where 'm' predicts 'bad'" in first
    assert "although the positive class is 'good'" in second
    # Scores of the last class in the alphabet agree with the choice by order.
    assert audit(table("approved", "denied"), **PAIR).positive_from == "order"


def test_scores_read_upside_down_are_doubted_as_a_whole():
    frame = table()[["label", "sex", "m.score", "n.score"]]
    (warning,) = audit(frame, **PAIR, positive="good").warnings
    assert "The baseline 'm' is right in" in warning
    assert "check `positive=` and the score column" in warning


def test_cells_record_the_class_and_never_a_mere_convention(tmp_path):
    frame = table()
    options = {"baseline": "m", "compressed": ["n"], "by": "sex"}
    api.export_cells(frame, tmp_path / "bad.parquet", positive="bad", **options)
    api.export_cells(table(seed=7), tmp_path / "other.parquet", positive="bad", **options)
    report = audit([tmp_path / "bad.parquet", tmp_path / "other.parquet"], **PAIR)
    assert (report.positive, report.positive_from) == ("bad", "table")
    decisions = frame[["label", "sex", "m", "n"]]
    cells = api.export_cells(decisions, tmp_path / "order.parquet", **options)
    assert json.loads(cells.schema.metadata[b"fairpress.task"])["positive"] is None
    assert audit(tmp_path / "order.parquet", **PAIR).positive_from == "order"


def test_a_pair_chosen_on_other_rows_is_of_the_same_class():
    scores = ["label", "sex", "m.score", "n.score"]
    report = audit(
        recorded(table(rows=6000)[scores], "bad"),
        **PAIR,
        pairs_from=table(seed=7)[scores],
        metrics=["accuracy"],
    )
    assert report.positive == "bad"
    assert report.comparisons[0].pairs


def test_four_fifths_say_whom_they_count_as_selected():
    frame = table("approved", "denied")[["label", "sex", "m", "n"]]
    options = {"baseline": "m", "compressed": "n", "by": "sex"}
    shown = api.audit(frame, **options).four_fifths("m")
    assert "selected means predicted 'denied'" in shown
    assert "For the other class" in shown
    assert "Selected means predicted 'approved'." in api.audit(
        frame, **options, positive="approved"
    ).four_fifths("m")
