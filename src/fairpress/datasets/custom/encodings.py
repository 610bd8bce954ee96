"""Files that are not UTF-8: where, and how to convert them."""

from __future__ import annotations

from pathlib import Path

from fairpress.core.errors import UserError


def not_utf8(path: Path) -> UserError:
    """Return the error for a text file that is not UTF-8: the first such line, and the command that converts it."""
    number = line_that_is_not_utf8(path.read_bytes())
    where = "" if number is None else f", line {number:,}"
    return UserError(
        f"{path} is not UTF-8 text{where}; save it as UTF-8, such as by `iconv -f WINDOWS-1252 -t UTF-8 {path.name} > "
        f"utf8-{path.name}` if it comes from Windows."
    )


def line_that_is_not_utf8(content: bytes) -> int | None:
    """Return the number of the first line that is not UTF-8, from 1; None if all are."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return content[: error.start].count(b"\n") + 1
    return None
