"""An audit on the terminal: verdict and coverage come first, no word breaks in its middle, and no line is too long."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fairpress import api, demo_data
from fairpress.auditing.audit import audit
from fairpress.reporting import terminal
from fairpress.reporting.findings import findings

MODELS = {"baseline": "fp32", "compressed": ["int8", "int4"]}


def frame(rows):
    return demo_data.table(rows=rows).to_pandas()


def with_cities(rows, large):
    table = frame(rows)
    table["city"] = [f"Northampton {max(0, i - large) // 50}" for i in table.index]
    return audit(table, by=["city"], **MODELS)


def of_three_classes():
    table = frame(3000)
    rng = np.random.default_rng(0)
    for column in ("label", "fp32", "int8", "int4"):
        table.loc[rng.choice(3000, 600, replace=False), column] = "perhaps"
    return audit(table, by=["sex", "age_group"], metrics=["accuracy", "recall"], **MODELS)


AUDITS = {
    "large groups": lambda: audit(demo_data.table(), by=demo_data.BY, **MODELS),
    "pools": lambda: audit(frame(700), by=demo_data.BY, **MODELS),
    "groups that are not assessed": lambda: with_cities(1200, 900),
    "too few rows": lambda: audit(frame(60), by=["sex"], **MODELS),
    "three classes": of_three_classes,
    "a baseline alone": lambda: audit(frame(800), by=["sex"], baseline="fp32", compressed=[]),
}


@pytest.fixture(scope="module", params=AUDITS, ids=list(AUDITS))
def report(request):
    return AUDITS[request.param]()


@pytest.fixture(scope="module")
def demo():
    return AUDITS["large groups"]()


def words(text):
    """Return the words of a text, and their parts at hyphens, at which lines may break."""
    return set(re.split(r"[\s-]+", text)) - {""}


@pytest.mark.parametrize("all_groups", [False, True])
@pytest.mark.parametrize("width", [80, 100])
def test_lines_fit_and_break_between_words(report, width, all_groups):
    text = terminal.plain(report, width, all_groups=all_groups)
    assert max(map(len, text.splitlines())) <= width
    assert words(text) == words(terminal.plain(report, 1000, all_groups=all_groups))


def test_a_model_takes_a_screen_at_most(report):
    blocks = re.split(r"\n(?=\S+ against fp32: )", terminal.plain(report))
    assert all(len(block.splitlines()) <= 40 for block in blocks)


def test_the_findings_have_an_order_and_short_labels(report):
    order = [
        "Not assessed",
        "Only together",
        "Void",
        "Not ruled out",
        "Shown to rise",
        "Cleared",
        "Other errors",
        "Class recall",
        "Of 1,000",
        "Gaps",
        "Correction",
        "What next",
    ]
    for comparison in report.comparisons:
        labels = [label for label, _ in findings(comparison, report) if label]
        assert all(len(label) <= 13 for label in labels)
        assert labels == sorted(labels, key=order.index)
        assert {"Not ruled out", "Of 1,000", "What next"} <= set(labels)


def test_the_numbers_of_the_findings_are_those_of_the_audit(demo):
    int4 = demo.comparisons[1]
    found = dict(findings(int4, demo))
    bound = int4.bounds[0]
    largest, low, high = (100 * x for x in (bound.largest.value, bound.largest.low, bound.largest.high))
    assert found["Not ruled out"] == (
        "a rise of the error rate by up to 11.0 percentage points: sex = Female and age_group = 65+ "
        f"(estimate {largest:.1f} [{low:.1f}, {high:.1f}], n = 1,314)"
    )
    group = next(
        g for a in int4.attributes for g in a.groups if g.values == {"sex": "Female", "age_group": "65+"}
    )
    per_thousand = [1000 * x / g.n for g in (group.flips,) for x in (g.right_to_wrong, g.wrong_to_right)]
    assert found["Of 1,000"].startswith(
        f"sex = Female and age_group = 65+: {per_thousand[0]:.0f} lose a correct answer and {per_thousand[1]:.0f} gain one; "
    )
    assert found["Cleared"].startswith(f"{100 * bound.cleared:.3g} % of the people")


def test_groups_that_are_not_assessed_come_first_with_the_rows_that_each_needs():
    report = with_cities(1200, 900)
    lines = terminal.plain(report).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("int8 against fp32"))
    assert "in 1 of 6 groups; 5 not assessed" in lines[first]
    assert lines[first + 1].startswith("  Not assessed   too few people: city = Northampton 1 (50), ")
    assert f"each needs {report.min_rows['accuracy']:,} rows" in " ".join(
        "".join(lines[first + 1 : first + 4]).split()
    )


def test_tables_have_groups_with_a_loss_and_all_groups_on_request(demo):
    few, every = (terminal.plain(demo, all_groups=a).split("int4 against fp32")[1] for a in (False, True))
    verdicts = re.compile(r"(?:✖ harm|▼ some loss|\? inconclusive|✔ no harm)$", re.MULTILINE)
    assert len(verdicts.findall(every)) == 12
    assert "✔ no harm\n" not in few
    assert len(verdicts.findall(few)) == 5
    assert "… 7 groups: no harm. Table of all groups: to_text(all_groups=True) or to_html()" in few
    assert "Table of all groups" not in every
    # A model without an open group needs no table.
    assert "of 1,000" not in terminal.plain(demo).split("int4 against fp32")[0]


def test_a_report_in_python_shows_all_groups_on_request():
    report = api.audit(demo_data.table(), by=["sex"], **MODELS)
    assert "to_text(all_groups=True)" in str(report)
    assert report.to_text() == str(report)
    every = report.to_text(all_groups=True)
    assert "Table of all groups" not in every
    assert sum(line.startswith(("Male", "Female")) for line in every.splitlines()) == 4
    assert max(map(len, report.to_text(width=80).splitlines())) <= 80
