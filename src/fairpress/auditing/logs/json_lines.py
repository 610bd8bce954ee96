"""Read JSON lines with DuckDB; a line that cannot be read is named."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairpress.auditing.cells.relation import WITHOUT_EXTENSIONS
from fairpress.auditing.cells.table_readers import text_literal
from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.core.slow import show_progress

MAX_LINE_BYTES = 64 << 20
_WILDCARDS = "*?["


class JsonLines:
    """Files of JSON lines, each line an object.

    Parameters
    ----------
    paths
        The files. Raises UserError for one that is absent, empty or no regular file.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        import duckdb

        self.paths = list(paths)
        for path in self.paths:
            require_regular(path)
            if not Path(path).is_file():
                raise UserError(f"there is no file {path}.")
            if not Path(path).stat().st_size:
                raise UserError(f"{path} is empty; was the evaluation interrupted?")
        self._connection = duckdb.connect(":memory:", config=WITHOUT_EXTENSIONS)
        self._connection.execute("SET enable_progress_bar = true")
        self._connection.execute("SET enable_progress_bar_print = false")

    def read(self, keys: Mapping[str, str], select: Mapping[str, str]) -> Any:
        """Return expressions over the keys of every line as an Arrow table, with the columns of `select`.

        Parameters
        ----------
        keys
            Key that the expressions name, as ``k0``, ``k1`` … in this order → ``VARCHAR``, the text of any value, or
            ``JSON``. ``file`` is the path of the file.
        select
            Name of a column → expression.

        Raises
        ------
        UserError
            A line is not a JSON object, or has one key twice; the message names the line.
        """
        files = (
            "[" + ", ".join(text_literal(_without_wildcards(os.path.abspath(p))) for p in self.paths) + "]"
        )
        columns = "{" + ", ".join(f"{text_literal(k)}: '{kind}'" for k, kind in keys.items()) + "}"
        named = ", ".join([*(f"k{i}" for i in range(len(keys))), "file"])
        expressions = ", ".join(f"{e} AS c{i}" for i, e in enumerate(select.values()))
        query = (
            f"SELECT {expressions} FROM read_json({files}, format='newline_delimited', columns={columns}, "
            f"maximum_object_size={MAX_LINE_BYTES}, compression='none', filename=true) AS t({named})"
        )
        return self._run(query).rename_columns(list(select))

    def head(self, path: str, lines: int) -> list[dict[str, Any]]:
        """Return the first lines of a file as Python objects; blank lines are left out."""
        objects: list[dict[str, Any]] = []
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if len(objects) == lines:
                    break
                if line.strip():
                    objects.append(_object(line, path, number))
        return objects

    def _run(self, query: str) -> Any:
        import duckdb

        try:
            with show_progress(
                f"reading {len(self.paths):,} files" if len(self.paths) > 1 else f"reading {self.paths[0]}",
                getattr(self._connection, "query_progress", None),
            ):
                return self._connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            for path in self.paths:
                _refuse_first_bad_line(path)
            first = (str(error).splitlines() or ["unknown"])[0][:200]
            raise UserError(f"cannot read {self.paths[0]}: {first}. Is it a file of JSON lines?") from None


def _refuse_first_bad_line(path: str) -> None:
    """Raise UserError for the first line that is not a JSON object."""
    with open(path, "rb") as file, show_progress(f"looking for the error in {path}"):
        for number, line in enumerate(file, start=1):
            if line.strip():
                _object(line, path, number)


def _object(line: bytes, path: str, number: int) -> dict[str, Any]:
    """Return the object of a line. Raises UserError for anything else."""
    where = f"{path}, line {number:,}"
    if len(line) > MAX_LINE_BYTES:
        raise UserError(
            f"{where}: the line has more than {MAX_LINE_BYTES >> 20} MiB; is it a file of JSON lines?"
        )
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        document = json.loads(text, object_pairs_hook=lambda pairs: _mapping(pairs, where))
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8 text; is the file complete, and a log of JSON lines?") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply; is it a log of an evaluation?") from None
    except ValueError:
        raise UserError(f"{where}: not JSON; is the file complete, and one JSON object a line?") from None
    if not isinstance(document, dict):
        raise UserError(
            f"{where}: {type(document).__name__} instead of an object, {{…}}; is it a log of an evaluation?"
        )
    if "\\ud" in text.lower():
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{where}: half of a surrogate pair, which is not a character; correct this line."
            ) from None
    return document


def _mapping(pairs: Sequence[tuple[str, Any]], where: str) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(n for n in names if names.count(n) > 1)
        raise UserError(f"{where}: the key {twice[:80]!r} is there twice; write the log again.")
    return mapping


def _without_wildcards(path: str) -> str:
    """Escape wildcards for DuckDB: a file named a[1].jsonl is not a pattern."""
    return "".join(f"[{c}]" if c in _WILDCARDS else c for c in path)
