"""A study's first screen: one row per recipe, against the baseline and against the placebo, with X, Y and whose."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.auditing.result import Pool
from fairpress.reporting.html import Section, render
from fairpress.reporting.recipe_rows import (
    BoundText,
    RecipeRow,
    ShortResult,
    headlines,
    open_errors_sentence,
    recipe_rows,
    short_result,
)

SIZES = {"fp32": 4000.0, "int8": 1000.0, "int4": 500.0}


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, baseline="fp32", compressed=["int8", "int4"])


@pytest.fixture(scope="module")
def placebos():
    """`int4`, compared with `int8` as if that were its placebo."""
    return {"int4": audit(demo_data.table(), by=demo_data.BY, baseline="int8", compressed=["int4"])}


@pytest.fixture(scope="module")
def page(demo, placebos):
    return render([Section("Demo", demo, first=True, placebos=placebos, sizes=SIZES)], title="Demo")


def small_groups(seed=0, rows=2000):
    """Two models that hardly differ in errors; the other one trades false negatives for false positives."""
    rng = np.random.default_rng(seed)
    label = rng.random(rows) < 0.5
    base = label ^ (rng.random(rows) < 0.2)
    traded = base.copy()
    # As many errors as before: a share of the true positives is missed, and as many false positives are corrected.
    missed, corrected = np.flatnonzero(label & base)[:60], np.flatnonzero(~label & base)[:60]
    traded[missed], traded[corrected] = False, False
    return {
        "label": label.astype(int),
        "base": base.astype(int),
        "traded": traded.astype(int),
        "group": rng.choice(["a", "b", "c"], rows, p=[0.7, 0.15, 0.15]),
    }


def test_a_row_has_the_bounds_of_both_comparisons_and_whose_they_are(demo, placebos):
    good, bad = recipe_rows(demo, placebos, SIZES)
    assert (good.recipe, good.placebo) == ("int8", None)
    assert (bad.bytes, bad.times_smaller) == (500.0, 8.0)
    lowest = demo.comparisons[0].bounds[0]
    whose = next(iter(lowest.lower_group.values()), "everybody")
    assert good.baseline.word == "✔ no harm"
    assert good.baseline.lower == BoundText(f"{math.floor(1000 * lowest.lower) / 10}", whose)
    assert (bad.baseline.word, bad.baseline.error, bad.baseline.uneven) == ("✖ harm", "", True)
    for result, comparison in (
        (bad.baseline, demo.comparisons[1]),
        (bad.placebo, placebos["int4"].comparisons[0]),
    ):
        bound, fpr = comparison.bounds[0], comparison.bounds[2]
        upper, other = result.upper
        assert float(upper.points) == pytest.approx(100 * bound.upper, abs=0.1)
        assert float(upper.points) >= 100 * bound.upper
        assert upper.group == other.group == "Female · 65+"
        assert other.points.startswith("FPR ")
        assert float(other.points.removeprefix("FPR ")) >= 100 * fpr.upper
        assert float(result.lower.points) <= 100 * bound.lower
        assert float(result.cleared.removesuffix(" %")) <= 100 * bound.cleared
    assert recipe_rows(demo, {})[1].bytes is None
    assert bad.rank < good.rank


def test_no_harm_names_the_error_in_which_it_is_open():
    table = small_groups()
    report = audit(table, by=["group"], baseline="base", compressed=["traded"], positive=1)
    (comparison,) = report.comparisons
    assert comparison.bounds[0].upper < 0.02  # the error rate has not changed
    result = short_result(comparison)
    assert result.word.endswith(("harm", "some loss"))
    assert result.error == "FNR"
    cleared = replace(comparison, verdict="no_harm")
    text = open_errors_sentence([cleared])
    assert re.search(
        r"1 of them is open above the margin, up to \d+\.\d points \(traded: false negative rate, ", text
    )
    assert open_errors_sentence([comparison]) == ""  # its verdict says so already


def test_a_pool_is_named_by_its_attribute():
    rng = np.random.default_rng(3)
    rows = 2000
    label = rng.random(rows) < 0.5
    group = rng.choice(["a", "b", "c"], rows, p=[0.7, 0.15, 0.15])
    base = label ^ (rng.random(rows) < 0.2)
    worse = base ^ ((group != "a") & (rng.random(rows) < 0.005))
    table = {"label": label.astype(int), "g": group, "x": base.astype(int), "y": worse.astype(int)}
    report = audit(table, by=["g"], baseline="x", compressed=["y"], positive=1)
    assert isinstance(report.comparisons[0].bounds[0].upper_group, Pool)
    assert short_result(report.comparisons[0]).upper[0].group == "g pool"


def test_the_headline_counts_verdicts_against_the_baseline_and_the_placebo(demo, placebos):
    against_baseline, *others = headlines([demo], list(placebos.values()))
    assert against_baseline.text == "2 compressed models compared with fp32: harm: int4; no harm: int8."
    assert (against_baseline.tone, against_baseline.sign) == ("harm", "✖")
    (controlled,) = (h for h in others if "placebo" in h.text)
    assert controlled.text.startswith(
        "Compared with the same fine-tuning without compression (placebo): harm: int4. The largest: int4, sex = Female and "
        "age_group = 65+ (n = 1,314): error rate up by 9.4 [7.7, 11.1] percentage points."
    )
    assert not any("placebo" in h.text for h in headlines([demo], []))
    many = [replace(c, compressed=f"r{i}") for i, c in enumerate([demo.comparisons[0]] * 7)]
    assert headlines([replace(demo, comparisons=tuple(many))], [])[0].text == (
        "7 compressed models compared with fp32: no harm for all 7."
    )
    mixed = (*many, demo.comparisons[1])
    assert "harm: int4; no harm: 7 models" in headlines([replace(demo, comparisons=mixed)], [])[0].text


def test_the_page_has_one_row_per_recipe_with_both_results(page, demo, placebos):
    first = page[page.index('id="glance"') : page.index("</section>", page.index('id="glance"'))]
    assert first.count('<tr role="row"') == 2
    rows = re.findall(r'<tr role="row".*?</tr>', first, re.DOTALL)
    assert "does not fine-tune" in rows[0]
    assert "1.0 KB, 4.0 × smaller" in rows[0]
    both = recipe_rows(demo, placebos, SIZES)[1]
    for result in (both.baseline, both.placebo):
        for bound in (*result.upper, result.lower):
            assert f"{bound.points} ({bound.group})" in rows[1]
    assert "✖ harm" in rows[1]
    assert "Placebo: the same fine-tuning without compression" in first
    plain = render([Section("Demo", demo, first=True, sizes=SIZES)], title="Demo")
    assert "its placebo" not in plain
    assert "1.0 KB, 4.0 × smaller" in plain
    assert 'data-is="what next"' in plain


@pytest.mark.parametrize(
    ("baseline", "placebo", "tone"),
    [
        (("no_harm", 1), None, "no_harm"),
        (("no_harm", 2), None, "inconclusive"),
        (("no_harm", 1), ("no_harm", 1), "no_harm"),
        (("no_harm", 1), ("loss", 1), "inconclusive"),
        (("harm", 1), ("no_harm", 1), "harm"),
    ],
)
def test_a_row_is_green_only_where_nothing_is_open_in_it(baseline, placebo, tone):
    def result(verdict, bounds):
        return ShortResult(verdict, "", "", False, (BoundText("1.0"),) * bounds, None, "100 %")

    row = RecipeRow("r", None, None, result(*baseline), placebo and result(*placebo), (0, 0.0))
    assert row.tone == tone
