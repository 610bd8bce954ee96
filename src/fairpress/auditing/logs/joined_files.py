"""Predictions of several models in a file each (JSON lines, CSV, Parquet), joined by a key, as a table to audit."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.logs.item_outcomes import recorded_values
from fairpress.auditing.logs.json_lines import JsonLines
from fairpress.auditing.logs.log_options import model_paths
from fairpress.auditing.logs.pairing import ItemLog, check_unpaired, pair_items
from fairpress.auditing.table_metadata import TableDescription
from fairpress.core.errors import UserError, did_you_mean, listed
from fairpress.core.public_function import public_function

if TYPE_CHECKING:
    import pyarrow as pa

JSON_LINES = (".jsonl", ".ndjson")
LABEL, PREDICTION = "label", "prediction"
_HEAD_LINES = 1000


@public_function
def read_pair(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    key: Sequence[str] | str,
    label: str = LABEL,
    prediction: str = PREDICTION,
    correct: str | None = None,
    unpaired: str = "refuse",
) -> pa.Table:
    """Return files of predictions, one per model, as a table for `audit`.

    Columns: the keys, the label, and for each model M the column M with its predictions. Columns that are equal in all files
    are taken once and may be sensitive attributes; one that differs becomes ``M.column`` for each model, for an outcome such
    as ``wer=edits/words``.

    Parameters
    ----------
    models
        Model → its file; the first is the default baseline.
    key
        The column, or columns, that identify a row in every file. Files need not be in the same order.
    label, prediction
        Columns of true and predicted classes, or of numbers.
    correct
        In place of both: the column that says whether an answer was right, as 0 and 1 or false and true.
    unpaired
        Rows that are missing in a file, occur twice, or have another label: ``"refuse"``, or ``"drop"`` with a warning.

    Raises
    ------
    UserError
        A file cannot be read or has no such column, or the rows cannot be paired.
    """
    check_unpaired(unpaired)
    keys = (key,) if isinstance(key, str) else tuple(key)
    if not keys or not all(isinstance(k, str) and k for k in keys):
        raise UserError("`key=` names the column that identifies a row in every file, such as `key='id'`.")
    paths = model_paths(models, "read_pair")
    needed = {*keys, label, prediction, correct}
    logs = [ItemLog(m, _read(path, needed)) for m, path in paths.items()]
    requested = {"the key": keys, "the label": (label,) * (label != LABEL)}
    requested |= {"the predictions": (prediction,) * (prediction != PREDICTION)}
    requested |= {"whether an answer was right": (correct,) if correct is not None else ()}
    for role, names in requested.items():
        for name in names:
            _require(logs, paths, name, role)
    shared = [n for n in logs[0].table.column_names if all(n in log.table.column_names for log in logs)]
    taken = next((n for n in shared if n in paths), None)
    if taken is not None:
        raise UserError(
            f"the files have a column {taken!r}, the name of a model; choose another name for the model."
        )
    logs = _comparable(logs, shared)
    same = {label: "other labels"} if label in shared and correct is None else {}
    paired = pair_items(logs, keys, same, unpaired=unpaired)
    table, notes = _joined(paired.tables, list(paths), keys, shared, label, prediction, correct)
    description = TableDescription(
        tuple(paths),
        label=label,
        sources=paths,
        warnings=paired.warnings,
        notes=tuple(notes),
        classes=("correct", "wrong") if correct else (),
    )
    return table.replace_schema_metadata(dict(description.metadata()))


def _read(path: str, needed: Collection[str | None]) -> pa.Table:
    """Return the plain columns of a file; values of JSON lines as text. A needed column that is not plain is refused."""
    if Path(path).suffix.lower() in JSON_LINES:
        reader = JsonLines([path])
        names: dict[str, bool] = {}
        for line in reader.head(path, _HEAD_LINES):
            for name, value in line.items():
                names[name] = names.get(name, True) and not isinstance(value, (list, dict))
        plain = [name for name, is_scalar in names.items() if is_scalar]
        nested = next((name for name in names if name in needed and name not in plain), None)
        if nested is not None:
            raise UserError(
                f"{path}: {nested!r} holds lists or objects, not plain values; write them as text or numbers."
            )
        if not plain:
            raise UserError(
                f"{path} has no lines with plain values; each line is to be an object, such as "
                '{"id": 1, "label": "yes", "prediction": "no"}.'
            )
        return reader.read(dict.fromkeys(plain, "VARCHAR"), {n: f"k{i}" for i, n in enumerate(plain)})
    return open_source(path).plain_table()


def _require(logs: Sequence[ItemLog], paths: Mapping[str, Any], name: str, role: str) -> None:
    for log in logs:
        if name not in log.table.column_names:
            raise UserError(
                f"{paths[log.model]} has no column {name!r} ({role})."
                + did_you_mean(name, log.table.column_names)
            )


def _comparable(logs: Sequence[ItemLog], shared: Sequence[str]) -> list[ItemLog]:
    """Return the logs with columns of one type each: numbers if all values of all files are, else text."""
    import pyarrow as pa

    tables = [log.table for log in logs]
    for name in shared:
        if len({str(t[name].type) for t in tables}) == 1:
            continue
        columns = [t[name].cast(pa.string()) for t in tables]
        with suppress(pa.ArrowException):
            columns = [c.cast(pa.float64()) for c in columns]
        tables = [
            t.set_column(t.column_names.index(name), name, c) for t, c in zip(tables, columns, strict=True)
        ]
    return [ItemLog(log.model, table) for log, table in zip(logs, tables, strict=True)]


def _joined(
    tables: Sequence[pa.Table],
    models: Sequence[str],
    keys: Sequence[str],
    shared: Sequence[str],
    label: str,
    prediction: str,
    correct: str | None,
) -> tuple[pa.Table, list[str]]:
    """Return the table, and notes on columns that differ between files or are not in all of them."""
    import pyarrow as pa

    first, notes = tables[0], []
    columns: dict[str, Any] = {name: first[name] for name in keys}
    by_model: dict[str, Any] = {}
    if correct is not None:
        values = [t[correct].cast(pa.string()).combine_chunks() for t in tables]
        outcome = recorded_values(models, values, _names(first, keys), correct, higher=True)
        if outcome.right is None:
            raise UserError(
                f"the column {correct!r} holds other values than 0 and 1; say whether each answer was right."
            )
        columns |= outcome.columns
    elif prediction in shared:
        by_model |= {m: t[prediction] for m, t in zip(models, tables, strict=True)}
    differing = []
    for name in shared:
        if name in (*keys, correct, *((prediction,) if by_model else ())):
            continue
        if name in columns:
            continue
        if all(_equal(t[name], first[name]) for t in tables[1:]):
            columns[name] = first[name]
        else:
            differing.append(name)
            by_model |= {f"{m}.{name}": t[name] for m, t in zip(models, tables, strict=True)}
    if differing:
        notes.append(
            f"Columns that differ between the files are kept for each model (M.column): {listed(differing, 6)}."
        )
    single = sorted({n for t in tables for n in t.column_names} - set(shared))
    if single:
        notes.append(f"Columns that not all files have are left out: {listed(single, 6)}.")
    if correct is None and not by_model:
        raise UserError(
            f"the files have no column {prediction!r}, and no other that differs between them; name the column of the "
            "predictions with `prediction=`."
        )
    return pa.table(columns | by_model), notes


def _equal(one: Any, other: Any) -> bool:
    import pyarrow.compute as pc

    if one.equals(other):
        return True
    if "double" not in str(one.type) and "float" not in str(one.type):
        return False
    a, b = (np.asarray(pc.fill_null(c, float("nan")).to_numpy()) for c in (one, other))
    return bool(np.array_equal(a, b, equal_nan=True))


def _names(table: pa.Table, keys: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*(table[k].cast(pa.string()) for k in keys), "/").combine_chunks()
