"""What `predict` prints of two models' answers: flips, changes in the label's unit, and who decides ties."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fairpress.reporting.prediction_changes import differences, recorded_outcome, tie_text
from fairpress.runtime.predictions_file import OUTCOME_KEY, TASK_KEY, task_json


def test_flips_of_classes_and_who_decides_ties():
    table = pa.table({"a": ["no", "yes", "yes"], "b": ["no", "no", "yes"]})
    table = table.replace_schema_metadata({TASK_KEY: task_json("y", ["no", "yes"], "yes")})
    assert recorded_outcome(table) is None
    assert differences(table, "b", "a", None) == "differs from a in 1 of 3 rows"
    assert (
        tie_text(table, {"threshold": 0.5}, 1)
        == "1 of 3 rows is exactly at the threshold 0.5, which counts as 'yes'"
    )
    assert "go to the first of them" in tie_text(table, {"threshold": None}, 2)


def test_changes_of_numbers_are_in_the_unit_of_the_label():
    table = pa.table({"a": [10.0, 20.0], "b": [11.0, 17.0]}).replace_schema_metadata(
        {OUTCOME_KEY: "abs_error"}
    )
    assert recorded_outcome(table) == "abs_error"
    assert differences(table, "b", "a", "abs_error").startswith(
        "differs from a by 2 on average and by 3 at most"
    )


@pytest.mark.parametrize(("y", "where"), [([0, 1], ""), ([1, 1], ", most of 'y' (1)")])
def test_flips_of_several_labels_are_counted_over_all_of_them(y, where):
    table = pa.table(
        {"label.x": [0, 1], "label.y": [0, 1], "a.x": [0, 1], "a.y": [0, 1], "b.x": [0, 1], "b.y": y}
    )
    flips = int(y != [0, 1])
    assert (
        differences(table, "b", "a", "multilabel")
        == f"differs from a in {flips} of 4 labels of 2 rows{where}"
    )
    assert "counts as present" in tie_text(table, {"thresholds": {"x": 0.5}}, 3)
