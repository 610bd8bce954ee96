"""What is wrong with a command line, in one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Mapping

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnusedCliTokensError,
)

EXAMPLES: Mapping[str, str] = {
    "--by": "name the sensitive attributes, e.g. --by sex,age_group",
    "--recipe": "name what to do with the network, e.g. --recipe int8",
    "--out": "name where the result goes, e.g. --out models/int8",
    "--data": "name the dataset, e.g. --data adult",
    "TABLE": "give the table of predictions, e.g. predictions.parquet",
}


def usage_sentence(error: CycloptsError) -> str:
    """Return what a command line lacks, or has too much of."""
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
    text = str(error)
    return text.replace("...", "…") if isinstance(error, UnknownCommandError) else text


def _missing(error: MissingArgumentError, command: str) -> str:
    assert error.argument is not None
    name = error.keyword or error.argument.name
    hint = EXAMPLES.get(name) or EXAMPLES.get(error.argument.name)
    what = "a value after " if error.keyword is not None else ""
    return f"{command} needs {what}{name}" + (
        f": {hint}." if hint else f"; see `fairpress {command} --help`."
    )


def _unexpected(tokens: list[str], command: str) -> str:
    several = "arguments" if len(tokens) > 1 else "argument"
    start = f"unexpected {several} {' '.join(tokens)}"
    if command == "audit":
        return (
            f"{start}; models are named with --baseline and --compressed, and a list has commas and no blanks "
            "(--by sex,race), or stands in quotes."
        )
    return f"{start}; values follow the name of their option, see `fairpress {command} --help`."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
