"""The glossary's words are the only ones: names that docs/glossary.md retires do not come back into the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "fairpress"


def retired() -> set[str]:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    section = text.partition("## Retired as names in code")[2].partition("Say what")[0]
    return set(re.findall(r"`(\w+)`", section))


@cache
def trees() -> dict[Path, ast.Module]:
    return {f: ast.parse(f.read_text(encoding="utf-8")) for f in sorted(SOURCE.rglob("*.py"))}


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module binds: modules, classes, functions, parameters, variables and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node.lineno


def test_names_that_the_glossary_retires_are_not_used():
    words = retired()
    assert len(words) >= 8
    used = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file, tree in trees().items()
        for name, line in [(file.stem, 1), *names(tree)]
        if name.strip("_").lower() in words
    ]
    assert not used, "\n".join(used)


def test_a_public_class_is_defined_once():
    defined: dict[str, list[str]] = {}
    for file, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, []).append(str(file.relative_to(SOURCE)))
    assert {name: files for name, files in defined.items() if len(files) > 1} == {}


def test_modules_of_one_package_have_one_name_each():
    """No module is named like a sub-package next to it: an import would find either."""
    twice = [f for f in SOURCE.rglob("*.py") if f.with_suffix("").is_dir()]
    assert twice == []
