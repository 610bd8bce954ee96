"""Every option of every command has a help text that can be read alone."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from fairpress import cli
from pages import ROOT

REFERENCE = (ROOT / "docs" / "cli-reference.md").read_text(
    encoding="utf-8"
)  # written from the code, see test_reference.py
COMMANDS = re.split(r"^## ", REFERENCE, flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("command", COMMANDS, ids=[c.split("\n")[0] for c in COMMANDS])
def test_every_option_has_a_meaning(command):
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in command.splitlines() if line.startswith("| `")]
    empty = [cells[0].strip() for cells in rows if len(cells[-1].strip()) < 10]
    assert not empty
    headless = [
        cells[-1].strip() for cells in rows if re.match(r"(?:Of|As|On|In) [^,]*\.$", cells[-1].strip())
    ]
    assert not headless, "what an option is must not be left to the option above it"


def test_a_help_is_wrapped_once(capsys):
    with pytest.raises(SystemExit):
        cli.main(["gate", "--help"])
    lines = capsys.readouterr().out.splitlines()
    width = next(len(line) for line in lines if line.startswith("╭"))
    first = next(i for i, line in enumerate(lines) if line.startswith("For every compressed model"))
    paragraph = lines[first : lines.index("", first)]
    assert len(paragraph) >= 2
    # Every line but the last is full: the next word would not fit.
    for line, following in pairwise(paragraph):
        assert len(line.rstrip()) + 1 + len(following.split()[0]) > width
