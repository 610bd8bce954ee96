"""Pages of the documentation, followed as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
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


def follow(page: str, folder: Path, smaller: Mapping[str, str] | None = None) -> list[str]:
    """Do what a page says, in its order: run its commands, its Python, write its files. Return its commands.

    `smaller` has what is run in the place of a command that takes long.
    """
    ran: list[str] = []
    for kind, block in steps(page):
        if kind == "console":
            for command, expected in commands(block):
                shown = run((smaller or {}).get(command, command), folder)
                ran.append(command)
                for line in expected:
                    assert line in shown, f"{command} does not print {line!r}"
        elif kind == "python":
            done = subprocess.run(
                [sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        elif name := re.match(r"# (\S+\.yaml)\n", block):
            (folder / name[1]).write_text(block, encoding="utf-8")
    assert ran, f"{page} has no command"
    return ran
