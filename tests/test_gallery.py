"""What docs/gallery.md shows of a pull request's comment is what the gate writes."""

from __future__ import annotations

from pathlib import Path

from pyarrow import csv

import fairpress as fp
from fairpress import demo_data
from pages import ROOT, blocks

PAGE = "docs/gallery.md"


def test_the_comment_is_the_one_that_the_gate_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    csv.write_csv(demo_data.table(), "predictions.csv")
    (policy,) = blocks(PAGE, "yaml")
    Path("fairpress-policy.yaml").write_text(policy, encoding="utf-8")
    report = fp.audit("predictions.csv", compressed=["int8", "int4"], policy="fairpress-policy.yaml")
    report.gate().to_markdown("comment.md")
    written = [
        line.rstrip()
        for line in Path("comment.md").read_text(encoding="utf-8").splitlines()
        if not line.startswith("<!--")
    ]
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    shown = [line[1:].strip() for line in page.splitlines() if line.startswith(">")]
    assert shown == written
