"""Reports: the verdict comes first, hostile names stay text, the page loads without a single error."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from rich.console import Console

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.reporting import terminal
from fairpress.reporting.group_rows import group_rows
from fairpress.reporting.html import ModelFacts, Section, render

MODELS = {"baseline": "fp32", "compressed": ["int8", "int4"]}
EVIL = '<script>alert("x")</script>[bold red]&'


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, **MODELS)


@pytest.fixture(scope="module")
def page(demo):
    facts = [ModelFacts("fp32", 137_000, 125_000, 1.0), ModelFacts("int8", 44_000, 38_000, 3.11)]
    return render([Section("Demo", demo)], title="Demo", models=facts, banner=demo_data.BANNER)


def test_the_banner_and_the_verdict_come_before_everything_else(page):
    assert (
        page.index("Synthetic data")
        < page.index("int4: harm in error rate")
        < page.index("✖ harm")
        < page.index("<svg")
    )
    assert "no assessed group loses more than 0.8 percentage points" in page.split("<table")[0]
    assert "98 lose a correct answer" in page.split("<table")[0]


def test_the_page_asks_nothing_of_the_network(page):
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "<script" not in page


def test_hostile_names_stay_text():
    table = demo_data.table(rows=1500).to_pandas().rename(columns={"sex": EVIL})
    table[EVIL] = EVIL + table[EVIL]
    found = audit(table, by=[EVIL], **MODELS)
    seen: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)

    html = render([Section(EVIL, found)], title=EVIL, notes=[EVIL])
    Parser().feed(html)
    assert "script" not in seen
    assert "&lt;script&gt;" in html
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in terminal.render(found):
        console.print(part)
    console.file.close()
    assert "[bold red]" in console.export_text()


def test_the_terminal_keeps_within_100_columns(demo):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in terminal.render(demo):
        console.print(part)
    console.file.close()
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert any("int4 against fp32: ✖ harm" in line for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_no_name_is_broken_inside_a_word_and_many_groups_are_counted(width):
    table = demo_data.table(rows=9000).to_pandas()
    names = ["African-American", "Native American", "Caucasian", "Hispanic"]
    table["race"] = [names[i % 4] for i in table.index]
    table["city"] = [f"Northampton {i % 12}" for i in table.index]
    report = audit(table, by=["race", "sex*race", "city"], **MODELS)
    lines = terminal.plain(report, width).splitlines()
    assert max(map(len, lines)) <= width
    words = set(" ".join(lines).replace("-", " ").split())
    assert {"African", "American", "Caucasian", "Hispanic", "Northampton"} <= words
    assert not words & {"Africa", "America", "Hispani", "Caucasia", "Northampto"}
    assert not any("…" in line for line in lines if not line.startswith("…"))
    rows = [group_rows(c) for c in report.comparisons]
    assert all(len(r) >= 4 + 8 + 12 for r in rows)
    open_rows = [sum(x.verdict in ("harm", "loss", "inconclusive") for x in r) for r in rows]
    shown = sum(min(n, terminal.MAX_ROWS) for n in open_rows)
    assert omitted(lines) == sum(map(len, rows)) - shown
    every = terminal.plain(report, width, all_groups=True).splitlines()
    assert omitted(every) == 0
    verdicts = ("✖ harm", "▼ some loss", "? inconclusive", "✔ no harm", "– not assessed", "– pooled")
    assert sum(line.endswith(verdicts) for line in every) == sum(map(len, rows)) + len(rows)


def omitted(lines):
    """Return the number of groups and pools that a text counts as not shown."""
    counts = re.findall(
        r"([\d,]+) (?:group|pool)s?: (?:no harm|harm|some loss|inconclusive|not assessed|judged only)",
        " ".join(lines),
    )
    return sum(int(n.replace(",", "")) for n in counts)


def test_rows_without_a_verdict_come_last_and_without_numbers():
    table = demo_data.table(rows=3000).to_pandas()
    table.loc[:20, "sex"] = "Other"
    report = audit(table, by=["sex"], baseline="fp32", compressed=["int8"])
    lines = terminal.plain(report, all_groups=True).splitlines()
    (last,) = (i for i, line in enumerate(lines) if line.startswith("Other  "))
    assert lines[last].split() == ["Other", "21", "–", "–", "0/0", "–", "not", "assessed"]
    assert last == max(i for i, line in enumerate(lines) if "no harm" in line and "/" in line) + 1


@pytest.mark.slow
def test_headless_chromium_shows_the_page_without_an_error(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    file = tmp_path / "report.html"
    file.write_text(page)
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --enable-logging=stderr"
    command = [
        browser,
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "int4: harm" in done.stdout
    assert "CONSOLE" not in done.stderr
