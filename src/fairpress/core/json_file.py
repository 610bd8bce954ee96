"""Read JSON from untrusted or damaged files: bounded, strict, with one-sentence errors."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Mapping, Sequence
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any, NoReturn

from fairpress.core.errors import UserError

MAX_BYTES = 64 << 20
SMALL_FILE_BYTES = 1 << 20
MAX_DEPTH = 100
MAX_INTEGER = 2**64
_REMEDY = "write it again with fairpress, or take it from a backup"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _InvalidDocument(ValueError):
    """The problem of a document, to follow "X cannot be read:"."""


def read_json(
    path: Path, description: str, limit: int = MAX_BYTES, *, remedy: str = _REMEDY, finite: bool = True
) -> Any:
    """Return the document of a JSON file: dictionaries, lists, text, numbers, true, false, null.

    Parameters
    ----------
    description
        The expected kind of file, with its article: ``"a model card"``.
    limit
        Maximum number of bytes.
    remedy
        The end of the message about damaged content: what the user can do.
    finite
        Whether NaN, Infinity and numbers beyond the largest float (1e999) are refused; if not, integers beyond 2⁶⁴ are read
        as floats.

    Raises
    ------
    UserError
        The file is absent, not a regular file (FIFOs and devices are not opened), too large, not UTF-8 or not JSON; or it is
        nested too deeply, has a duplicate key or a number that is too large.
    """
    return parse_json(read_regular(path, description, limit), str(path), limit, remedy=remedy, finite=finite)


def read_regular(path: Path, description: str, limit: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes. Raises UserError as `read_json` does."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "device or a pipe"
            raise UserError(f"{path} is a {kind}, not a file; {description} is expected there.")
        if status.st_size > limit:
            raise UserError(_too_large(str(path), limit))
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; {description} is expected there.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}; check the path and its permissions.") from None
    if len(data) > limit:
        raise UserError(_too_large(str(path), limit))
    return data


def parse_json(
    data: bytes | str, source_name: str, limit: int = MAX_BYTES, *, remedy: str = _REMEDY, finite: bool = True
) -> Any:
    """Return the document of JSON text; `source_name` is the subject of error messages.

    The other parameters are those of `read_json`. Raises UserError for anything that is not one JSON document.
    """
    if len(data) > limit:
        raise UserError(_too_large(source_name, limit))
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        document = json.loads(
            text,
            object_pairs_hook=_mapping,
            parse_int=_integer if finite else _integer_or_float,
            parse_float=_finite if finite else float,
            parse_constant=_constant if finite else float,
        )
        _check_depth(document)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except _InvalidDocument as error:
        problem = str(error)
    except JSONDecodeError as error:
        problem = f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    except UnicodeEncodeError:
        problem = "half of a surrogate pair, which is not a character"
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text, at byte {error.start:,}"
    except RecursionError:
        problem = f"nested more than {MAX_DEPTH} levels deep"
    raise UserError(f"{source_name} cannot be read ({problem}); {remedy}.") from None


def _too_large(source_name: str, limit: int) -> str:
    size = f"{limit >> 20:,} MiB" if limit >= 1 << 20 else f"{limit:,} bytes"
    return f"{source_name} has more than {size}, the maximum for such a file; name another one."


def _mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                raise _InvalidDocument(f"the key {name[:80]!r} is there twice")
            names.add(name)
    return mapping


def _integer(text: str) -> int:
    # int() refuses more than 4,300 digits with its own message.
    if len(text) > 21 or abs(int(text)) >= MAX_INTEGER:
        raise _InvalidDocument(f"the number {text[:20]}… is too large")
    return int(text)


def _integer_or_float(text: str) -> int | float:
    """Return an integer; a float if it is too large, such as the 10³⁰ by which tokenizers say that no length is set."""
    return float(text) if len(text) > 21 or abs(int(text)) >= MAX_INTEGER else int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _InvalidDocument(f"the number {text[:20]} is too large")
    return number


def _constant(text: str) -> NoReturn:
    raise _InvalidDocument(f"{text} is not a JSON number")


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        level = [
            part
            for holder in level
            if isinstance(holder, Mapping | list)
            for part in (holder.values() if isinstance(holder, Mapping) else holder)
            if isinstance(part, dict | list)
        ]
    raise _InvalidDocument(f"nested more than {MAX_DEPTH} levels deep")
