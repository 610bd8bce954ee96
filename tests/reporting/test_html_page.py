"""The page of a report: the answer on the first screen, pictures over all models, readable on a phone and without colour."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.reporting import overview_charts as charts
from fairpress.reporting import svg_minify as leaner
from fairpress.reporting import vega_svg
from fairpress.reporting.first_screen import first_screen_rows, headlines
from fairpress.reporting.heat_grid import heat_grid
from fairpress.reporting.html import Section, overview_charts, render
from fairpress.reporting.paper_tables import tables

MODELS = {"baseline": "fp32", "compressed": ["int8", "int4"]}


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, **MODELS)


@pytest.fixture(scope="module")
def page(demo):
    theirs = {"int8": {"accuracy": 0.8912, "groups": {"Female": {"accuracy": 0.8765}}}}
    told = list(tables(demo, {"fp32": 4000, "int8": 1000}, theirs))
    return render(
        [Section("Demo", demo)], title="Demo", tables=[("", told)], source={"source": "Them", "note": ""}
    )


def test_the_first_screen_answers_who_at_most_how_much_how_sure_and_what_next(demo, page):
    worst, best = headlines([demo])
    assert (worst.sign, best.sign) == ("✖", "✔")
    assert worst.text.startswith(
        "int4: harm in error rate. sex = Female and age_group = 65+: up by 9.5 [7.8, 11.3] percentage points, at most 11.0; "
        "of 1,000 of them, 98 lose a correct answer and 3 gain one"
    )
    assert best.text == (
        "int8: no harm in error rate: with 95 % confidence, no assessed group loses more than 0.8 percentage points "
        "(sex = Female and age_group = 40-64)."
    )
    good, bad = first_screen_rows(demo)
    bound = demo.comparisons[1].bounds[0]
    assert bad.word.startswith("✖ harm in error rate: sex = Female and age_group = 65+ and 2 more groups")
    assert (round(bad.lose), round(bad.gain)) == (98, 3)
    assert bad.upper == f"{100 * bound.upper:.1f} (Female · 65+)" == "11.0 (Female · 65+)"
    assert bad.largest == "9.5 [7.8, 11.3] (Female · 65+, n = 1,314)"
    assert bad.lower == f"{int(1000 * bound.lower) / 10} (Female · 65+)"
    assert bad.cleared == f"{100 * bound.cleared:.1f} %"
    assert "false positive rate open up to 12.0 (Female · 65+)" in bad.others
    assert bad.do.startswith("Do not ship")
    assert (good.upper, good.cleared) == ("0.8 (Female · 40-64)", "100 %")
    assert good.do == "Passes at a margin of 2 points in error rate."
    start = page.index("<main")
    assert page.index(worst.text) - start < 400
    assert (
        page.index(best.text)
        < page.index("<dt>Margin</dt><dd>2 points, error rate</dd>")
        < page.index("<figure")
    )
    assert page.index("<dt>Assessed</dt><dd>11 of 11 groups</dd>") < page.index("<table")
    assert page.index("Do not ship") < page.index("<figure")
    for definition in ("percentage points:", "95 % confidence:", "Margin:", "(FNR)", "(FPR)"):
        assert definition in page.split("<figure")[0]


def test_too_few_rows_are_no_all_clear():
    few = demo_data.table(rows=300)
    report = audit(few, by=["sex"], baseline="fp32", compressed=["int8"])
    assert report.comparisons[0].verdict == "not_estimable"
    text = headlines([report])[0].text
    assert text.startswith(
        "int8: not assessed. Too few rows for any verdict by group; not assessed, too few people: sex = "
    )
    (row,) = first_screen_rows(report)
    assert (row.upper, row.cleared) == ("not known", "–")
    alone = audit(few, by=["sex"], baseline="fp32", compressed=[])
    assert headlines([alone])[0].text.startswith("No compressed model is compared")
    assert overview_charts([Section("", alone)]) == []


def test_of_many_models_the_best_and_the_worst_are_summarized(demo):
    counted, worst, best = headlines([demo, demo])
    assert counted.text == "Of the 4 compressed models: 2 harm, 2 no harm."
    assert worst.text.startswith("int4: harm in error rate.")
    assert best.text.startswith("int8: no harm in error rate")


def test_groups_without_a_verdict_are_named_before_the_first_table():
    table = demo_data.table(rows=3000).to_pandas()
    table["city"] = np.where(np.arange(3000) < 200, np.arange(3000) // 50, 9)
    table["city"] = "c" + table.city.astype(str)
    table.loc[:5, "sex"] = "Other"
    report = audit(table, by=["city", "sex"], **MODELS)
    line = headlines([report])[-1].text
    assert line.startswith("Not assessed, too few people: city = c0 (50), city = c1 (50)")
    assert "sex = Other (6)" in line
    page = render([Section("", report)], title="t")
    assert page.index("sex = Other (6)") < page.index("<table")
    assert "<dt>Assessed</dt><dd>3 of 8 groups</dd>" in page
    assert 'class="card no_harm"' not in page


def test_one_recipe_needs_no_heatmap(demo):
    one = audit(demo_data.table(rows=2000), by=["sex"], baseline="fp32", compressed=["int8"])
    assert [c.name for c in overview_charts([Section("", one)])] == ["groups"]
    assert heat_grid([("", one)]) is None
    assert heat_grid([("", demo)]).columns == ("int8", "int4")


def test_a_report_that_would_be_too_large_keeps_verdicts_and_groups_and_says_where_the_rest_is(
    demo, page, monkeypatch
):
    from fairpress.reporting import html

    monkeypatch.setattr(html, "MAX_BYTES", 1000)
    short = html.render([Section("Compressed", demo), Section("Against another", demo)], title="Demo")
    told = 2 * len(demo.comparisons)
    assert short.count("Every group, worst first") == told
    assert short.count("Forest plot: ") == len(demo.comparisons)
    assert "Tests behind the verdicts" in page
    for left_out in ("Tests behind the verdicts", "Change of every rate"):
        assert f"<summary>{left_out}" not in short
    assert "this file is abridged" in short
    assert "this file is abridged" not in page


def test_cells_of_the_heatmap_hold_their_number_and_the_verdicts_sign(demo, page):
    drawn = charts.heatmap([("", demo)])
    assert "+9.5 ✖" in drawn
    assert "age_group = 65+" in drawn
    assert '<td class="harm">+9.5 ✖</td>' in page
    assert '<td class="no_harm">+1.4 ✔</td>' in page
    several = charts.heatmap([("a", demo), ("b", demo)])
    assert several.count("+9.5 ✖") == 2  # the worst group of either, in the metric that decides


def test_layers_are_drawn_by_depth_as_the_cards_tell():
    facts = [{"a": {"2": x, "depth": 2}, "b": {"4": 1.0, "depth": 1}} for x in (0.1, 0.3)]
    found = charts.mean_sensitivity(facts)
    assert found == {"a": pytest.approx(0.2), "b": 1.0}
    assert list(found) == ["b", "a"]  # a card sorts its layers by name
    assert charts.layers({"net": charts.mean_sensitivity(facts)}).startswith("<svg")
    assert charts.mean_sensitivity([]) == {}
    assert charts.layers({}) is None


def test_a_lean_drawing_is_the_same_picture(demo, monkeypatch):
    import vl_convert as vlc
    from PIL import Image

    versions = {}

    def both(svg, label):
        versions["before"], versions["after"] = svg, leaner.minify(svg, label)
        return versions["after"]

    monkeypatch.setattr(vega_svg, "minify", both)
    for audits in ([("", demo)], [("a", demo), ("b", demo)]):
        charts.heatmap(audits)
        before, after = (np.array(Image.open(io.BytesIO(vlc.svg_to_png(v)))) for v in versions.values())
        np.testing.assert_array_equal(before, after)
        assert len(versions["after"]) < 0.75 * len(versions["before"])


def test_papers_numbers_stand_below_ours(demo, page):
    first, *by_group = tables(demo, {"fp32": 4000, "int8": 1000})
    assert first.columns[0] == "accuracy, %"
    assert [name for name, _ in first.rows] == ["fp32", "int8", "int4"]
    assert first.rows[1][1][-1].ours == "1.0 (4.0×)"
    assert first.rows[2][1][-1].ours == "–"
    assert by_group[0].columns == ["Female", "Male"]
    assert "published 89.12" in page
    assert "published 87.65" in page


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.levels, self.tables, self.captions, self.unscoped, self.figures, self.ids = [], 0, 0, 0, [], []
        self.links = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.unscoped += tag == "th" and "scope" not in given
        if tag == "svg":
            self.figures.append((given.get("role"), given.get("aria-label")))
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"].lstrip("#"))


def test_a_screen_reader_finds_its_way(page):
    seen = Outline()
    seen.feed(page)
    assert seen.levels[0] == 1
    assert seen.levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(seen.levels, seen.levels[1:], strict=False))
    assert seen.tables == seen.captions > 5
    assert seen.unscoped == 0
    assert seen.figures
    assert all(role == "img" and label for role, label in seen.figures)
    assert set(seen.links) <= set(seen.ids)
    assert '<html lang="en">' in page


def _chromium():
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    return browser


MEASURE = """<script>addEventListener("load", () => {
  const parts = [...document.querySelectorAll("main > *, section > *")];
  const wide = parts.filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  document.title = "measured " + innerWidth + " " + document.documentElement.scrollWidth + " " + wide.length
    + " " + getComputedStyle(document.querySelector("table.stack thead")).position;
});</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(page, tmp_path, width):
    browser = _chromium()
    file = tmp_path / "page.html"
    name = "finetune(" + "method=penalty,constraint=demographic_parity,by=race," * 3 + "epochs=1)+int8"
    heading = f"<h2>{name} against {name}</h2></main>"  # recipes have no spaces to break lines at
    assert page.count("</main>") == 1
    file.write_text(re.sub(r"<meta http-equiv[^>]*>", MEASURE, page).replace("</main>", heading))
    command = [
        browser,
        *["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"],
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900",
        "--dump-dom",
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    inner, scroll, wide, head = re.search(r"measured (\d+) (\d+) (\d+) (\w+)", done.stdout).groups()
    assert int(scroll) <= int(inner)
    assert int(wide) == 0
    assert head == ("absolute" if int(inner) <= 640 else "static")


def test_paper_has_no_heading_whose_tables_are_left_out(page):
    """Closed details of the class `more` are not printed; a heading right above them must not be printed either."""
    bare = re.findall(r'<h\d(?![^>]*class="screen")[^>]*>([^<]*)</h\d>\s*<details class="more"', page)
    assert bare == []
    assert re.search(r'<h\d class="screen">Rates of every model', page)
