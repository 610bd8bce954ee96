"""README's commands run, the study of COMPAS included. A file of its own, so that it runs beside the other pages.

The study takes two of its ten seeds and two folds for five here, 4 of its 50 networks and every part of it; with
FAIRPRESS_WHOLE_STUDY=1, as before a release, it is the command as README has it.
"""

from __future__ import annotations

import os

import pytest

from pages import follow

STUDY = "fairpress study run compas"


@pytest.mark.slow
def test_every_command_of_the_readme_runs_in_its_order(tmp_path, data_folder):
    whole = os.environ.get("FAIRPRESS_WHOLE_STUDY") == "1"
    ran = follow("README.md", tmp_path, {} if whole else {STUDY: f"{STUDY} seeds=2 folds=2"})
    assert STUDY in ran
    assert (tmp_path / "runs/compas/report.html").is_file()
    assert (tmp_path / "runs/compas/figures/prune-80-against-placebo-tpr.svg").is_file()
