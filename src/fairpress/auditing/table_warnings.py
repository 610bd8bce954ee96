"""Warnings about a whole table: copied rows, people with several rows, a poor baseline, near-duplicate group names.

Each is a sentence to show above all results. All checks are cheap: the first rows, then one pass over single columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.duckdb_source import TableSource, encode
from fairpress.auditing.cells.encoding import MISSING
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.values import near_equal, spelling

SAMPLED_ROWS = 100_000
MAX_ROWS = 5_000_000
"""Tables with more rows are not searched for copied rows."""

_PEOPLE_WORDS = """
person people patient subject customer client user member applicant borrower employee student pupil participant respondent
individual account household defendant offender inmate candidate donor citizen voter cust emp pat speaker driver
policyholder cardholder insured mrn ssn"""
_ID_WORDS = "id identifier uid uuid guid nbr nr no num number key hash pseudonym code token name"
_OTHER_WORDS = """
zip zipcode postal postcode plz city county state country region tract fips ward district lat lon date day week month
year hour minute second time timestamp dob birth born age weight wgt fnlwgt wt score prob probability logit count total
amount income price salary fold split part set group type category class label model seed epoch run batch site
hospital store product item device admission discharge source diag diagnosis icd drug
clinic school branch vendor supplier merchant shop restaurant brand job occupation profession industry sector title
team room office department dept division company organization organisation org employer firm bank court officer teacher
rater interviewer annotator flight route station course question order"""
_COUNTING_WORDS = "num n nr no number count"
_PEOPLE, _IDS, _OTHERS, _COUNTING = (
    frozenset(w.split()) for w in (_PEOPLE_WORDS, _ID_WORDS, _OTHER_WORDS, _COUNTING_WORDS)
)
_STRONG_IDS = frozenset(("id", "identifier", "uid", "uuid", "guid", "pid", "pseudonym"))

_LETTERS_AND_NUMBER = re.compile(r"([A-Za-z]{1,12}[-_ .:]?)0*\d+")
_LONG_CODE = re.compile(r"(?=.*\d)[0-9a-fA-F-]{16,}|[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")


def table_warnings(
    source: TableSource,
    cells: Cells,
    *,
    label: str,
    baseline: str,
    models: Sequence[str],
    by: Sequence[Attribute],
    subject: str | None,
    seed_column: str | None,
    row_id: str,
) -> Iterator[str]:
    """Yield warnings about an audited table; see `audit.audit` for the arguments."""
    yield from _worse_than_constant(source, cells, baseline)
    yield from _equal_groups(cells)
    if source.holds_cells or not source.counts_scores:
        return
    columns = {c for c in source.columns if any(c == m or c.startswith(f"{m}.score") for m in models)}
    attributes = set(names_of(by))
    stacked = yield from _unnamed_columns(source, subject, seed_column, row_id)
    if subject is not None or stacked:
        return
    names, head = source.head(SAMPLED_ROWS)
    sample = {n: head.column(i) for i, n in reversed(list(enumerate(names)))}
    skipped = {label, row_id, seed_column, "subject", *columns, *attributes}
    repeated = yield from _repeated_people(
        source,
        sample,
        [n for n in sample if n not in skipped],
        sorted(attributes & sample.keys()),
        seed_column,
    )
    if not repeated and seed_column is None and head.num_rows:
        yield from _copied_rows(source, sample, label, columns)


def _worse_than_constant(source: TableSource, cells: Cells, baseline: str) -> Iterator[str]:
    """Warn about a baseline that is less accurate than the best constant prediction."""
    total = cells.weight.sum()
    right = cells.weight[cells.correct(baseline)].sum() / total
    shares = np.bincount(cells.label, weights=cells.weight, minlength=len(cells.classes)) / total
    best = int(shares.argmax())
    if right >= shares[best] - 1e-12:
        return
    scored = baseline not in source.columns
    digits = 1 if shares[best] - right > 0.001 else 4
    check = (
        "check `positive=` and the score column"
        if scored
        else "check that its column and the label use the same class names"
    )
    yield (
        f"The baseline {baseline!r} is right in {100 * right:.{digits}f} % of the rows, less often than always "
        f"answering {cells.classes[best]!r} ({100 * shares[best]:.{digits}f} %): {check}."
    )


def _equal_groups(cells: Cells) -> Iterator[str]:
    for name, column in cells.attributes.items():
        for near_duplicates in near_equal(n for n in column.names if n != MISSING):
            rows = [
                f"{n!r} ({cells.rows[column.codes == column.names.index(n)].sum():,.0f} rows)"
                for n in near_duplicates
            ]
            yield (
                f"Groups of {name!r} differ only in capitalization, blanks or a dot: {' and '.join(rows)}. They are "
                "audited as separate groups; spell them the same way if they are one group."
            )


def _unnamed_columns(source: TableSource, subject: str | None, seed_column: str | None, row_id: str) -> Any:
    """Warn about conventional columns (seed, subject, row id) that were not named; return whether rows are repeated."""
    if seed_column is not None:
        return False
    if "seed" in source.columns and source.varies("seed"):
        yield (
            "The column 'seed' has several values. If runs are stacked, each example was counted once per run and the "
            "intervals are too narrow: name the column with `seed_column='seed'`."
        )
        return True
    if subject is None and "subject" in source.columns and source.repeats("subject"):
        yield (
            "The column 'subject' has people with several rows, counted here as different people: intervals are too "
            "narrow unless the column is named with `subject='subject'`."
        )
        return True
    if subject is None and row_id in source.columns and source.repeats(row_id):
        column = source.column(row_id)
        counts = source.read(
            f"SELECT count({column}) AS n, count(DISTINCT {column}) AS d FROM {source.relation}"
        ).to_pylist()[0]
        yield (
            f"The column {row_id!r} has {counts['d']:,} different values in {counts['n']:,} rows: examples that occur "
            "several times count as different people, and intervals are too narrow. Delete the copies, or name the "
            f"column of the runs with `seed_column=`, or audit with `subject={row_id!r}`."
        )
        return True
    return False


@dataclass(frozen=True)
class _ColumnSample:
    """A column of the first rows: its values as text, the code of each row (−1: missing), and how often each occurs."""

    texts: list[str]
    codes: np.ndarray
    counts: np.ndarray


def _sample_column(column: Any) -> _ColumnSample:
    coded = encode(column)
    texts = [spelling(v) for v in coded.values]
    lookup = np.array([-1 if t is None else i for i, t in enumerate(texts)], dtype=np.int64)
    codes = lookup[coded.codes]
    return _ColumnSample(
        [t or "" for t in texts], codes, np.bincount(codes[codes >= 0], minlength=len(texts)).astype(float)
    )


def name_words(name: str) -> list[str]:
    """Return the words of a column's name in lower case: ``patientNbr`` and ``patient_nbr`` have two."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [w for w in re.split(r"[^A-Za-z]+", parted.lower()) if w]


def _is_person_id_name(name: str) -> bool:
    """Return whether a column name suggests the id of a person: patient_nbr, CustomerID, user."""
    words = name_words(name)
    if not words:
        return False
    split = [
        w
        for word in words
        for w in next(
            ([p, word[len(p) :]] for p in _PEOPLE if word.startswith(p) and word[len(p) :] in _IDS), [word]
        )
    ]
    people = [w for w in split if w in _PEOPLE or w.removesuffix("s") in _PEOPLE]
    if split[0] in _COUNTING and split[-1].endswith("s") and split[-1] not in _PEOPLE:
        return False  # such as num_accounts, a count
    return bool(people) and all(w in _IDS or w in people for w in split)


def _repeated_people(
    source: TableSource,
    sample: Mapping[str, Any],
    candidates: Sequence[str],
    attributes: Sequence[str],
    seed_column: str | None,
) -> Any:
    """Warn about a column whose values repeat like ids of people with several rows; return whether there is one."""
    matches = [n for n in candidates if _repeats_like_person_ids(n, sample, attributes, seed_column)]
    if not matches:
        return False
    # Prefer a column named like an id; min keeps the first of equal candidates.
    name = min(matches, key=lambda n: (not _is_person_id_name(n), matches.index(n)))
    column = source.column(name)
    rows = f"count(DISTINCT ({column}, {source.column(seed_column)}))" if seed_column else f"count({column})"
    totals = source.read(
        f"SELECT {rows} AS n, count(DISTINCT {column}) AS d FROM {source.relation}"
    ).to_pylist()[0]
    rows_per_value = totals["n"] / max(totals["d"], 1)
    each = (
        f"{rows_per_value:,.0f} rows each"
        if rows_per_value == round(rows_per_value)
        else f"about {rows_per_value:,.1f} rows each"
    )
    yield (
        f"The column {name!r} repeats ({totals['d']:,} different values, {each}): if they are people, rows of one "
        f"person count here as different people, and intervals are too narrow. Name it with `subject={name!r}`."
    )
    return True


def _repeats_like_person_ids(
    name: str, sample: Mapping[str, Any], attributes: Sequence[str], seed_column: str | None
) -> bool:
    import pyarrow as pa

    kind = sample[name].type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return False
    named = _is_person_id_name(name)
    parts = name_words(name)
    if not named and any(w in _OTHERS or w.removesuffix("s") in _OTHERS for w in parts):
        return False
    column_sample = _sample_column(sample[name])
    if seed_column is not None and seed_column in sample:
        seeds = _sample_column(sample[seed_column]).codes
        pairs = np.unique(np.stack([column_sample.codes, seeds]), axis=1, return_counts=True)[1]
        if (pairs == 1).all():
            return False
    present = column_sample.codes >= 0
    rows, distinct = int(present.sum()), int((column_sample.counts > 0).sum())
    if not distinct or rows < 20 or rows - distinct < 0.01 * rows:
        return False
    texts = [t for t, n in zip(column_sample.texts, column_sample.counts, strict=True) if n]
    if not _no_fractions(texts):
        return False
    if named:
        return distinct > 20 or (any(w in _STRONG_IDS for w in parts) and distinct > 4)
    many_values = distinct >= max(50, 0.01 * rows)
    if not many_values:
        return False
    named_like_id = any(w in _STRONG_IDS or (w.endswith("id") and len(w) <= 4) for w in parts)
    if named_like_id or _look_like_ids(texts):
        return True
    return (
        _whole_numbers(texts)
        and _evenly_spread(column_sample.counts)
        and _fixes_an_attribute(column_sample, sample, attributes)
    )


def _no_fractions(texts: Sequence[str]) -> bool:
    """Return whether no value is a decimal fraction."""
    return not any(re.fullmatch(r"[+-]?\d*\.\d*[1-9]\d*([eE].*)?|[+-]?\d+[eE]-\d+", t) for t in texts[:2000])


def _whole_numbers(texts: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\d+(\.0)?", t) for t in texts)


def _look_like_ids(texts: Sequence[str]) -> bool:
    """Return whether values look like ids: a common prefix and a number (u1029), long hexadecimal codes, or e-mails."""
    matches = [_LETTERS_AND_NUMBER.fullmatch(t) for t in texts]
    prefixes = [m[1] for m in matches if m]
    if prefixes and len(prefixes) >= 0.99 * len(texts):
        max_count = max(prefixes.count(p) for p in set(prefixes[:50]))
        if max_count >= 0.95 * len(texts):
            return True
    return sum(_LONG_CODE.fullmatch(t) is not None for t in texts) >= 0.99 * len(texts)


def _evenly_spread(counts: np.ndarray) -> bool:
    """Return whether values occur more evenly than by chance, like people in a balanced design."""
    observed = counts[counts > 0]
    return bool(observed.mean() >= 2 and observed.var() < 0.3 * observed.mean())


def _fixes_an_attribute(
    column_sample: _ColumnSample, sample: Mapping[str, Any], attributes: Sequence[str]
) -> bool:
    """Return whether some sensitive attribute with several groups is constant within each value."""
    for name in attributes:
        other = _sample_column(sample[name])
        if (other.counts > 0).sum() < 2:
            continue
        pairs = np.unique(np.stack([column_sample.codes, other.codes]), axis=1)
        if pairs.shape[1] <= 1.01 * (column_sample.counts > 0).sum() + (column_sample.codes < 0).any():
            return True
    return not attributes


def _copied_rows(
    source: TableSource, sample: Mapping[str, Any], label: str, scored: set[str]
) -> Iterator[str]:
    """Warn about rows that occur several times, where chance is ruled out."""
    total = source.read(f"SELECT count(*) AS n FROM {source.relation}")["n"][0].as_py()
    if total < 20 or total > MAX_ROWS:
        return
    names = list(sample)
    columns = ", ".join(source.column(n) for n in names)
    multiplicities = source.read(
        f"SELECT n, count(*) AS rows FROM (SELECT hash({columns}) AS h, count(*) AS n FROM {source.relation} "
        "GROUP BY ALL) GROUP BY n ORDER BY n"
    ).to_pylist()
    times, rows = np.array([f["n"] for f in multiplicities]), np.array([f["rows"] for f in multiplicities])
    distinct = int(rows.sum())
    copies = int(total) - distinct
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


def _rare_values_repeat(sample: Mapping[str, Any], excluded: set[str]) -> bool:
    """Return whether copied rows share a value that no other row has, in a column of almost unique values."""
    codes_by_column = {name: _sample_column(column).codes for name, column in sample.items()}
    different, times = np.unique(np.stack(list(codes_by_column.values())), axis=1, return_counts=True)
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
            single[rare].sum() >= max(20, 0.9 * rare.sum())
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
    shares = np.unique(different[other_columns], axis=1, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(shares, weights=multiplicity)
    same = float(((counts / counts.sum()) ** 2).sum())
    expected = unequal * same / max(1 - same, 1e-9)
    return equal > 2 * expected + 4 * math.sqrt(expected + 1)


def _labels_agree(
    source: TableSource, names: Sequence[str], label: str, sample: Mapping[str, Any], scored: set[str]
) -> bool:
    """Return whether rows that agree in all other columns, scores included, always have the same label.

    Copies do. Different people with the same features, and therefore the same scores, do not.
    """
    scores = [n for n in scored if n in sample and ".score" in n]
    if not any(len(_sample_column(sample[n]).texts) >= 50 for n in scores):
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
