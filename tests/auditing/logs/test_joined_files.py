"""A file of predictions per model: joined by a key, from JSON lines, CSV and Parquet, in any order."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fairpress as fp
from fairpress.core.errors import UserError


def rows(model=0, n=60):
    rng = np.random.default_rng(0)
    label, group = rng.integers(0, 2, n), rng.integers(0, 2, n)
    flips = np.random.default_rng([1, model]).random(n) < 0.1 * model
    names = np.array(["no", "yes"])
    return {
        "id": [f"r{i}" for i in range(n)],
        "label": names[label].tolist(),
        "prediction": names[label ^ flips].tolist(),
        "group": np.array(["a", "b"])[group].tolist(),
        "edits": [int(x) for x in rng.integers(0, 5, n) + model],
        "words": [int(x) for x in rng.integers(5, 9, n)],
    }


def store(path, columns, order=None):
    table = pa.table(columns)
    table = table if order is None else table.take(order)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(x) + "\n" for x in table.to_pylist()))
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


@pytest.mark.parametrize(("first", "second"), [
    (".jsonl", ".jsonl"), (".csv", ".parquet"), (".parquet", ".jsonl"), (".parquet", ".parquet"),
])  # fmt: skip
def test_rows_are_joined_whatever_the_format_and_the_order(tmp_path, first, second):
    base = store(tmp_path / f"a{first}", rows(0))
    other = store(tmp_path / f"b{second}", rows(1), np.random.default_rng(3).permutation(60))
    table = fp.read_pair({"base": base, "q4": other}, key="id")
    assert table.column_names == ["id", "label", "group", "words", "base", "q4", "base.edits", "q4.edits"]
    expected = rows(1)
    assert table["q4"].to_pylist() == expected["prediction"]
    assert [int(float(x)) for x in table["q4.edits"].to_pylist()] == expected["edits"]
    report = fp.audit(table, by="group")
    flips = sum(a != b for a, b in zip(rows(0)["prediction"], expected["prediction"], strict=True))
    assert report.baseline == "base"
    assert "edits" in report.notes[0]
    assert flips > 0
    accuracy = np.mean([a == b for a, b in zip(expected["label"], expected["prediction"], strict=True)])
    assert report.models[1].overall.rates["accuracy"].value == pytest.approx(accuracy, abs=1e-12)


def test_several_columns_may_be_the_key(tmp_path):
    columns = rows(0) | {"part": ["x", "y"] * 30, "id": [str(i // 2) for i in range(60)]}
    base, other = (
        store(tmp_path / "a.csv", columns),
        store(tmp_path / "b.csv", columns, list(range(59, -1, -1))),
    )
    table = fp.read_pair({"base": base, "q4": other}, key=["id", "part"])
    assert table.num_rows == 60
    with pytest.raises(UserError, match="more than once in base"):
        fp.read_pair({"base": base, "q4": other}, key="id")


def test_a_label_with_another_name_is_remembered(tmp_path):
    files = {}
    for model, name in enumerate(("base", "q4")):
        columns = rows(model)
        columns["truth"] = columns.pop("label")
        files[name] = store(tmp_path / f"{name}.jsonl", columns)
    table = fp.read_pair(files, key="id", label="truth")
    report = fp.audit(table, by="group")
    assert report.label == "truth"
    assert report.to_dict() == fp.audit(table, by="group", label="truth").to_dict()


def test_whether_answers_were_right_is_enough(tmp_path):
    columns = {"id": list(range(40)), "ok": [i % 4 > 0 for i in range(40)], "group": ["a", "b"] * 20}
    paths = {m: store(tmp_path / f"{m}.jsonl", columns) for m in ("base", "q4")}
    table = fp.read_pair(paths, key="id", correct="ok")
    report = fp.audit(table, by="group")
    assert report.models[0].overall.rates["accuracy"].value == 0.75
    with pytest.raises(UserError, match="other values than 0 and 1"):
        fp.read_pair(paths, key="id", correct="id")


def test_other_labels_and_missing_rows_are_refused_or_left_out(tmp_path):
    changed = rows(1)
    changed["label"][4] = "no" if changed["label"][4] == "yes" else "yes"
    base, other = store(tmp_path / "a.csv", rows(0)), store(tmp_path / "b.csv", changed, list(range(1, 60)))
    paths = {"base": base, "q4": other}
    with pytest.raises(UserError, match=r"1 is missing from q4 \(r0\); 1 has other labels \(r4\)"):
        fp.read_pair(paths, key="id")
    table = fp.read_pair(paths, key="id", unpaired="drop")
    assert table.num_rows == 58
    assert not {"r0", "r4"} & set(table["id"].to_pylist())
    assert fp.audit(table, by="group").warnings[0].startswith("2 of 60 items are left out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "ident"}, r"has no column 'ident' \(the key\)\. Available: edits, group, id"),
        ({"key": ()}, "`key=` names the column"),
        ({"key": "id", "label": "y"}, r"has no column 'y' \(the label\)"),
        ({"key": "id", "prediction": "pred"}, r"has no column 'pred' \(the predictions\)"),
        ({"key": "id", "correct": "ok"}, r"has no column 'ok' \(whether an answer was right\)"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, options, message):
    paths = {m: store(tmp_path / f"{m}.csv", rows(i)) for i, m in enumerate(("base", "q4"))}
    with pytest.raises(UserError, match=message):
        fp.read_pair(paths, **options)


def test_nested_values_are_refused_where_they_are_needed(tmp_path):
    columns = rows(0)
    paths = {m: store(tmp_path / f"{m}.jsonl", columns | {"more": [[1]] * 60}) for m in ("base", "q4")}
    assert "more" not in fp.read_pair(paths, key="id").column_names
    store(paths["q4"], columns | {"prediction": [["yes"]] * 60})
    with pytest.raises(UserError, match=r"q4\.jsonl: 'prediction' holds lists or objects"):
        fp.read_pair(paths, key="id")


def test_a_model_is_not_called_like_a_column(tmp_path):
    paths = {"group": store(tmp_path / "a.csv", rows(0)), "q4": store(tmp_path / "b.csv", rows(1))}
    with pytest.raises(UserError, match="column 'group', the name of a model"):
        fp.read_pair(paths, key="id")


def test_files_without_predictions_are_refused(tmp_path):
    columns = {"id": [1, 2], "label": ["a", "b"]}
    paths = {m: store(tmp_path / f"{m}.csv", columns) for m in ("base", "q4")}
    with pytest.raises(UserError, match="no column 'prediction', and no other that differs"):
        fp.read_pair(paths, key="id")
