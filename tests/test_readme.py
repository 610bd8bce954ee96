"""README's commands run, the study of COMPAS included. A file of its own, so that it runs beside the other pages."""

from __future__ import annotations

import pytest

from pages import follow


@pytest.mark.slow
def test_every_command_of_the_readme_runs_in_its_order(tmp_path, data_folder):
    follow("README.md", tmp_path)
