"""A study's folder as `fairpress study run` leaves it, of two networks and their INT8 versions, without training any."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fairpress.auditing.audit import audit
from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.canonical_json import canonical_json
from fairpress.studies.config.study import StudyConfig

PART = {"part": "", "dataset": "compas", "model": "mlp"}
GROUPS = ("<25", "Male", "Nobody positive")


def made_study(folder, rows=300):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    group = np.arange(rows) % 3
    truth = (rng.random(rows) < 0.5) & (group != 2)
    tables, facts = [], []
    for seed in (0, 1):
        columns = {
            "row_id": [str(i) for i in range(rows)],
            "label": np.where(truth, "yes", "no").tolist(),
            "sex": [GROUPS[g] for g in group],
            "seed": [seed] * rows,
            "fold": [0] * rows,
        }
        for i, recipe in enumerate(("fp32", "int8")):
            columns[recipe] = np.where(truth ^ (rng.random(rows) < 0.1 + 0.1 * i), "yes", "no").tolist()
            columns[f"{recipe}.score"] = [0.5] * rows
            facts.append(
                {
                    **PART,
                    "recipe": recipe,
                    "seed": seed,
                    "fold": 0,
                    "bytes": (4 - i) * 1000,
                    "gzip_bytes": (4 - i) * 900,
                    "threshold": 0.5,
                    "sha256": f"{seed}{i}",
                }
            )
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables)
    pq.write_table(table, folder / "predictions.parquet")
    bare = table.drop_columns(["fp32.score", "int8.score"])
    audited = audit(
        bare, baseline="fp32", compressed=["int8"], by=["sex"], positive="yes", seed_column="seed"
    )
    config = StudyConfig.model_validate(
        {"dataset": "compas", "model": "mlp", "recipes": ["int8"], "seeds": 2, "audit": {"by": ["sex"]}}
    )
    manifest = {
        "name": "small",
        "command": "fairpress study run small",
        "study": canonical_json(config.model_dump(mode="json")),
    }
    files = {
        "audit.json": {"Compressed against the baseline": {**PART, **to_dict(audited)}},
        "models.json": facts,
        "study.json": {**manifest, "data": "compas, sha256 0", "only": []},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "report.html").write_text("<h1>Report</h1>")
    return folder
