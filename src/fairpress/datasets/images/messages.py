"""Notes and errors about images that were prepared, left out or refused."""

from __future__ import annotations

from collections.abc import Mapping

from fairpress.core.errors import UserError
from fairpress.datasets.images.decode import PREPARATION

MAX_NAMED = 10


def prepared_note(size: int) -> str:
    """Return how an image becomes what a network reads."""
    return f"Each image is read as {size} × {size} pixels of 8-bit RGB: {PREPARATION}."


def left_out_note(files: Mapping[str, str | None], total: int, reason: str) -> str:
    """Return a note on the files that are left out; each may have its own reason."""
    return f"{len(files):,} of {total:,} images are left out because they {reason}: {_listed(files)}."


def refuse_unreadable(source_name: str, files: Mapping[str, str], total: int, remedy: str) -> None:
    """Raise UserError where there are files that cannot be read, naming them and the remedy."""
    if files:
        if len(files) == total:
            remedy = "and check that the column holds the paths of images"
        raise UserError(
            f"{source_name}: {len(files):,} of {total:,} images cannot be read: {_listed(files)}; "
            f"repair or remove them, {remedy}."
        )


def _listed(files: Mapping[str, str | None]) -> str:
    named = [
        name if reason is None else f"{name} ({reason})" for name, reason in list(files.items())[:MAX_NAMED]
    ]
    return ", ".join(named) + (f" and {len(files) - MAX_NAMED:,} more" if len(files) > MAX_NAMED else "")
