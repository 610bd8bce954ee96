"""The documentation tells the truth: its commands run, its Python runs, its pages build, its links lead somewhere."""

from __future__ import annotations

import csv
import html
import re
import shlex
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

import test_troubleshooting
import test_tutorials
from fairpress import cli
from pages import NOT_RUN, ROOT, blocks, follow, steps

# README.md, docs/study.md and docs/study-file.md are followed in test_readme.py.
STUDIES = ("README.md", "docs/study.md", "docs/study-file.md")
PAGES = (
    "docs/getting-started.md",
    "docs/your-own-data.md",
    "docs/images.md",
    "docs/foreign-models.md",
    "docs/other-formats.md",
    "docs/gate.md",
    "docs/monitoring.md",
    "docs/runtimes.md",
    "docs/phone.md",
    "docs/pruning.md",
    "docs/logs.md",
    "docs/many-classes.md",
    "docs/outcomes.md",
    "docs/verification.md",
    "docs/zero-shot.md",
    "docs/choosing-a-margin.md",
    "docs/faq.md",
    "docs/gallery.md",
    "docs/comparison.md",
    "docs/plug-ins.md",
    "docs/api.md",
    "docs/data-that-cannot-move.md",
    "docs/fair-compression.md",
    "docs/recipes.md",
    "docs/rounding.md",
    "docs/your-own-network.md",
)
MARKDOWN = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^([ ]*)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs_in_its_order(page, tmp_path, data_folder):
    if page in ("docs/runtimes.md", "docs/other-formats.md") and util.find_spec("openvino") is None:
        pytest.skip("the extra openvino is not installed")
    if page == "docs/comparison.md" and util.find_spec("fairlearn") is None:
        pytest.skip("the extra fairlearn is not installed")
    if page == "docs/phone.md" and util.find_spec("executorch") is None:
        pytest.skip("the extra executorch is not installed")
    follow(page, tmp_path)


def test_what_the_readme_shows_of_the_demo_is_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo"])
    assert stop.value.code == 0
    shown = "".join(capsys.readouterr().out.split())
    (excerpt,) = blocks("README.md", "text")
    assert "".join(excerpt.split()) in shown


def test_every_command_of_the_program_is_in_the_reference():
    from fairpress.cli.app import app
    from fairpress.cli.commands import register

    register()

    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    names = [n for n in app if not n.startswith("-")]
    assert names
    assert not [n for n in names if n not in reference]


def test_every_part_of_a_studys_file_on_a_page_is_valid(tmp_path, monkeypatch):
    from ruamel.yaml import YAML

    from fairpress.studies.load import load

    monkeypatch.chdir(tmp_path)
    Path("my-table.yaml").write_text(
        "path: t.csv\nlabel: y\nfeatures: [a]\nsensitive: [gender]\n", encoding="utf-8"
    )
    Path("t.csv").write_text("a,gender,y\n1,f,1\n2,m,0\n", encoding="utf-8")
    parts = [*blocks("docs/study-file.md", "yaml"), *blocks("docs/fair-compression.md", "yaml")]
    assert len(parts) == 8
    for part in parts:
        keys = YAML(typ="safe").load(part)
        study = {"recipes": ["int8", "int4", "prune-80"], "seeds": 1, "audit": {"by": ["sex", "race"]}}
        study |= {} if "datasets" in keys else {"dataset": "compas"}
        study |= {} if "models" in keys else {"model": {"name": "mlp", "widths": [8]}}
        with Path("study.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(study | keys, file)
        _, config = load("study.yaml")
        assert all(key in config.model_fields_set for key in keys)


def test_every_bundled_study_is_in_the_table_of_studies():
    from fairpress.studies.load import bundled_studies

    reported = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert not [name for name in bundled_studies() if f"| `{name}` |" not in reported]


def test_figures_of_research_notes_show_the_rows_of_their_tables():
    spec = util.spec_from_file_location("make_figures", ROOT / "docs" / "make_figures.py")
    assert spec is not None
    assert spec.loader is not None
    maker = util.module_from_spec(spec)
    sys.modules[spec.name] = maker
    spec.loader.exec_module(maker)
    pages = "".join(page.read_text(encoding="utf-8") for page in MARKDOWN)
    for figure in maker.FIGURES:
        assert f"images/{figure.name}.svg" in pages
        picture = html.unescape((ROOT / "docs" / "images" / f"{figure.name}.svg").read_text(encoding="utf-8"))
        points = maker.points(figure)
        assert len(points) >= 6
        for point in points:
            assert str(point["label"]) in picture, f"{figure.name}: run `python docs/make_figures.py`"
            assert point["low"] <= point["value"] <= point["high"]


def test_tables_of_research_notes_are_whole_and_linked():
    pages = "".join(page.read_text(encoding="utf-8") for page in MARKDOWN)
    tables = sorted((ROOT / "docs" / "data").glob("*.csv"))
    assert len(tables) >= 15
    for table in tables:
        assert f"data/{table.name})" in pages, table.name
        with table.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        assert rows
        assert {len(row) for row in rows} == {len(head)}, table.name
        assert len(set(head)) == len(head)


def anchors(page: Path) -> set[str]:
    """Return what a link can name on a page: its headings as a code host and Sphinx spell them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def test_links_between_pages_lead_to_a_page_and_a_heading_on_it():
    for page in MARKDOWN:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target, heading in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", text):
            linked = page.parent / target if target else page
            assert linked.exists(), f"{page.name} links to {target}"
            if heading and linked.suffix == ".md":
                assert heading in anchors(linked), f"{page.name} links to {target}#{heading}"


def test_the_first_page_lists_every_page_once():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\* \[[^]]+\]\(([\w/-]+\.md)\)$", index, re.MULTILINE)
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert sorted(listed) == sorted(pages)


def test_pages_have_no_directives_which_a_code_host_shows_as_code():
    for page in MARKDOWN:
        assert not re.search(r"^```\{|^:::", page.read_text(encoding="utf-8"), re.MULTILINE), page.name


def test_every_page_with_something_to_run_is_followed_by_a_test():
    followed = {*PAGES, *STUDIES, *test_tutorials.PAGES, test_troubleshooting.PAGE}
    for page in MARKDOWN:
        name = str(page.relative_to(ROOT))
        runnable = [kind for kind, _ in steps(name) if kind in ("console", "sh", "python")]
        assert name in followed or not runnable or name == "CONTRIBUTING.md", name


def test_a_block_that_no_test_runs_says_why():
    command = re.compile(
        r"^\s*(?:\$ )?(?:fairpress [a-z]|python |import \w+$|from \S+ import |ray |kubectl |sbatch )",
        re.MULTILINE,
    )
    for page in MARKDOWN:
        text = page.read_text(encoding="utf-8")
        if str(page.relative_to(ROOT)) == test_troubleshooting.PAGE:
            continue
        text = re.sub(rf"{NOT_RUN}\n[ ]*```.*?^[ ]*```$", "", text, flags=re.DOTALL | re.MULTILINE)
        for _, kind, block in FENCE.findall(text):
            if kind in ("console", "sh", "python", "output", "yaml") or page.name == "api-reference.md":
                continue
            assert not command.search(block), f"{page.name}: {kind} without a reason: {block[:80]}"


def shown_commands() -> list[tuple[str, str]]:
    """Return (page, command) of every command of fairpress in a block, run by a test or not."""
    found = []
    for page in MARKDOWN:
        for _, _, block in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                for part in line.strip().removeprefix("$ ").split(" && "):
                    command = re.split(r" [|>#] |\s{2,}#", part.strip())[0]
                    if re.match(r"fairpress [a-z]", command) and "…" not in command:
                        found.append((page.name, command))
    return found


def test_commands_are_quoted_as_every_shell_reads_them():
    single = [(page, c) for page, c in shown_commands() if "'" in c and '"' not in c]
    assert [c for page, c in single if page != "troubleshooting.md"] == []


def test_every_command_on_a_page_has_only_options_that_exist():
    from fairpress.cli.app import app
    from fairpress.cli.commands import register

    register()

    commands = [
        c for c in shown_commands() if c != ("troubleshooting.md", "fairpress audit p.csv fp32 int8 --by sex")
    ]
    assert len(commands) > 250
    for page, command in commands:
        try:
            app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
        except Exception as error:
            pytest.fail(f"{page}: {command}: {error}")


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-q",
            "-b",
            "html",
            "docs",
            str(tmp_path / "html"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_first_table_of_the_compas_page_has_every_recipe_and_the_placebo_of_those_that_fine_tune():
    from fairpress.compression.recipes import parse
    from fairpress.studies.load import load

    _, config = load("compas")
    page = (ROOT / "docs" / "compas.md").read_text(encoding="utf-8")
    table = page.partition("## Who loses, by recipe")[2].partition("The *placebo*")[0]
    rows = {
        line.split("`")[1]: line.strip("|").split("|")
        for line in table.splitlines()
        if line.startswith("| `")
    }
    reported = [r for r in config.recipes if not r.startswith("checkpoint")]
    assert [parse(r) for r in rows] == [parse(r) for r in reported]
    for recipe, cells in rows.items():
        assert len(cells) == 9
        has_placebo = bool(cells[6].strip())
        assert has_placebo == (parse(recipe).placebo() is not None), recipe


def test_pages_whose_studies_were_not_run_again_say_which_rule_made_their_verdicts():
    pages = ("fair-faces", "beyond-naive", "architectures", "quantization-poster")
    for page in pages:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert "the rule before 2026-11-30" in text, page
    assert "statistics.md#the-decision" in (ROOT / "docs" / "beyond-naive.md").read_text(encoding="utf-8")
    assert "## The decision" in (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
