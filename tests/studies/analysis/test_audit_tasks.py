"""Joining predictions, auditing them, and remembering what came of it."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairpress.auditing.audit import audit
from fairpress.auditing.audit_table import audit_table
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.result import Fairness, LossBounds, Margin, Pool
from fairpress.core.errors import FairpressError, UserError
from fairpress.core.estimate import Estimate
from fairpress.store.local import Store
from fairpress.studies.analysis import audit_tasks
from fairpress.studies.analysis.bias_findings import bias_findings
from fairpress.studies.config.store_files import FACTS, PREDICTIONS, parquet_bytes, read_table
from fairpress.studies.execution.tasks import perform
from fairpress.studies.planning.matrix import ReportPart
from fairpress.studies.planning.plan import make_task
from fairpress.studies.planning.report_plan import ReportSection


def put(store, model, networks, rows, flip=0, labels=None, metadata=None):
    """Store predictions of a model: networks (seed, fold) → row ids."""
    tables = []
    for seed, fold in networks:
        ids = rows(fold)
        truth = labels or {i: "yes" if i % 3 else "no" for i in ids}
        message = [("no" if truth[i] == "yes" else "yes") if (i + seed) % 7 < flip else truth[i] for i in ids]
        columns = {
            "row_id": [str(i) for i in ids],
            "subject": [str(i // 2) for i in ids],
            "label": [truth[i] for i in ids],
            "sex": ["F" if i % 2 else "M" for i in ids],
            f"{model}.score": [0.5] * len(ids),
            model: message,
            "seed": [seed] * len(ids),
            "fold": [fold] * len(ids),
        }
        tables.append(pa.table(columns, metadata=metadata))
    task = make_task(
        "predict", model, {"model": model, "flip": flip, "odd": labels is not None}, (), tuple(networks)
    )
    sizes = {"bytes": 1, "gzip_bytes": 1, "sha256": "", "threshold": 0.5}
    facts = [{"recipe": model, "seed": s, "fold": f, **sizes} for s, f in networks]
    files = {PREDICTIONS: parquet_bytes(pa.concat_tables(tables)), FACTS: json.dumps(facts).encode()}
    store.put(task.key, files, {})
    return task.key


def halves(fold):
    return range(fold * 100, fold * 100 + 100)


def joined(store, columns, inputs, networks, rows="same"):
    task = make_task("join", "j", {"columns": columns, "networks": networks, "rows": rows}, inputs)
    files = audit_tasks.join_predictions(store, task)
    return pq.read_table(io.BytesIO(files["predictions.parquet"])), json.loads(files["models.json"])


NETWORKS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_batches_are_stacked_columns_stand_side_by_side_and_only_what_is_wanted_is_kept(tmp_path):
    store = Store(tmp_path)
    inputs = [
        put(store, "fp32", NETWORKS[:2], halves),
        put(store, "fp32", NETWORKS[2:], halves),
        put(store, "int8", NETWORKS, halves, flip=1),
    ]
    columns = [["fp32", "fp32", [0, 1]], ["int8", "int8", [2]]]
    table, facts = joined(store, columns, inputs, [[0, 1], [1, 1]])
    assert table.num_rows == 200
    assert set(table["fold"].to_pylist()) == {1}
    assert {"fp32", "fp32.score", "int8", "int8.score"} < set(table.column_names)
    assert [(f["recipe"], f["seed"]) for f in facts] == [("fp32", 0), ("fp32", 1), ("int8", 0), ("int8", 1)]
    wrong = np.array(table["int8"].to_pylist()) != np.array(table["label"].to_pylist())
    rows, seeds = (np.array(table[c].to_pylist(), dtype=int) for c in ("row_id", "seed"))
    assert (wrong == ((rows + seeds) % 7 < 1)).all()


@pytest.mark.parametrize("rows", ["same", "common"])
def test_the_task_of_the_predictions_stays_in_the_joined_table(tmp_path, rows):
    store, message = Store(tmp_path), {"fairpress.task": '{"positive": "yes"}'}
    inputs = [
        put(store, "fp32", NETWORKS[:2], halves),  # kept by a version that did not write it
        put(store, "int8", NETWORKS[:2], lambda fold: range(fold * 100, fold * 100 + 90), metadata=message)
        if rows == "common"
        else put(store, "int8", NETWORKS[:2], halves, metadata=message),
    ]
    table, _ = joined(store, [["a", "fp32", [0]], ["b", "int8", [1]]], inputs, [[0, 0], [0, 1]], rows)
    assert table.schema.metadata[b"fairpress.task"] == b'{"positive": "yes"}'


def test_models_on_other_rows_are_refused_unless_common_rows_are_asked_for(tmp_path):
    store = Store(tmp_path)
    inputs = [
        put(store, "fp32", [(0, 0), (1, 0)], lambda fold: range(100)),
        put(store, "fp32", [(0, 0), (1, 0)], lambda fold: range(60, 160), flip=2),
    ]
    columns = [["b", "fp32", [0]], ["a", "fp32", [1]]]
    with pytest.raises(FairpressError, match="not for the same rows as those of the baseline"):
        joined(store, columns, inputs, [[0, 0], [1, 0]])
    table, _ = joined(store, columns, inputs, [[0, 0], [1, 0]], "common")
    assert sorted(set(table["row_id"].to_pylist()), key=int) == [str(i) for i in range(60, 100)]
    assert table.num_rows == 80
    assert {"a", "b", "a.score", "b.score"} < set(table.column_names)
    assert "fp32" not in table.column_names
    # Each stays with its own row.
    assert table["b"].to_pylist() == table["label"].to_pylist()
    flipped = [
        (int(r) + s) % 7 < 2
        for r, s in zip(table["row_id"].to_pylist(), table["seed"].to_pylist(), strict=True)
    ]
    assert [
        a != y for a, y in zip(table["a"].to_pylist(), table["label"].to_pylist(), strict=True)
    ] == flipped


def test_no_common_row_and_other_labels_are_said(tmp_path):
    store = Store(tmp_path)
    first = put(store, "fp32", [(0, 0)], lambda fold: range(50))
    far = put(store, "fp32", [(0, 0)], lambda fold: range(50, 90), flip=1)
    odd = put(store, "fp32", [(0, 0)], lambda fold: range(50), 0, dict.fromkeys(range(50), "no"))
    columns = [["b", "fp32", [0]], ["a", "fp32", [1]]]
    with pytest.raises(FairpressError, match="set `folds` of the study"):
        joined(store, columns, [first, far], [[0, 0]], "common")
    with pytest.raises(FairpressError, match="different labels on the same rows"):
        joined(store, columns, [first, odd], [[0, 0]], "common")
    with pytest.raises(UserError, match="'sex' cannot be a label"):
        joined(store, [["sex", "fp32", [0]]], [first], [[0, 0]])


def test_an_audit_comes_back_as_it_was_infinite_and_unknown_numbers_included(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    label = rng.random(n) < 0.5
    table = pa.table(
        {
            "row_id": np.arange(n).astype(str),
            "label": label.astype(int),
            "group": np.where(np.arange(n) < 3, "tiny", np.where(rng.random(n) < 0.5, "a", "b")),
            "base": (label ^ (rng.random(n) < 0.2)).astype(int),
            "constant": np.ones(n, dtype=int),
        }
    )
    result = audit(table, baseline="base", compressed=["constant"], by=["group"])
    endless = Fairness("base", "group", "disparate_impact", Estimate(2.0, 0.5, math.inf, 3))
    result = replace(result, fairness=(*result.fairness, endless))
    back = audit_tasks.restore(audit_tasks.dump(result))
    assert back == result
    assert back.fairness[-1].estimate.high == math.inf
    assert back.models[1].degenerate
    values = [e.value for g in back.models[1].groups for e in g.rates.values()]
    assert None in values


def test_pools_bounds_margins_and_rows_to_decide_come_back_as_they_were():
    """The parts of an audit that decide its verdicts, over stacked seeds as in a study."""
    rng = np.random.default_rng(1)
    n, seeds = 1500, 3
    size = n * seeds
    label = np.tile(rng.random(n) < 0.5, seeds)
    base = label ^ (rng.random(size) < 0.2)
    group = np.tile(rng.choice(["a", "b", "c", "d"], n, p=[0.6, 0.15, 0.15, 0.1]), seeds)
    flipped = rng.random(size) < np.where(group == "a", 0.01, 0.1)  # so that X is that of the pool
    table = pa.table(
        {
            "row_id": np.tile(np.arange(n).astype(str), seeds),
            "seed": np.repeat(np.arange(seeds), n),
            "label": label.astype(int),
            "group": group,
            "base": base.astype(int),
            "small": (base ^ flipped).astype(int),
            "coarse": (base ^ (rng.random(size) < 0.2)).astype(int),
        }
    )
    options = AuditOptions(
        baseline="base",
        compressed=["small", "coarse"],
        by=["group"],
        seed_column="seed",
        positive=1,
        harm="fnr",
    )
    result = audit_table(table, options)
    back = audit_tasks.restore(audit_tasks.dump(result))
    assert back == result
    small, coarse = back.comparisons
    assert back.metrics[0] == "tpr" == small.bounds[0].metric
    assert back.margins == {m: Margin(0.02) for m in ("tpr", "accuracy", "fpr")}
    assert back.min_rows == result.min_rows
    pools = [p for a in small.attributes for p in a.pools]
    assert pools
    assert all(isinstance(p, Pool) and len(p.members) == 3 for p in pools)
    groups = [b.upper_group for c in back.comparisons for b in c.bounds]
    assert any(isinstance(g, Pool) for g in groups)
    assert any(isinstance(g, dict) for g in groups)
    assert [x for g in coarse.attributes[0].groups for x in g.losses if x.rows_to_decide is not None]
    assert [b for b in coarse.bounds if b.lower is not None]


@pytest.mark.parametrize(
    "margin", [Margin(0.05, relative=True, reason="as agreed"), Margin(0.01, reason="law")]
)
def test_a_margin_and_an_everybody_bound_come_back(margin):
    bounds = LossBounds("fpr", margin, 0.03, {}, 0.01, {}, Estimate(0.02, 0.0, 0.04, 9), {}, 0.5)
    table = pa.table(
        {"label": [0, 1] * 40, "g": ["a", "a", "b", "b"] * 20, "x": [0, 1] * 40, "y": [1, 1] * 40}
    )
    result = audit(table, baseline="x", compressed=["y"], by=["g"])
    changed = replace(result.comparisons[0], bounds=(bounds,))
    result = replace(result, margins={"fpr": margin}, comparisons=(changed,))
    assert audit_tasks.restore(audit_tasks.dump(result)) == result


def test_the_whole_chain_join_audit_findings(tmp_path):
    store = Store(tmp_path)
    inputs = [put(store, "fp32", NETWORKS, halves), put(store, "int8", NETWORKS, halves, flip=2)]
    columns = [["fp32", "fp32", [0]], ["int8", "int8", [1]]]
    join = make_task(
        "join", "j", {"columns": columns, "networks": [list(n) for n in NETWORKS], "rows": "same"}, inputs
    )
    arguments = {
        "baseline": "fp32",
        "compressed": ["int8"],
        "by": ["sex"],
        "positive": "yes",
        "seed_column": "seed",
        "confidence": 0.95,
    }
    task = make_task("audit", "a", {"audit": {**arguments, "subject": "subject"}}, [join.key])
    for each in (join, task):
        perform(str(tmp_path), each)
    entry = store.get(task.key)
    result = audit_tasks.restore(entry.files[audit_tasks.AUDIT])
    assert (result.rows, result.seeds, result.subjects) == (200, 2, 100)
    assert result.models[0].overall.rates["accuracy"].value == 1.0
    figures = audit_tasks.read_figures(entry)
    assert set(figures) == {("int8", m) for m in ("accuracy", "tpr", "fpr")}
    assert all(svg.startswith("<svg") for svg in figures.values())
    changes = json.loads(entry.files[audit_tasks.BIAS])
    part = ReportPart((), "data", "mlp", None, ("sex",), ())
    (bias,) = bias_findings([ReportSection("t", "", "compressed", part, task)], [changes])
    assert (bias.model, bias.against, bias.attribute, bias.groups) == ("int8", "fp32", "sex", ["F", "M"])
    assert bias.before.value == 0.0
    assert bias.change.value == pytest.approx(bias.after.value)
    assert bias.to_dict()["word"] == "not estimable"  # each person here is in both groups
    rows = audit_tasks.bias_changes(
        read_table(store.get(join.key)), AuditOptions(**{**arguments, "subject": None})
    )
    assert rows[0]["change"]["low"] < bias.change.value < rows[0]["change"]["high"]
    assert bias_findings([ReportSection("t", "", "contrast", part, task)], [changes]) == []
