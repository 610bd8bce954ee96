"""A folder as `fairpress study run` leaves it, of any number of networks."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fairpress.auditing.audit import audit
from fairpress.auditing.output.audit_json import to_dict

RECIPES = ("fp32", "int8", "int4")
HOSTILE = "<script>alert(1)</script>"


def make_study(
    folder,
    *,
    networks=6,
    rows=400,
    name="made",
    group="Female",
    recipes=RECIPES,
    attribute="sex",
    classes=("no", "yes"),
    part=("", "made", "mlp"),
    config=None,
    warnings=(),
):
    """Write a study of three models and `networks` networks, with the predictions of the first seeds alone.

    `part` are the labels of its part, its dataset and its model.
    """
    no, yes = classes
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    truth = rng.random(rows) < 0.5
    tables = []
    for seed in range(2):
        columns = {
            "row_id": [str(i) for i in range(rows)],
            "subject": [str(i) for i in range(rows)],
            "label": np.where(truth, yes, no).tolist(),
            attribute: np.where(np.arange(rows) % 3 == 0, group, "Male").tolist(),
            "seed": [seed] * rows,
            "fold": [0] * rows,
        }
        for i, recipe in enumerate(recipes):
            wrong = rng.random(rows) < 0.1 + 0.06 * i
            columns[recipe] = np.where(truth ^ wrong, yes, no).tolist()
            columns[f"{recipe}.score"] = [0.5] * rows
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables)
    pq.write_table(table, folder / "predictions.parquet")
    audited = audit(
        table.select([c for c in table.column_names if not c.endswith(".score")]),
        baseline="fp32",
        compressed=recipes[1:],
        by=[attribute],
        positive=yes,
        seed_column="seed",
    )
    labels = dict(zip(("part", "dataset", "model"), part, strict=True))
    title = f"{part[0]} · Compressed against the baseline" if part[0] else "Compressed against the baseline"
    (folder / "audit.json").write_text(json.dumps({title: {**labels, **to_dict(audited)}}))
    facts = [
        {**labels, "recipe": r, "seed": s, "fold": 0, "bytes": 1000 * (4 - i), "sha256": "0"}
        for s in range(networks // len(recipes))
        for i, r in enumerate(recipes)
    ]
    (folder / "models.json").write_text(json.dumps(facts))
    manifest = {
        "name": name,
        "command": f"fairpress study run {name}",
        "study": json.dumps(config or {"models": {}}),
        "warnings": list(warnings),
    }
    (folder / "study.json").write_text(json.dumps(manifest))
    (folder / "report.html").write_text("<h1>Report</h1>")
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return table


def make_model(folder):
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"0" * 1234)
    (folder / "card.json").write_text(json.dumps({"recipe": "int8", "target": "y", "inputs": {"name": "x"}}))
