"""Read the groups of a plan: from a file of counts, or from a table of rows, with or without labels and predictions."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairpress.auditing.cells.counting import decisions
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.planning.row_plan import GroupRows
from fairpress.auditing.result import Values
from fairpress.core.attribute import SEPARATOR, parse_attributes
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.json_file import SMALL_FILE_BYTES, read_regular

N, POSITIVES = "n", "positives"
ROWS = "rows"
LONG = ("attribute", "group")
"""Columns of a file with a line for each group of each attribute, in place of a column for each attribute."""
METRICS = ("accuracy", "tpr", "fpr")
MISSING = "(missing)"
MAX_GROUPS = 1000


def groups_of_counts(
    counts: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    flips: float,
    by: Sequence[str] = (),
    metrics: Sequence[str] = ("accuracy",),
) -> list[GroupRows]:
    """Return the groups of a CSV file, or of mappings, with the columns attributes…, ``n`` and, for rates, ``positives``.

    In place of a column for each attribute there may be two, ``attribute`` and ``group``: a line for each group of each
    attribute, such as ``sex,Female,1200`` and ``sex*race,"Female,Black",300``. ``n`` may be called ``rows``.

    Parameters
    ----------
    by
        Attributes and intersections to plan; by default the intersection of all columns, or all attributes with lines of
        their own. Counts of one group are added.

    Raises
    ------
    UserError
        A column is absent, a count is not a whole number, or a group is there twice.
    """
    name = os.fspath(counts) if isinstance(counts, (str, os.PathLike)) else "the counts"
    lines = _read_csv(Path(name)) if isinstance(counts, (str, os.PathLike)) else [dict(c) for c in counts]
    if not lines:
        raise UserError(f"{name} has no groups; write one line for each, such as sex,n and Female,1200.")
    columns = list(lines[0])
    if N not in columns and ROWS in columns:
        lines = [{N if k == ROWS else k: v for k, v in line.items()} for line in lines]
        columns = list(lines[0])
    if N not in columns:
        raise UserError(
            f"{name} has no column 'n' for the rows of each group; its columns are {', '.join(columns)}."
        )
    rates = [m for m in metrics if m != "accuracy"]
    if rates and POSITIVES not in columns:
        raise UserError(
            f"{name} has no column 'positives', which {' and '.join(rates)} need: of each group, the rows with the "
            "positive label."
        )
    names = [c for c in columns if c not in (N, POSITIVES)]
    if set(names) == set(LONG):
        return _groups_of_lines(lines, flips, by, metrics, name)
    if not names:
        raise UserError(
            f"{name} has no column of a sensitive attribute apart from the counts; add one, such as sex."
        )
    attributes = tuple(map(str, parse_attributes(by, names))) if by else ("*".join(names),)
    for part in (p for a in attributes for p in a.split("*")):
        if part not in names:
            raise UserError(
                f"{name} has no column {part!r} (a sensitive attribute)." + did_you_mean(part, names)
            )
    seen: set[tuple[str, ...]] = set()
    sizes: dict[str, dict[tuple[str, ...], list[float]]] = {a: {} for a in attributes}
    for i, line in enumerate(lines, start=1):
        group = tuple(str(line.get(c, "")) or MISSING for c in names)
        if group in seen:
            raise UserError(f"{name}: the group {', '.join(group)} is there twice; add its counts up.")
        seen.add(group)
        n, positives = _sizes(line, f"{name}, group {i}")
        for attribute, totals in sizes.items():
            key = tuple(group[names.index(p)] for p in attribute.split("*"))
            total = totals.setdefault(key, [0.0, 0.0])
            total[0] += n
            total[1] += positives
    return [
        rows
        for attribute, totals in sizes.items()
        for key, (n, positives) in sorted(totals.items())
        for rows in _group_rows(attribute, key, n, positives, flips, metrics)
    ]


def _groups_of_lines(
    lines: Sequence[Mapping[str, Any]], flips: float, by: Sequence[str], metrics: Sequence[str], name: str
) -> list[GroupRows]:
    """Return the groups of lines with an attribute and a group each; those of an attribute stay together."""
    requested = {frozenset(p.split(SEPARATOR)): str(p) for p in by}
    groups: dict[str, dict[tuple[str, ...], tuple[float, float]]] = {}
    for i, line in enumerate(lines, start=1):
        where = f"{name}, group {i}"
        attribute, group = (str(line.get(c) or "").strip() for c in LONG)
        parts = [p.strip() for p in attribute.split(SEPARATOR)]
        values = (
            tuple(v.strip() or MISSING for v in group.split(",")) if len(parts) > 1 else (group or MISSING,)
        )
        if not all(parts):
            raise UserError(
                f"{where}: the column 'attribute' is empty; write its name, such as sex or sex*race."
            )
        if len(values) != len(parts):
            raise UserError(
                f"{where}: {attribute!r} has {len(parts)} attributes, and {group!r} {len(values)} values; write as many, "
                'such as "Female,Black".'
            )
        attribute = SEPARATOR.join(parts)
        if values in groups.setdefault(attribute, {}):
            raise UserError(
                f"{where}: the group {', '.join(values)} of {attribute} is there twice; add its counts up."
            )
        groups[attribute][values] = _sizes(line, where)
    unknown = [
        text for key, text in requested.items() if key not in {frozenset(a.split(SEPARATOR)) for a in groups}
    ]
    if unknown:
        raise UserError(
            f"{name} has no lines of the attribute {unknown[0]!r}; it has {', '.join(groups)}."
            + did_you_mean(unknown[0], list(groups))
        )
    return [
        rows
        for attribute, sizes in groups.items()
        if not requested or frozenset(attribute.split(SEPARATOR)) in requested
        for values, (n, positives) in sizes.items()
        for rows in _group_rows(attribute, values, n, positives, flips, metrics)
    ]


def _group_rows(
    attribute: str, values: Sequence[str], n: float, positives: float, flips: float, metrics: Sequence[str]
) -> Iterator[GroupRows]:
    """Yield the group, with the denominator of each metric."""
    named: Values = dict(zip(attribute.split(SEPARATOR), values, strict=True))
    for metric, denominator in zip(METRICS, (n, positives, n - positives), strict=True):
        if metric in metrics:
            yield GroupRows(attribute, named, n, denominator, metric, flips)


def _sizes(line: Mapping[str, Any], where: str) -> tuple[float, float]:
    """Return the rows and the positives of a line; raises UserError where they are not counts."""
    n = _count(line, N, where)
    positives = _count(line, POSITIVES, where) if POSITIVES in line else 0.0
    if positives > n:
        raise UserError(f"{where}: {positives:,.0f} positives are more than its {n:,.0f} rows.")
    return n, positives


def groups_of_table(
    table: Any,
    by: Sequence[str],
    *,
    flips: float | None = None,
    baseline: str | None = None,
    compressed: str | None = None,
) -> list[GroupRows]:
    """Return the groups of a table of rows; labels are not needed.

    Parameters
    ----------
    table
        Any table that can be audited.
    flips
        Expected share of flips. With the predictions of both models it may be left out: it is then that of all rows,
        where a group has fewer than ten flips of its own, else the group's.
    baseline, compressed
        The models; with both, flips are counted and bound the loss of accuracy.

    Raises
    ------
    UserError
        A column is absent, one model is named without the other, or neither flips nor models are given.
    """
    models = [m for m in (baseline, compressed) if m is not None]
    if len(models) == 1:
        absent = "compressed='int8'" if compressed is None else "baseline='fp32'"
        raise UserError(f"flips are counted between two models; name the other one, such as `{absent}`.")
    if flips is None and not models:
        raise UserError(
            "the flips to expect are unknown; give their share, such as `flips=0.03`, or both models whose predictions "
            "are in the table."
        )
    source = open_source(table)
    attributes = tuple(map(str, parse_attributes(by, source.columns)))
    parts = list(dict.fromkeys(p for a in attributes for p in a.split("*")))
    for part in parts:
        source.require(part, "a sensitive attribute")
    changed = "0"
    if models:
        first, second = (_predicted(source, m) for m in models)
        changed = f"({first} IS DISTINCT FROM {second})::INTEGER"
    selected = ", ".join(
        f"coalesce({source.column(p)}::VARCHAR, '{MISSING}') AS a{i}" for i, p in enumerate(parts)
    )
    counted = source.read(
        f"SELECT {selected}, count(*)::DOUBLE AS n, sum({changed})::DOUBLE AS f FROM {source.relation} "
        "GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    if not counted:
        raise UserError(f"{source.name} has no rows.")
    overall = sum(c["f"] for c in counted) / sum(c["n"] for c in counted)
    groups = []
    for attribute in attributes:
        totals: dict[tuple[str, ...], list[float]] = {}
        for c in counted:
            key = tuple(c[f"a{parts.index(p)}"] for p in attribute.split("*"))
            total = totals.setdefault(key, [0.0, 0.0])
            total[0] += c["n"]
            total[1] += c["f"]
        if len(totals) > MAX_GROUPS:
            raise UserError(
                f"{source.name}: {attribute!r} has {len(totals):,} groups, more than {MAX_GROUPS:,}; plan by an attribute "
                "with fewer."
            )
        for key, (n, flipped) in sorted(totals.items()):
            values: Values = dict(zip(attribute.split("*"), key, strict=True))
            share = flips if flips is not None else flipped / n if flipped >= 10 else overall
            groups.append(
                GroupRows(attribute, values, n, n, "accuracy", share, int(flipped) if models else None)
            )
    return groups


def _predicted(source: Any, model: str) -> str:
    decision = decisions(source, [model], {})[model]
    if decision.among:
        raise UserError(
            f"{model!r} has one score for each class; add a column {model!r} of predicted classes, whose flips are counted."
        )
    source.require(decision.column, f"model {model!r}")
    return source.column(model) if not decision.sign else f"({source.as_number(decision.column)} >= 0.5)"


def _read_csv(path: Path) -> list[dict[str, Any]]:
    data = read_regular(path, "a CSV file of group counts", SMALL_FILE_BYTES)
    try:
        text = data.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header, *lines = [[field.strip() for field in line] for line in reader if any(line)]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text, at byte {error.start:,}; save it as CSV in UTF-8."
        ) from None
    except ValueError:
        raise UserError(
            f"{path} is empty; write one line for each group, such as sex,n and Female,1200."
        ) from None
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as CSV ({error}); separate fields by commas.") from None
    if len(set(header)) < len(header) or not all(header):
        raise UserError(f"{path}: every column needs a distinct name in the first line.")
    for i, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise UserError(
                f"{path}, line {i}: {len(line)} fields where the first line has {len(header)}; separate fields by commas."
            )
    return [dict(zip(header, line, strict=True)) for line in lines]


def _count(line: Mapping[str, Any], column: str, where: str) -> float:
    value = line.get(column)
    try:
        number = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not (number >= 0 and number == math.floor(number) and number < 1e12):
        raise UserError(
            f"{where}: {column} is {value!r}, not a whole number of rows; write it without separators."
        )
    return number
