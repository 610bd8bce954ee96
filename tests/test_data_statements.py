"""docs/data-statements.md: its counts are those of the data, and every bundled dataset has a statement."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fairpress.datasets import load
from fairpress.datasets.registry import names
from pages import ROOT

PAGE = (ROOT / "docs" / "data-statements.md").read_text(encoding="utf-8")


def test_every_bundled_dataset_has_a_statement():
    assert not [name for name in names() if f"(`{name}`)" not in PAGE]


@pytest.mark.parametrize("name", ["compas", "adult"])
def test_counts_and_shares_are_those_of_the_data(name, data_folder):
    section = PAGE.partition(f"| {name.upper() if name == 'compas' else 'Adult'} | people")[2].partition(
        "\n\n"
    )[0]
    listed = re.findall(r"^\| (\w+) = (\S.*?) \| ([\d,]+) \| ([\d.]+) % \|$", section, re.MULTILINE)
    assert len(listed) >= 7
    data = load(name)
    for attribute, group, people, share in listed:
        rows = np.asarray(data.attributes[attribute]) == group
        assert int(people.replace(",", "")) == rows.sum(), group
        assert float(share) == pytest.approx(100 * np.mean(data.labels[rows]), abs=0.05), group
    total = re.search(rf"\(`{name}`\) \| ([\d,]+) \|", PAGE)
    assert total is not None
    assert int(total[1].replace(",", "")) == len(data.labels)
