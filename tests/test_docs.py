"""The documentation tells the truth: its commands run, its Python runs, its pages build, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/getting-started.md",
    "docs/your-own-data.md",
    "docs/images.md",
    "docs/foreign-models.md",
    "docs/gate.md",
    "docs/runtimes.md",
    "docs/phone.md",
    "docs/study.md",
)
SET_UP = ("python -m pip", "python -m venv", ". .venv", "pytest")  # what made this environment, and this test


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Return every command of a block with the lines that it must print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if not line.startswith("$ "):
            found[-1][1].append(line)
            continue
        parts = [p.strip() for p in line[2:].split("&&")]
        found += [(p, []) for p in parts if not p.startswith(SET_UP)]
    return found


def steps(page: str) -> list[tuple[str, str]]:
    """Return what a reader does on a page, in its order: (console, python or yaml, the block)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(console|python|yaml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    assert program == "fairpress", command
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [Path(sys.executable).with_name("fairpress"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs_in_its_order(page, tmp_path, data_folder):
    if page == "docs/runtimes.md" and util.find_spec("openvino") is None:
        pytest.skip("the extra openvino is not installed")
    ran = 0
    for kind, block in steps(page):
        if kind == "console":
            for command, expected in commands(block):
                shown = run(command, tmp_path)
                ran += 1
                for line in expected:
                    assert line in shown, f"{command} does not print {line!r}"
        elif kind == "python":
            done = subprocess.run(
                [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        elif name := re.match(r"# (\S+\.yaml)\n", block):
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    assert ran, f"{page} has no command"


def test_what_the_readme_shows_of_the_demo_is_what_it_prints(tmp_path):
    shown = "".join(run("fairpress demo", tmp_path).split())
    (excerpt,) = blocks("README.md", "text")
    assert "".join(excerpt.split()) in shown


def test_every_command_of_the_program_is_in_the_reference():
    from fairpress.cli.program import app

    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    names = [n for n in app if not n.startswith("-")]
    assert names
    assert not [n for n in names if n not in reference]


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
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
