"""README's commands run, the study of COMPAS included, then those of docs/study.md and docs/study-file.md.

The store has their networks by then.

The study takes two of its ten seeds and two folds for five here, 4 of its 50 networks and every part of it; with
FAIRPRESS_WHOLE_STUDY=1, as before a release, it is the command as README has it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pages import follow

STUDY = "fairpress study run compas"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The folder of a reader who goes on from README to the page on studies."""
    return tmp_path_factory.mktemp("reader")


@pytest.mark.slow
def test_every_command_of_the_readme_runs_in_its_order(folder, data_folder):
    whole = os.environ.get("FAIRPRESS_WHOLE_STUDY") == "1"
    ran = follow("README.md", folder, {} if whole else {STUDY: f"{STUDY} seeds=2 folds=2"})
    assert STUDY in ran
    assert (folder / "runs/compas/report.html").is_file()
    assert (folder / "runs/compas/figures/prune-80-against-placebo-tpr.svg").is_file()


@pytest.mark.slow
def test_every_command_of_the_pages_on_studies_runs_in_its_order(folder, data_folder):
    follow("docs/study.md", folder)
    follow("docs/study-file.md", folder)
