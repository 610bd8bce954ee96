"""A command line loads the module of its command alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fairpress.cli.app import app
from fairpress.cli.commands import MODULES, register

COUNT = """
import sys
from fairpress.cli.app import app
from fairpress.cli.commands import MODULES, register
register({arguments!r})
print(*(n for n in app if not n.startswith("-")))
print(len([m for m in set(MODULES.values()) if f"fairpress.cli.{{m}}" in sys.modules]))
"""


def registered(arguments):
    program = COUNT.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names, modules = done.stdout.splitlines()
    return set(names.split()), int(modules)


def test_all_commands_are_those_that_the_modules_register():
    register()
    assert {name for name in app if not name.startswith("-")} == MODULES.keys()


@pytest.mark.parametrize("arguments", [["bench", "--help"], ["compare-audits", "a", "b"], ["doctor"]])
def test_a_command_is_registered_without_the_modules_of_others(arguments):
    names, modules = registered(arguments)
    assert arguments[0] in names
    assert modules == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["audti", "t.csv"], ["--json", "audit"]])
def test_what_is_no_command_has_all_of_them(arguments):
    names, modules = registered(arguments)
    assert names == MODULES.keys()
    assert modules == len(set(MODULES.values()))
