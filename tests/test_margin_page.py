"""docs/choosing-a-margin.md: the rows that a margin takes are those that `fairpress plan` computes."""

from __future__ import annotations

import re

import pytest

import fairpress as fp
from pages import ROOT

PAGE = (ROOT / "docs" / "choosing-a-margin.md").read_text(encoding="utf-8")
HEADER = re.search(
    r"^\| margin \| ([\d.]+) % of predictions change \| ([\d.]+) % \| ([\d.]+) % \|$", PAGE, re.MULTILINE
)
LINES = re.findall(r"^\| ([\d.]+) points? \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)


def test_the_table_is_read():
    assert HEADER is not None
    assert len(LINES) == 4


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line[0]} points")
def test_rows_for_a_margin_are_those_of_the_plan(line):
    assert HEADER is not None
    margin, *rows = line
    for share, needed in zip(HEADER.groups(), rows, strict=True):
        (group,) = fp.plan([{"group": "a", "n": 1000}], margin=f"{margin}pp", flips=float(share) / 100).groups
        assert f"{group.rows_needed:,}" == needed, share
