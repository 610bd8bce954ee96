"""Damaged study.json, progress.json, manifests, and metadata of predictions: read, refused, or passed over; nothing else."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.core.output import MANIFEST, user_files, write_folder
from fairpress.studies.execution.progress_file import PROGRESS, read_progress
from fairpress.studies.load import load
from fairpress.studies.report.manifest import manifest_text, read_study
from fairpress.studies.report.write_folder import check_out
from fuzz_damage import a_sentence, damaged_json, other_bytes

FILES = int(os.environ.get("FAIRPRESS_FUZZ_FOLDERS", "300"))


def test_a_damaged_study_is_read_or_refused(tmp_path):
    name, config = load("compas")
    whole = {
        "name": name,
        "study": manifest_text(config),
        "only": ["seed=0"],
        "command": "fairpress study run compas",
    }
    inside, read = json.loads(whole["study"]), 0
    for i in range(FILES):
        rng = random.Random(f"study {i}")
        if i % 3:
            data = damaged_json(whole, rng)
        else:
            study = damaged_json(inside, rng).decode("utf-8", "replace")
            data = json.dumps({**whole, "study": study}).encode()
        (tmp_path / "study.json").write_bytes(data)
        try:
            assert read_study(tmp_path).name is not None
            read += 1
        except UserError as error:
            assert a_sentence(str(error)), error  # noqa: PT017
            assert "study.json" in str(error)  # noqa: PT017
        try:
            check_out(tmp_path)
        except UserError as error:
            assert a_sentence(str(error)), error  # noqa: PT017
    assert 0 < read < FILES / 2


def test_damaged_progress_is_a_state_or_nothing(tmp_path):
    whole = {
        "name": "n",
        "command": "c",
        "total": 3,
        "done": 1,
        "failed": 0,
        "running": ["a"],
        "process": os.getpid(),
        "host": "h",
        "started": 1.0,
        "updated": time.time(),
    }
    path, read = tmp_path / PROGRESS, 0
    path.write_text(json.dumps(whole))
    assert read_progress(tmp_path) is not None
    for i in range(FILES):
        path.write_bytes(damaged_json(whole, random.Random(f"progress {i}")))
        result = read_progress(tmp_path)
        if result is not None:
            read += 1
            assert result.state in ("running", "interrupted")
    assert 0 < read < FILES / 2
    for process in (10**30, 2**31, -1):
        path.write_text(json.dumps({**whole, "process": process}))
        assert read_progress(tmp_path) is None
    path.unlink()
    os.mkfifo(path)
    assert read_progress(tmp_path) is None


def test_with_a_damaged_manifest_no_file_is_taken_for_fairpress_s_own(tmp_path):
    folder = write_folder(tmp_path / "m", {"a.txt": b"a", "b.txt": b"b"})
    (folder / "mine.txt").write_text("mine")
    whole = json.loads((folder / MANIFEST).read_text())
    for i in range(FILES):
        (folder / MANIFEST).write_bytes(damaged_json(whole, random.Random(f"manifest {i}")))
        assert "mine.txt" in user_files(folder)
        with pytest.raises(UserError):
            write_folder(folder, {"a.txt": b"c"}, force=True)
        assert (folder / "mine.txt").read_text() == "mine"


KEYS = ("fairpress.task", "fairpress.runtimes", "fairpress.notes", "fairpress.models")


def test_damaged_metadata_of_predictions_is_passed_over_or_refused(tmp_path):
    labels = ["no", "yes", "no", "yes"] * 50
    table = pa.table(
        {
            "label": labels,
            "fp32": labels,
            "int8": labels[::-1],
            "fp32.score": [0.2, 0.8, 0.3, 0.7] * 50,
            "sex": ["F", "F", "M", "M"] * 50,
        }
    )
    whole = {
        "fairpress.task": {"label": "label", "classes": ["no", "yes"], "positive": "yes"},
        "fairpress.runtimes": {
            "fp32": {"runtime": "onnxruntime 1", "threads": 1, "threshold": 0.5, "digest": "d"}
        },
        "fairpress.notes": {"fp32": ["a sentence"]},
    }
    path, read = Path(tmp_path / "p.parquet"), 0
    for i in range(FILES // 12):
        rng = random.Random(f"metadata {i}")
        key = KEYS[i % len(KEYS)]
        metadata = {k: json.dumps(v).encode() for k, v in whole.items()}
        metadata[key] = damaged_json(whole[key], rng) if key in whole else other_bytes("fp32\nint8", rng)
        pq.write_table(table.replace_schema_metadata(metadata), path)
        try:
            fp.audit(str(path), baseline="fp32", compressed="int8", by="sex")
            read += 1
        except UserError as error:
            assert a_sentence(str(error)), error  # noqa: PT017
    assert read > FILES / 40
