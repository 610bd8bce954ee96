"""Write docs/cli-reference.md and docs/api-reference.md from the code: `python docs/make_reference.py`.

A test compares both with what this program would write.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

DOCS = Path(__file__).parent
NOTE = "<!-- Written by `python docs/make_reference.py`; change the code's docstrings instead. -->"
SECTIONS = (
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "Notes",
    "Examples",
    "References",
)


FURTHER = (
    "auditing.result",
    "auditing.worst_group: WorstGroup",
    "auditing.biometrics.operating_threshold: OperatingThreshold",
    "auditing.monitoring.compare_audits: compare_audits AuditsCompared GroupOverReleases ReleaseGroup",
    "auditing.monitoring.evidence: MonitoredRelease MonitoredGroup",
    "auditing.monitoring.ledger: Ledger Terms Use GroupCount",
    "auditing.monitoring.record: record",
    "auditing.planning.row_plan: RowPlan PlannedGroup GroupRows",
    "auditing.verdicts.policy: read_policy",
    "core.errors",
    "core.estimate",
    "integrations.held_out_verdict: HeldOutVerdict",
    "integrations.lightning: guard_callback",
    "integrations.mlflow: metric",
    "integrations.nncf: validation_fn",
    "integrations.neural_compressor: eval_fn",
    "integrations.olive: evaluate_func",
    "integrations.transformers: compute_metrics",
    "reporting.comparison_table: ComparisonTable",
    "runtime.benchmark.measure: Measurement",
    "runtime.benchmark.result",
    "runtime.model_reference: open_model data_of",
    "searching.limits: Limits",
    "searching.result: SearchResult SearchTrace",
)
"""What functions of `fp` return or take, and the plug-ins: a module, and its names or all its classes."""


def clean(text: str) -> str:
    """Return a text of reStructuredText's inline marks as Markdown."""
    text = re.sub(r"``([^`]*)``", r"`\1`", text)
    return re.sub(r":\w+:`~?([^`<]*?)`", r"`\1`", text)


def escaped(text: str) -> str:
    """Return a text whose asterisks, bars and angle brackets outside code are not Markdown."""
    parts = re.split(r"(`[^`\n]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*|<>_])", r"\\\1", p) for p in parts)


def sections(docstring: str | None) -> dict[str, str]:
    """Split a docstring in NumPy's style: "" has the text before the first section."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    result, current = {"": []}, ""
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line in SECTIONS and set(below) == {"-"}:
            current = line
            result[current] = []
        elif not (set(line) == {"-"} and number and lines[number - 1] == current):
            result[current].append(line)
    return {name: "\n".join(text).strip() for name, text in result.items()}


def entries(section: str) -> list[tuple[str, str]]:
    """Return the names of a section and their descriptions, each one paragraph."""
    result: list[tuple[str, list[str]]] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            result.append((line, []))
        elif result:
            result[-1][1].append(line.strip())
    return [(name, " ".join(" ".join(text).split())) for name, text in result]


def paragraphs(text: str) -> str:
    """Return a text with each paragraph on a line, examples (indented or after >>>) as code."""
    blocks = []
    for block in re.split(r"\n\s*\n", clean(text)):
        if block.startswith((">>>", "    ")):
            blocks.append(f"```text\n{inspect.cleandoc(block)}\n```")
        elif block.startswith(("* ", "- ")):
            blocks.append(escaped_list(block))
        elif block.strip():
            line = " ".join(block.split())
            blocks.append(escaped(re.sub(r"^(\w+: |)(fairpress [^`]+)$", r"\1`\2`", line)))
    return "\n\n".join(blocks)


def escaped_list(block: str) -> str:
    items = re.split(r"^[*-] ", block, flags=re.MULTILINE)
    return "\n".join(f"* {escaped(' '.join(item.split()))}" for item in items if item.strip())


# The command line


def value_of(hint: Any) -> str:
    """Return what a value of an option is: its choices, or its kind."""
    if get_origin(hint) is Literal:
        return "\\|".join(f"`{choice}`" for choice in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "\\|".join(f"`{choice.value}`" for choice in hint)
    for part in get_args(hint):
        if part not in (type(None), Ellipsis) and (text := value_of(part)):
            return text
    return {int: "whole number", float: "number", Path: "path", str: "text"}.get(hint, "")


def option_row(argument: Any) -> str:
    default = argument.field_info.default
    is_flag = argument.hint is bool
    names = [name for name in argument.names if is_flag or not name.startswith("--no-")]
    shown = ""
    if argument.required:
        shown = "required"
    elif default not in (None, "", (), inspect.Parameter.empty, False, True):
        shown = f"`{default}`"
    elif is_flag and default is True:
        shown = "on"
    # Text of an option may have several names of columns: asterisks are not emphasis.
    text = escaped(" ".join(clean(argument.parameter.help or "").split()))
    return f"| {', '.join(f'`{n}`' for n in names)} | {'' if is_flag else value_of(argument.hint)} | {shown} | {text} |"


def commands(app: Any, prefix: str = "fairpress") -> Iterator[tuple[str, Any]]:
    for name in sorted(n for n in app if not n.startswith("-")):
        below = app[name]
        if below.default_command is not None:
            yield f"{prefix} {name}", below
        yield from commands(below, f"{prefix} {name}")


def cli_page() -> str:
    from fairpress.cli.app import app
    from fairpress.cli.commands import register

    register()

    out = [
        NOTE,
        "# Command-line reference",
        "Every command with every option, from the code. [Commands](cli.md) says what they have in common, [exit "
        "codes](gate.md#exit-codes) what a script reads.",
    ]
    for name, command in commands(app):
        described = sections(command.default_command.__doc__)
        out += [f"## {name}", paragraphs(described[""])]
        collection = command.assemble_argument_collection(parse_docstring=True)
        arguments = [a for a in collection if a.names != ("*",)]  # "*": options that one class holds
        if arguments:
            rows = [option_row(argument) for argument in arguments]
            out.append("\n".join(["| option | value | default | meaning |", "|---|---|---|---|", *rows]))
    return "\n\n".join(out) + "\n"


# Python


def signature(name: str, function: Any) -> str:
    parameters = list(inspect.signature(function).parameters.values())
    shown = [p for p in parameters if p.name not in ("self", "cls")]
    text, star = [], False
    for parameter in shown:
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            text.append("*")
            star = True
        annotation = parameter.annotation
        hint = "" if annotation is parameter.empty else f": {str(annotation).strip(chr(39))}"
        value = parameter.default
        shown_value = value.__name__ if inspect.isroutine(value) else repr(value)
        default = "" if value is parameter.empty else f" = {shown_value}"
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text.append(f"{prefix}{parameter.name}{hint}{default}")
    joined = ", ".join(text)
    if len(joined) + len(name) > 88:
        joined = "\n" + "".join(f"    {part},\n" for part in text)
    return f"```text\n{name}({joined})\n```"


def described(docstring: str | None) -> list[str]:
    parts = sections(docstring)
    out = [paragraphs(parts.pop(""))]
    for title, text in parts.items():
        if title in ("Notes", "Examples", "References"):
            out += [f"**{title}**", paragraphs(text)]
        else:
            items = [
                f"* `{name.strip('`')}`" + (f": {escaped(clean(meaning))}" if meaning else "")
                for name, meaning in entries(text)
            ]
            out += [f"**{title}**", "\n".join(items)]
    return [part for part in out if part]


def members(kind: type) -> Iterator[tuple[str, str]]:
    """Return the public fields, properties and methods that a class documents, with the first sentence on each."""
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if (
            name.startswith("_")
            or not callable(function)
            or isinstance(function, type)
            or not function.__doc__
        ):
            continue
        first = " ".join(inspect.cleandoc(function.__doc__).split("\n\n")[0].split())
        if isinstance(member, property):
            yield f"`{name}`", first
        else:
            names = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
            yield f"`{name}({', '.join(names)})`", first


def reference_entry(name: str, member: Any) -> list[str]:
    """Return the paragraphs on a function or class: its signature, its docstring, and what a class has."""
    if not inspect.isclass(member):
        return [signature(name, member), *described(member.__doc__)]
    plain = not issubclass(member, Exception) and not dataclasses.is_dataclass(member)
    out = [signature(name.rpartition(".")[2], member.__init__)] if plain else []
    out += described(member.__doc__)
    rows = [f"| {code} | {escaped(clean(first))} |" for code, first in members(member)]
    if rows:
        out.append("\n".join(["| member | |", "|---|---|", *rows]))
    return out


def further() -> Iterator[tuple[str, Any]]:
    """Return the full names and the objects of `FURTHER`, in its order."""
    for line in FURTHER:
        place, _, listed = line.partition(":")
        module = importlib.import_module(f"fairpress.{place}")
        classes = [
            n for n, m in vars(module).items() if inspect.isclass(m) and m.__module__ == module.__name__
        ]
        for name in listed.split() or [n for n in classes if not n.startswith("_")]:
            yield f"fairpress.{place}.{name}", getattr(module, name)


def api_page() -> str:
    import fairpress

    out = [
        NOTE,
        "# Python reference",
        "What `import fairpress as fp` offers, from the code's docstrings, then [the results and "
        "plug-ins](#results-and-plug-ins). [Python](api.md) begins with an example.",
    ]
    for name in sorted((n for n in fairpress.__all__ if not n.startswith("_")), key=str.lower):
        out += [f"## fp.{name}", *reference_entry(f"fp.{name}", getattr(fairpress, name))]
    out.append("## Results and plug-ins")
    for name, member in further():
        out += [f"### {name}", *reference_entry(name, member)]
    return "\n\n".join(out) + "\n"


def pages() -> dict[Path, str]:
    return {DOCS / "cli-reference.md": cli_page(), DOCS / "api-reference.md": api_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
