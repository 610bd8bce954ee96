"""The tutorials and the pages on extending are followed from their first line to their last."""

from __future__ import annotations

import pytest

from pages import follow

PAGES = (
    "docs/tutorials/engineer.md",
    "docs/tutorials/reviewer.md",
    "docs/tutorials/researcher.md",
    "docs/tutorials/languages.md",
    "docs/tutorials/word-error-rate.md",
    "docs/tutorials/search.md",
    "docs/your-own-step.md",
)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_tutorial_runs_in_its_order(page, tmp_path, data_folder):
    follow(page, tmp_path)
