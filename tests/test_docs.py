"""The documentation tells the truth: its commands run, its Python runs, its pages build, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import util

import pytest

from fairpress import cli
from pages import ROOT, blocks, follow

# docs/study.md is followed in test_readme.py.
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
)


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

    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    names = [n for n in app if not n.startswith("-")]
    assert names
    assert not [n for n in names if n not in reference]


def test_every_bundled_study_is_in_the_table_of_studies():
    from fairpress.studies.load import bundled_studies

    reported = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    assert not [name for name in bundled_studies() if f"| `{name}` |" not in reported]


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
    pages = ("fair-faces", "beyond-naive", "architectures", "quantization-poster", "fair-search")
    for page in pages:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert "the rule before 2026-11-30" in text, page
    assert "statistics.md#the-decision" in (ROOT / "docs" / "beyond-naive.md").read_text(encoding="utf-8")
    assert "## The decision" in (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
