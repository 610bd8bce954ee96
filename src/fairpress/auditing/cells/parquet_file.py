"""The columns of a Parquet file: their names as written, and those that DuckDB would misread.

Arrow and pandas store durations, periods and intervals as plain numbers, and what they are in the file's metadata: the
schema of Arrow, a message of FlatBuffers (Apache Arrow, format/Schema.fbs). Reading it takes 60 lines, and pyarrow 170 MB.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fairpress.core.errors import UserError

WILDCARDS = "*?["
ARROW_SCHEMA = b"ARROW:schema"
_DURATION, _DECIMAL = 18, 7
"""`Type` in Schema.fbs."""
_EXTENSION = b"ARROW:extension:name"


@dataclass(frozen=True)
class ParquetSchema:
    """A Parquet file's columns.

    `names` as written. `types`: text that is equal for columns of one type. `misread`: positions of the columns that DuckDB
    would read by their storage type. `metadata`: what the file records.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    misread: tuple[int, ...]
    metadata: dict[bytes, bytes]


def escape_wildcards(path: str) -> str:
    """Escape wildcards for DuckDB: a file named a[1].csv is not a pattern."""
    return "".join(f"[{c}]" if c in WILDCARDS else c for c in path)


def parquet_schema(path: str, connection: Any) -> ParquetSchema:
    """Return the columns of a Parquet file. Raises UserError where it cannot be read."""
    import duckdb

    try:
        nodes = connection.execute(
            "SELECT name, num_children, concat_ws(' ', type, converted_type, logical_type) FROM parquet_schema(?)",
            [escape_wildcards(path)],
        ).fetchall()
        entries = connection.execute(
            "SELECT key, value FROM parquet_kv_metadata(?)", [escape_wildcards(path)]
        ).fetchall()
    except duckdb.Error as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")[:200]
        raise UserError(f"cannot read {path}: {first}. Is it complete, and CSV or Parquet?") from None
    metadata = {bytes(key): bytes(value) for key, value in entries}
    columns = list(_columns(nodes))
    return ParquetSchema(
        tuple(name for name, _ in columns),
        tuple(kind for _, kind in columns),
        misread_columns(metadata.pop(ARROW_SCHEMA, b"")),
        metadata,
    )


def _columns(nodes: list[tuple[str, int | None, str]]) -> Iterator[tuple[str, str]]:
    """Yield the name and type of the columns of a schema, given as its nodes, each before its children."""
    position = 1
    for _ in range(nodes[0][1] or 0):
        first, pending = position, 1
        while pending:
            pending += (nodes[position][1] or 0) - 1
            position += 1
        yield nodes[first][0], " ".join(f"{name} {kind}" for name, _, kind in nodes[first:position])


def misread_columns(encoded: bytes) -> tuple[int, ...]:
    """Return the positions of columns of which DuckDB knows the storage alone, by Arrow's schema in base64.

    These are durations, decimals of more than 38 digits, and pandas' periods and intervals. None without a schema, or if it
    is damaged.
    """
    try:
        message = base64.b64decode(encoded, validate=True)
        start = 8 if message[:4] == b"\xff\xff\xff\xff" else 4
        schema = _Table(message, start + struct.unpack_from("<I", message, start)[0]).table(2)
        fields = [] if schema is None else schema.tables(1)
        return tuple(i for i, field in enumerate(fields) if _misread(field))
    except (struct.error, IndexError, binascii.Error):
        return ()


def _misread(field: _Table) -> bool:
    kind, details = field.byte(2), field.table(3)
    if kind == _DECIMAL and details is not None:
        return details.number(2, 128) == 256
    named = [pair.text(1) for pair in field.tables(6) if pair.text(0) == _EXTENSION]
    return kind == _DURATION or any(b"pandas." in name for name in named)


@dataclass(frozen=True)
class _Table:
    """A table of FlatBuffers: its fields are found by their number through the table of offsets before it."""

    data: bytes
    start: int

    def _field(self, number: int) -> int | None:
        offsets = self.start - self._read("<i", self.start)
        entry = 4 + 2 * number
        if entry >= self._read("<H", offsets):
            return None
        offset = self._read("<H", offsets + entry)
        return self.start + offset if offset else None

    def _read(self, form: str, at: int) -> int:
        if at < 0:
            raise IndexError(at)
        return int(struct.unpack_from(form, self.data, at)[0])

    def _target(self, number: int) -> int | None:
        at = self._field(number)
        return None if at is None else at + self._read("<I", at)

    def byte(self, number: int) -> int:
        at = self._field(number)
        return 0 if at is None else self.data[at]

    def number(self, number: int, default: int) -> int:
        at = self._field(number)
        return default if at is None else self._read("<i", at)

    def text(self, number: int) -> bytes:
        at = self._target(number)
        return b"" if at is None else self.data[at + 4 : at + 4 + self._read("<I", at)]

    def table(self, number: int) -> _Table | None:
        at = self._target(number)
        return None if at is None else _Table(self.data, at)

    def tables(self, number: int) -> list[_Table]:
        at = self._target(number)
        if at is None:
            return []
        size = min(self._read("<I", at), len(self.data) // 4)
        entries = [at + 4 + 4 * i for i in range(size)]
        return [_Table(self.data, entry + self._read("<I", entry)) for entry in entries]
