"""Find rows that occur several times, where chance is ruled out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.head import Head
from fairpress.auditing.statistics.distinct_columns import distinct_columns
from fairpress.auditing.table_checks.column_sample import sample_column

MAX_ROWS = 5_000_000
"""Tables with more rows are not searched for copied rows."""
_MIN_SINGLE = 20
"""Values of one different row that a column of almost unique values has, at least."""


def copied_rows(source: TableSource, total: int, sample: Head, label: str, scored: set[str]) -> Iterator[str]:
    """Warn about rows that occur several times, where chance is ruled out; `total` is the number of rows."""
    if total < 20 or total > MAX_ROWS:
        return
    names = list(sample)
    counted = source.counted_rows(names)
    times, rows = _multiplicities(sample.hashes()) if counted is None else _frequencies(counted)
    distinct = int(rows.sum())
    copies = total - distinct
    if not copies:
        return
    common_factor = int(np.gcd.reduce(times))
    # By chance, all counts of d different rows share a factor k with probability of about k^−d.
    if common_factor > 1 and distinct >= 4 and distinct * math.log(common_factor) > math.log(1_000):
        yield (
            f"Every row of the table occurs {common_factor} times"
            f"{'' if (times == common_factor).all() else ' or a multiple of it'}: "
            f"{copies:,} of {total:,} rows are copies, which count as different people, and intervals are too narrow. "
            "Delete the copies, or name the column of people with `subject=`."
        )
        return
    if copies < max(10, 0.01 * total) or label not in sample:
        return
    if _rare_values_repeat(sample, {label, *scored}) or _labels_agree(source, names, label, sample, scored):
        yield (
            f"{copies:,} of {total:,} rows are exact copies of other rows, which count as different people, and "
            "intervals are too narrow. Delete the copies, or name the column of people with `subject=`."
        )


def _multiplicities(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how often values occur, in ascending order, and how many of them occur so often."""
    values = np.sort(values)
    new = values[1:] != values[:-1]
    if new.all():
        return np.array([1]), np.array([len(values)])
    starts = np.flatnonzero(np.concatenate([[True], new]))
    return _frequencies(np.diff(starts, append=len(values)))


def _frequencies(occurrences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of occurrences, in ascending order, and how many values occur so often."""
    counts = np.bincount(occurrences)
    times = np.flatnonzero(counts)
    return times, counts[times]


def _rare_values_repeat(sample: Head, excluded: set[str]) -> bool:
    """Return whether copied rows share a value that no other row has, in a column of almost unique values."""
    # Missing is a value here, and so are 0 and −0, which DuckDB takes for one.
    values = sample.distinct([n for n in sample if n not in excluded])
    if not any(distinct + 2 >= _MIN_SINGLE for _, distinct in values.values()):
        return False
    codes_by_column = {name: sample_column(column).codes for name, column in sample.items()}
    different, _, times = distinct_columns(np.stack(list(codes_by_column.values())))
    rows = int(times.sum())
    for name, codes in zip(codes_by_column, different, strict=True):
        if name in excluded:
            continue
        shared = np.unique(codes, return_inverse=True, return_counts=True)
        occurrences = shared[2][shared[1].reshape(-1)]
        rare = occurrences <= 0.05 * len(codes)  # exclude values of many rows, such as 0
        single = occurrences == 1
        copies = (times[single] - 1).sum()
        if (
            single[rare].sum() >= max(_MIN_SINGLE, 0.9 * rare.sum())
            and copies >= max(10, 0.01 * rows)
            and _more_pairs_than_chance(different, times, list(codes_by_column).index(name), rare)
        ):
            return True
    return False


def _more_pairs_than_chance(
    different: np.ndarray, multiplicity: np.ndarray, column: int, rare: np.ndarray
) -> bool:
    """Return whether there are more pairs of equal rows than expected among rows that share a value of one column.

    Parameters
    ----------
    different, multiplicity
        The distinct rows [columns, rows], and how often each occurs.
    column
        Index of the column of the shared value.
    rare
        Mask of the distinct rows whose value is rare.

    Two people sometimes share an income, and with few labels and groups they may agree in all other columns, too. The
    expected frequency is that of agreement between rows with different incomes; columns that are functions of the income,
    such as its bracket, are left out.
    """
    equal = float((multiplicity[rare] * (multiplicity[rare] - 1) / 2).sum())
    order = np.argsort(different[column][rare], kind="stable")
    sorted_rows = different[:, rare][:, order]
    neighbours = sorted_rows[column, 1:] == sorted_rows[column, :-1]
    weight = (multiplicity[rare][order][1:] * multiplicity[rare][order][:-1])[neighbours]
    unequal = float(weight.sum())
    if not unequal:
        return True
    agree = (sorted_rows[:, 1:] == sorted_rows[:, :-1])[:, neighbours]
    other_columns = [i for i in range(len(different)) if i != column and not agree[i].mean() >= 0.98]
    shares = distinct_columns(different[other_columns]).inverse
    counts = np.bincount(shares, weights=multiplicity)
    same = float(((counts / counts.sum()) ** 2).sum())
    expected = unequal * same / max(1 - same, 1e-9)
    return equal > 2 * expected + 4 * math.sqrt(expected + 1)


def _labels_agree(
    source: TableSource, names: Sequence[str], label: str, sample: Head, scored: set[str]
) -> bool:
    """Return whether rows that agree in all other columns, scores included, always have the same label.

    Copies do. Different people with the same features, and therefore the same scores, do not.
    """
    scores = [n for n in scored if n in sample and ".score" in n]
    if not any(len(sample_column(sample[n]).texts) >= 50 for n in scores):
        return False
    other_columns = ", ".join(source.column(n) for n in names if n != label)
    y = source.column(label)
    result = source.read(
        f"SELECT count(*) AS sets, count(*) FILTER (WHERE low IS NOT DISTINCT FROM high) AS same FROM (SELECT "
        f"min({y}) AS low, max({y}) AS high, count(*) AS n FROM {source.relation} GROUP BY {other_columns} HAVING "
        "count(*) > 1)"
    ).to_pylist()[0]
    # If labels agree by chance in at most 95 % of the sets, 90 sets all agree in one table of a hundred.
    return bool(result["sets"] >= 90 and result["same"] == result["sets"])
