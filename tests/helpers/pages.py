"""Pages of the documentation, followed as a reader would."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOT_RUN = r"<!-- not run: [^>]+ -->\n"
"""The comment above a block that no test runs, with the reason: what the command needs and a test does not have."""

SET_UP = ("python -m pip", "python -m venv", ". .venv", "pytest")  # what made this environment, and this test


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[tuple[str, list[str], int]]:
    """Return every command of a block with the lines that it must print, and its exit code, which `echo $?` tells."""
    result: list[tuple[str, list[str], int]] = []
    reported = False
    for line in block.splitlines():
        if line == "$ echo $?":
            reported = True
        elif reported:
            result[-1] = (*result[-1][:2], int(line))
            reported = False
        elif line.startswith("$ "):
            parts = [p.strip() for p in line[2:].split("&&")]
            result += [(p, [], 0) for p in parts if not p.startswith(SET_UP)]
        else:
            result[-1][1].append(line)
    return result


def steps(page: str) -> list[tuple[str, str]]:
    """Return what a reader does on a page, in its order: (console, sh, python, yaml or output, the block).

    A block of `output` holds lines that the Python above it prints. Blocks that a comment marks as not run are left out.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(rf"{NOT_RUN}\n\s*```.*?^\s*```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^```(console|sh|python|yaml|output)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@cache
def _server() -> subprocess.Popen[str]:
    """Return the process that forks for every command; it ends with its standard input, which is this process's."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("warm.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def perform(folder: Path, what: str, code: int = 0, **requested: Any) -> str:
    """Let a process of its own run `code` or the command's `arguments`; return what it printed on standard output."""
    places = {name: str(folder.with_name(f"{folder.name}.{name}")) for name in ("stdout", "stderr")}
    request = {"folder": str(folder), "environment": {"COLUMNS": "100"}, **places, **requested}
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, "the process that forks for commands has ended"
    printed, complained = (Path(p).read_text(encoding="utf-8") for p in places.values())
    assert answer == f"{code}\n", f"{what}\nexits with {answer}{printed}\n{complained}"
    return printed


def run(command: str, folder: Path, code: int = 0) -> str:
    """Run a command of fairpress as a reader would, who sees it exit with `code`."""
    command, _, file = command.partition(" > ")
    program, *arguments = shlex.split(command)
    assert program == "fairpress", command
    printed = perform(folder, command, code, arguments=arguments)
    if file:
        (folder / file).write_text(printed, encoding="utf-8")
    return printed


def follow(page: str, folder: Path, smaller: Mapping[str, str] | None = None) -> list[str]:
    """Do what a page says, in its order: run its commands, its Python, write its files. Return its commands.

    Blocks of Python with no command between them are one session. `smaller` has what is run in the place of a command
    that takes long.
    """
    ran: list[str] = []
    session, printed = "", ""
    for kind, block in [*steps(page), ("end", "")]:
        if kind == "python":
            session += block
            continue
        if kind == "output":
            printed += block
            continue
        if session and kind != "yaml":
            shown = perform(folder, session, source=session)
            ran.append("python")
            for line in printed.splitlines():
                assert line in shown, f"the Python of {page} does not print {line!r}"
            session, printed = "", ""
        if kind == "sh":
            for line in block.splitlines():
                run(line.partition(" #")[0].strip(), folder)
                ran.append(line)
        if kind == "console":
            for command, expected, code in commands(block):
                shown = run((smaller or {}).get(command, command), folder, code)
                ran.append(command)
                for line in expected:
                    assert line in shown, f"{command} does not print {line!r}"
        elif name := re.match(r"# (\S+\.yaml)\n", block):
            (folder / name[1]).write_text(block, encoding="utf-8")
    assert ran, f"{page} has no command"
    return ran
