"""What the options of `fairpress audit` name: columns, models, pairs of a name and a value, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fairpress.cli.app import split_list
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.places import require_file, require_name

MAX_COLUMNS = 20


def columns_of(table: Any) -> str:
    """Return a sentence that lists the columns of a table; empty for an address."""
    columns = _columns(table)
    shown = ", ".join(columns[:MAX_COLUMNS]) + (", …" if len(columns) > MAX_COLUMNS else "")
    return f" Columns in this table: {shown}." if columns else ""


def _columns(table: Any) -> list[str]:
    from fairpress.auditing.cells.ibis_source import is_address
    from fairpress.auditing.cells.open_source import open_source

    return [] if is_address(table) else list(open_source(table).columns)


def require_commas(names: Sequence[str], option: str, noun: str, table: Any) -> None:
    """Raise UserError if several names are separated by blanks or semicolons instead of commas."""
    for name in names:
        parts = name.replace(";", " ").split()
        if len(parts) > 1:
            columns = {c.partition(".score")[0] for c in _columns(table)}
            if name not in columns and any(part in columns for part in parts):
                raise UserError(f"separate {noun} with commas: {option} {','.join(parts)}.")


def assigned(text: str, option: str, form: str) -> tuple[str, str]:
    """Return the name and the value of ``name=value``; raise UserError, which shows `form`, for another text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UserError(f"{option} {text!r}: write {form}.")
    return name.strip(), value.strip()


def models(texts: Sequence[str], option: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return (model, path) of each option; checked before the audit, so that an error leaves nothing written."""
    if not texts:
        return []
    from fairpress.reporting.model_outputs import is_card_file
    from fairpress.runtime.artifact import Artifact

    form = "model=folder, such as int8=int8/" + (", or model=file.md" if option == "--card" else "")
    targets = [assigned(text, option, form) for text in texts]
    for name, target in targets:
        if name not in names:
            raise UserError(f"{option}: the audit has no model {name!r}." + did_you_mean(name, names))
        require_name(target)
        if option == "--card" and is_card_file(target):
            require_file(target)
            continue
        if os.path.isfile(target):
            raise UserError(
                f"{option} {target} is a file; an audit is embedded in a model folder written by `fairpress train`, "
                f"`compress FOLDER` or `study export`. For a single file, write a card next to it: --card {name}=card.md."
            )
        Artifact.load(target)
    return targets


def numbers(name: str, text: str) -> Sequence[float]:
    """Return the edges of ``--bins name=25,45``."""
    try:
        return [float(part) for part in split_list(text)]
    except ValueError:
        raise UserError(f"--bins {name}={text}: write numbers as edges, such as {name}=25,45.") from None
