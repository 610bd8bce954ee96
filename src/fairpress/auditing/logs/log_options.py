"""Options that all readers of logs have."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from fairpress.core.errors import UserError, did_you_mean

RESERVED = (
    "item",
    "task",
    "label",
    "language",
    "doc_id",
    "epoch",
    "words",
    "bytes",
    "subject",
    "seed",
    "row_id",
)
"""Columns of the table, and those of which an audit assumes what they are."""


def model_paths(models: Mapping[str, str | os.PathLike[str]], function: str) -> dict[str, str]:
    """Return model → path. Raises UserError where there is none, or a name is taken or not usable in options."""
    if not isinstance(models, Mapping) or not models:
        raise UserError(
            f"name the models and their logs, the baseline first: {function}({{'base': 'out/fp16', 'q4': 'out/q4'}})."
        )
    for name, path in models.items():
        if not isinstance(name, str) or not name.strip() or any(c in name for c in ",=*\n"):
            raise UserError(
                f"{name!r} cannot be the name of a model: choose one without commas, equals signs and asterisks."
            )
        if name in RESERVED:
            raise UserError(
                f"the table has a column {name!r} of its own; choose another name for this model."
            )
        if not isinstance(path, (str, os.PathLike)):
            raise UserError(f"the log of {name!r} is the path of a file or folder, not {path!r}.")
    same = [os.path.realpath(path) for path in models.values()]
    if len(set(same)) < len(same):
        raise UserError("two models have the same log; name the log of each.")
    return {name: os.fspath(path) for name, path in models.items()}


def names_in(given: Sequence[str] | str, valid: Collection[str], option: str) -> tuple[str, ...]:
    """Return names, a single one given as text included. Raises UserError for one that is not valid."""
    names = (given,) if isinstance(given, str) else tuple(given)
    unknown = next((n for n in names if n not in valid), None)
    if unknown is not None:
        raise UserError(f"`{option}=` has no {unknown!r}." + did_you_mean(str(unknown), valid))
    return names
