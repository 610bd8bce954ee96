"""Names of groups hide nothing on a page and in its charts: what reorders or has no width is shown by its number."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from fairpress.api import audit
from fairpress.core.values import near_equal, told_apart
from fairpress.reporting.plot_text import wrapped_names

NAMES = {
    "\u202egnp.exe": "⟨U+202E⟩gnp.exe",
    "\x1b[31mred\x1b[0m": "⟨U+001B⟩[31mred⟨U+001B⟩[0m",
    "a\u200bb": "a⟨U+200B⟩b",
    "a\u200cb": "a⟨U+200C⟩b",
    "a\u00adb": "a⟨U+00AD⟩b",
    "ab": "ab",
    "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "</svg><image href=x onerror=alert(1)>": "&lt;/svg&gt;&lt;image href=x onerror=alert(1)&gt;",
    "👩\u200d👧": "👩\u200d👧",
    "עברית": "עברית",
    "می\u200cخواهم": "می\u200cخواهم",
    "x" * 200: "x" * 200,
}


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    rows = 420 * len(NAMES)
    label = rng.integers(0, 2, rows)
    fp32 = np.where(rng.random(rows) < 0.1, 1 - label, label)
    int8 = np.where(rng.random(rows) < 0.05, 1 - fp32, fp32)
    table = pd.DataFrame({"label": label, "g": np.repeat(list(NAMES), 420), "fp32": fp32, "int8": int8})
    return audit(table, baseline="fp32", compressed=["int8"], by=["g"])


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "audit.html"
    report.to_html(path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_text_that_shows_what_it_is_made_of(page, name):
    assert f">g = {NAMES[name]}<" in page
    assert name in (NAMES[name], "ab") or f">g = {name}<" not in page


def test_nothing_invisible_is_left_and_charts_are_valid(page):
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u200b\u202a-\u202e\ufeff]", page)
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert charts
    for chart in charts:
        ElementTree.fromstring(chart)
    assert any("👩\u200d👧" in chart for chart in charts)


HIDING = {name: shown for name, shown in NAMES.items() if "U+" in shown and "1B" not in shown}


def test_text_and_tables_for_papers_and_pull_requests_tell_names_apart(report):
    text, markdown, latex = report.to_text(all_groups=True), report.to_markdown(), report.to_latex()
    for name, shown in HIDING.items():
        assert shown in text
        assert shown.replace("+", "\\+") in markdown
        assert shown.replace("⟨", r"$\langle$").replace("⟩", r"$\rangle$") in latex
        assert not any(name in output for output in (text, markdown, latex))
    for output in (text, markdown, latex):
        assert "👩\u200d👧" in output
        assert "می\u200cخواهم" in output


def test_names_that_look_alike_are_said_to_be_alike(report):
    [warning] = [w for w in report.warnings if "cannot be seen" in w]
    assert "'a\\u200bb' (420 rows)" in warning
    assert "'ab' (420 rows)" in warning


def test_an_accent_of_two_characters_is_told_from_one():
    assert near_equal(["é", "e\u0301", "e", "❤\ufe0f", "❤"]) == [("e\u0301", "é"), ("❤", "❤\ufe0f")]
    assert told_apart(["e\u0301", "é"]) == [r"'e\u0301'", r"'\xe9'"]
    assert told_apart(["É", "é"]) == ["'É'", "'é'"]


def test_names_that_look_alike_are_numbered():
    assert wrapped_names(["é", "e\u0301", "e"]) == [("é",), ("é (2)",), ("e",)]
