"""Errors of a command line in one sentence with the remedy, in the terms of the command line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Collection, Mapping

from cyclopts import App
from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnusedCliTokensError,
)

from fairpress.core.errors import did_you_mean

EXAMPLES: Mapping[str, str] = {
    "--by": "name the sensitive attributes, e.g. --by sex,age_group",
    "--recipe": "name the compression recipe, e.g. --recipe int8",
    "--out": "name the output, e.g. --out models/int8",
    "--data": "name the dataset, e.g. --data adult",
    "TABLE": "give the table of predictions, e.g. predictions.parquet",
}

OPTIONS: Mapping[str, str] = {
    "filter": "--log-filter",
    "max_epochs": "--epochs",
    "metric": "--log-metric",
    "pairs": "--pair",
    "pairs_from": "--pair-from",
    "recipes": "--recipe",
    "scorer": "--log-metric",
    "size": "--image-size",
}
"""Parameters of the Python functions whose option has another name; all others differ in dashes alone."""

FLAGS: Mapping[str, str] = {"`unpaired='drop'`": "--drop-unpaired"}
"""Parameters with a value that are a flag of the command line."""

_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)=([^`]*)`")


def usage_sentence(error: CycloptsError) -> str:
    """Return the message for a command line that cannot be parsed."""
    command = " ".join(error.command_chain or ())
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing(error, command)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return _unexpected(error.unused_tokens, command)
    if isinstance(error, CoercionError) and error.token is not None:
        value, option = error.token.value, error.token.keyword or ""
        point = value.replace(",", ".")
        if error.target_type is float and value.count(",") == 1 and _is_number(point):
            return f"{option} {value}: write a decimal point: {option} {point}.".strip()
        share = value.removesuffix("%").strip()
        if error.target_type is float and value.endswith("%") and _is_number(share):
            return f"{option} {value}: write a share: {option} {float(share) / 100:g}.".strip()
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        from fairpress.cli.app import app

        group: App = app
        for name in error.command_chain or ():
            group = group[name]
        commands = [name for name in group if not name.startswith("-")]
        unknown = " ".join(filter(None, [command, error.unused_tokens[0]]))
        hint = did_you_mean(error.unused_tokens[0], commands)
        return f"there is no command {unknown!r}.{hint} `fairpress --help` lists all commands."
    return str(error)


def in_options(text: str, options: Collection[str]) -> str:
    """Return an error message of the library with the command's options in place of Python's parameters.

    "`by=`" becomes "`--by`", "`compressed=['int8', 'int4']`" becomes "`--compressed int8,int4`", "`force=True`" becomes
    "`--force`"; of a positional argument only the value is left: "`models={'fp32': 'base/'}`" becomes "`fp32=base/`".
    A parameter that is not in `options`, such as the option of a recipe, stays as it is.
    """

    def option(match: re.Match[str]) -> str:
        flag = FLAGS.get(match[0])
        if flag in options:
            return f"`{flag}`"
        name = OPTIONS.get(match[1], f"--{match[1].replace('_', '-')}")
        positional = match[1].upper() in options
        if positional:
            name = match[1].upper()
        elif name not in options:
            return match[0]
        if match[2] in ("", "…", "..."):
            return f"`{name}{' …' if match[2] else ''}`"
        try:
            value = ast.literal_eval(match[2])
        except (ValueError, SyntaxError):
            return match[0]
        if positional:
            return f"`{_argument(value).replace(',', ' ')}`"
        if value is False or value is None:
            negative = f"--no-{name[2:]}"
            return f"`{negative}`" if value is False and negative in options else match[0]
        return f"`{name}`" if value is True else f"`{name} {shlex.quote(_argument(value))}`"

    return _PARAMETER.sub(option, text)


def _argument(value: object) -> str:
    """Return how a command line writes a Python value: lists with commas, mappings as key=value."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_argument(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(_argument(item) for item in value)
    return str(value)


def _missing(error: MissingArgumentError, command: str) -> str:
    assert error.argument is not None
    name = error.keyword or error.argument.name
    hint = EXAMPLES.get(name) or EXAMPLES.get(error.argument.name)
    context = "a value after " if error.keyword is not None else ""
    return f"{command} needs {context}{name}" + (
        f": {hint}." if hint else f"; see `fairpress {command} --help`."
    )


def _unexpected(tokens: list[str], command: str) -> str:
    noun = "arguments" if len(tokens) > 1 else "argument"
    start = f"unexpected {noun} {' '.join(tokens)}"
    if command == "audit":
        return (
            f"{start}; name models with --baseline and --compressed, and separate names by commas without blanks "
            "(--by sex,race), or quote the list."
        )
    return f"{start}; put each value after its option, see `fairpress {command} --help`."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
