"""Find a column whose values repeat like the ids of people with several rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.head import Head, no_fractions
from fairpress.auditing.cells.query_result import ResultColumn
from fairpress.auditing.table_checks.column_sample import ColumnSample, sample_column

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

_WHOLE = re.compile(r"\d+(\.0)?")
_LETTERS_AND_NUMBER = re.compile(r"([A-Za-z]{1,12}[-_ .:]?)0*\d+")
_LONG_CODE = re.compile(r"(?=.*\d)[0-9a-fA-F-]{16,}|[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")


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


def repeated_people(
    source: TableSource,
    sample: Head,
    candidates: Sequence[str],
    attributes: Sequence[str],
    seed_column: str | None,
) -> Any:
    """Warn about a column whose values repeat like ids of people with several rows; return whether there is one."""
    candidates = _possible_ids(sample, candidates)
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


def _possible_ids(sample: Head, candidates: Sequence[str]) -> list[str]:
    """Return the columns that `_repeats_like_person_ids` may find, of which it looks at every value.

    DuckDB counts the values of all columns at once. It takes 0 and −0 for one value, which are two here.
    """
    whole, possible = [n for n in candidates if n in sample.whole], []
    if sample.read_few(whole):
        return whole
    for name, (rows, distinct) in sample.distinct(whole).items():
        least = 5 if _is_person_id_name(name) else max(50, 0.01 * rows)
        if rows >= 20 and distinct + 1 >= least and rows - distinct + 1 >= 0.01 * rows:
            possible.append(name)
    return possible


def _repeats_like_person_ids(
    name: str, sample: Mapping[str, ResultColumn], attributes: Sequence[str], seed_column: str | None
) -> bool:
    column = sample[name]
    if column.kind == "BOOLEAN" or column.is_time:
        return False
    named = _is_person_id_name(name)
    parts = name_words(name)
    if not named and any(w in _OTHERS or w.removesuffix("s") in _OTHERS for w in parts):
        return False
    column_sample = sample_column(column)
    if seed_column is not None and seed_column in sample:
        seeds = sample_column(sample[seed_column]).codes
        if (_pair_counts(column_sample.codes, seeds) == 1).all():
            return False
    present = column_sample.codes >= 0
    rows, distinct = int(present.sum()), int((column_sample.counts > 0).sum())
    if not distinct or rows < 20 or rows - distinct < 0.01 * rows:
        return False
    least = 5 if named else max(50, 0.01 * rows)
    if distinct < least:
        return False
    texts = [t for t, n in zip(column_sample.texts, column_sample.counts, strict=True) if n]
    if not no_fractions(texts[:2000]):
        return False
    if named:
        return distinct > 20 or any(w in _STRONG_IDS for w in parts)
    named_like_id = any(w in _STRONG_IDS or (w.endswith("id") and len(w) <= 4) for w in parts)
    if named_like_id or _look_like_ids(texts):
        return True
    return (
        _evenly_spread(column_sample.counts)
        and _whole_numbers(texts)
        and _fixes_an_attribute(column_sample, sample, attributes)
    )


def _whole_numbers(texts: Sequence[str]) -> bool:
    return all(map(_WHOLE.fullmatch, texts))


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
    column_sample: ColumnSample, sample: Mapping[str, ResultColumn], attributes: Sequence[str]
) -> bool:
    """Return whether some sensitive attribute with several groups is constant within each value."""
    for name in attributes:
        other = sample_column(sample[name])
        if (other.counts > 0).sum() < 2:
            continue
        pairs = len(_pair_counts(column_sample.codes, other.codes))
        if pairs <= 1.01 * (column_sample.counts > 0).sum() + (column_sample.codes < 0).any():
            return True
    return not attributes


def _pair_counts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how often each pair of codes, which are −1 or larger, occurs."""
    pairs = (a.astype(np.int64) + 1) * (int(b.max(initial=-1)) + 2) + b + 1
    return np.asarray(np.unique(pairs, return_counts=True)[1])
