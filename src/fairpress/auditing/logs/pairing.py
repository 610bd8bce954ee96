"""Pair the items of several models strictly: an item is compared only where every model was given the same one, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.errors import UserError

UNPAIRED = ("refuse", "drop")
_EXAMPLES = 3


@dataclass(frozen=True)
class ItemLog:
    """The items of one model.

    Attributes
    ----------
    model
        The name of the model.
    table
        An Arrow table with one line per item: its keys, what must be the same for all models, and what was measured.
    """

    model: str
    table: Any


@dataclass(frozen=True)
class Paired:
    """The same items of all models, in the order of the first.

    Attributes
    ----------
    tables
        An Arrow table per model; line i of each is the same item.
    warnings
        Sentences on the items that were left out.
    """

    tables: tuple[Any, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Problem:
    """Items that cannot be paired: which, what is wrong, and the columns that differ, if that is the reason."""

    items: np.ndarray
    text: str
    columns: tuple[str, ...] = ()


def check_unpaired(unpaired: str) -> None:
    """Raise UserError for a word that is not in `UNPAIRED`."""
    if unpaired not in UNPAIRED:
        raise UserError(f"`unpaired=` must be {' or '.join(UNPAIRED)}, not {unpaired!r}.")


def pair_items(
    logs: Sequence[ItemLog],
    keys: Sequence[str],
    same: Mapping[str, str],
    *,
    unpaired: str = "refuse",
    remedies: Mapping[str, str] | None = None,
) -> Paired:
    """Return the items that all models were given.

    Parameters
    ----------
    keys
        The columns that identify an item; missing values identify none and are refused.
    same
        Column that must be equal in all models → what it is, in the plural: ``other prompts``.
    unpaired
        ``"refuse"``, or ``"drop"``: leave out what cannot be paired, with a warning.
    remedies
        Column of `same` → what else can be done where nothing but it differs, to end the message: ``, or …``.

    Raises
    ------
    UserError
        An item is missing from a model, occurs twice, or is another one; the message says how many and names the first.
        Also where nothing is left.
    """
    check_unpaired(unpaired)
    for log in logs:
        _require_keys(log, keys)
    items = _Items.of(logs, keys)
    problems = list(_uncounted(logs, items.counts))
    once, rows, total = (items.counts == 1).all(axis=0), items.rows, items.counts.shape[1]
    common = np.flatnonzero(once)
    different = np.zeros(total, dtype=bool)
    for noun in dict.fromkeys(same.values()):
        columns = [column for column, of_column in same.items() if of_column == noun]
        lines = [_differs([log.table[c] for log in logs], rows[:, common]) for c in columns]
        differs = common[np.logical_or.reduce(lines)]
        if len(differs):
            verb = "has" if len(differs) == 1 else "have"
            differing = tuple(c for c, line in zip(columns, lines, strict=True) if line.any())
            problems.append(_Problem(differs, f"{len(differs):,} {verb} {noun}", differing))
            different[differs] = True
    if problems and unpaired == "refuse":
        raise UserError(_refusal(logs, problems, items, remedies or {}))
    paired = np.flatnonzero(once & ~different)
    if not len(paired):
        raise UserError(
            f"{_of(logs)} have no item in common that is the same for all of them: "
            f"{'; '.join(_listed(p, items) for p in problems)}. Are these logs of the same tasks?"
        )
    order = paired[np.argsort(rows[0, paired], kind="stable")]
    tables = tuple(_taken(log.table, rows[i, order]) for i, log in enumerate(logs))
    warnings: tuple[str, ...] = ()
    if problems:
        left_out = total - len(order)
        warnings = (
            f"{left_out:,} of {total:,} items are left out, because they cannot be paired: "
            f"{'; '.join(_listed(p, items) for p in problems)}. If they are not a chance sample, neither is what is left.",
        )
    return Paired(tables, warnings)


def _taken(table: Any, lines: np.ndarray) -> Any:
    """Return lines of a table or column, which is not copied where they are all of them in their order."""
    in_order = len(lines) == len(table) and np.array_equal(lines, np.arange(len(lines)))
    return table if in_order else table.take(lines)


def _require_keys(log: ItemLog, keys: Sequence[str]) -> None:
    for name in keys:
        missing = log.table[name].null_count
        if missing:
            raise UserError(
                f"{log.model}: {missing:,} of {log.table.num_rows:,} lines have no {name}, which identifies the item; "
                "is the log complete, and of this kind?"
            )


@dataclass(frozen=True)
class _Items:
    """All items of all models.

    Attributes
    ----------
    logs, keys
        The logs, and the columns that identify an item.
    counts, rows
        How often each item occurs in each model, and a line of it [models, items].
    first
        A line of each item, counted over all logs [items].
    """

    logs: Sequence[ItemLog]
    keys: Sequence[str]
    counts: np.ndarray
    rows: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, logs: Sequence[ItemLog], keys: Sequence[str]) -> _Items:
        codes = _aligned(logs, keys)
        joined = np.concatenate(codes)
        _, first = np.unique(joined, return_index=True)
        total = len(first)
        counts = np.stack([np.bincount(c, minlength=total) for c in codes])
        rows = np.zeros((len(logs), total), dtype=np.int64)
        for line, code in zip(rows, codes, strict=True):
            line[code] = np.arange(len(code))
        return cls(logs, keys, counts, rows, first)

    def name(self, item: int) -> str:
        """Return the keys of an item."""
        line = int(self.first[item])
        for log in self.logs:
            if line < log.table.num_rows:
                text = "/".join(str(log.table[key][line].as_py()) for key in self.keys)
                return text if len(text) <= 60 else f"{text[:60]}…"
            line -= log.table.num_rows
        raise IndexError(item)


def _aligned(logs: Sequence[ItemLog], keys: Sequence[str]) -> list[np.ndarray]:
    """Return the number of the item of each line of each model."""
    if all(log.table[key].equals(logs[0].table[key]) for log in logs[1:] for key in keys):
        codes = _numbered(logs[:1], keys)
        return codes * len(logs)
    return _numbered(logs, keys)


def _numbered(logs: Sequence[ItemLog], keys: Sequence[str]) -> list[np.ndarray]:
    lengths = [log.table.num_rows for log in logs]
    code = np.zeros(sum(lengths), dtype=np.int64)
    for name in keys:
        column, size = _codes([log.table[name] for log in logs])
        joined = code * size + column
        # Numbers of items stay small: 64 bits would not hold the product of many keys.
        code = np.unique(joined, return_inverse=True)[1].reshape(-1) if joined.size else joined
    return np.split(code, np.cumsum(lengths)[:-1])


def _codes(columns: Sequence[Any]) -> tuple[np.ndarray, int]:
    """Return the values of columns as numbers over all columns, and how many there are."""
    import pyarrow as pa

    joined = pa.chunked_array(
        [chunk for c in columns for chunk in c.cast(pa.string()).chunks], type=pa.string()
    )
    encoded = joined.combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    return codes, max(len(encoded.dictionary), 1)


def _differs(columns: Sequence[Any], rows: np.ndarray) -> np.ndarray:
    """Return for each item whether a column differs between models; two missing values are equal."""
    import pyarrow.compute as pc

    first = _taken(columns[0], rows[0])
    differs = np.zeros(rows.shape[1], dtype=bool)
    for column, line in zip(columns[1:], rows[1:], strict=True):
        other = _taken(column, line)
        if other.equals(first):
            continue
        unequal = pc.fill_null(pc.not_equal(first, other), False)
        one_missing = pc.xor(pc.is_null(first), pc.is_null(other))
        differs |= pc.or_(unequal, one_missing).to_numpy()
    return differs


def _uncounted(logs: Sequence[ItemLog], counts: np.ndarray) -> list[_Problem]:
    """Return the items that a model lacks, or has more than once."""
    problems = []
    for log, count in zip(logs, counts, strict=True):
        for items, what in (
            (np.flatnonzero(count == 0), "missing from"),
            (np.flatnonzero(count > 1), "more than once in"),
        ):
            if len(items):
                verb = "is" if len(items) == 1 else "are"
                problems.append(_Problem(items, f"{len(items):,} {verb} {what} {log.model}"))
    return problems


def _listed(problem: _Problem, items: _Items) -> str:
    shown = ", ".join(items.name(int(i)) for i in problem.items[:_EXAMPLES])
    return f"{problem.text} ({shown}{', …' if len(problem.items) > _EXAMPLES else ''})"


def _of(logs: Sequence[ItemLog]) -> str:
    return " and ".join(log.model for log in logs)


def _refusal(
    logs: Sequence[ItemLog], problems: Sequence[_Problem], items: _Items, remedies: Mapping[str, str]
) -> str:
    differing = {column for p in problems for column in p.columns}
    other = remedies[min(differing)] if differing and differing <= set(remedies) else ""
    described = "; ".join(_listed(p, items) for p in problems)
    return (
        f"{_of(logs)} cannot be paired: of {items.counts.shape[1]:,} items, {described}. Evaluate all models on the same "
        f"items, or leave these out with `unpaired='drop'`{other}."
    )
