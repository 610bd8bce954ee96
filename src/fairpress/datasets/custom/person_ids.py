"""Columns whose values repeat like a person's id, in a table without a `subject`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from fairpress.datasets.custom.table_config import TabularConfig

MIN_VALUES = 20  # different values that a column of ids has at least
MIN_AGREEMENT = 0.98  # share of the values whose rows agree: a few are entered wrongly
LOG_CHANCE = np.log(1e-9)  # of all of them agreeing by chance
_PERSON_WORDS = (
    *(
        "person",
        "people",
        "patient",
        "customer",
        "client",
        "subject",
        "user",
        "member",
        "applicant",
        "borrower",
        "employee",
    ),
    *(
        "student",
        "pupil",
        "participant",
        "respondent",
        "individual",
        "resident",
        "citizen",
        "voter",
        "worker",
        "player",
    ),
    *(
        "household",
        "family",
        "donor",
        "defendant",
        "driver",
        "policyholder",
        "insured",
        "beneficiary",
        "taxpayer",
        "panelist",
    ),
)
_ID_SUFFIXES = (
    "id",
    "ids",
    "nbr",
    "nr",
    "no",
    "num",
    "number",
    "key",
    "code",
    "uuid",
    "guid",
    "hash",
    "name",
    "ref",
    "pseudonym",
)
_ID_NAMES = (
    "id",
    "uid",
    "uuid",
    "guid",
    "ssn",
    "mrn",
    "nhs",
    "email",
    "pid",
    "subjectid",
    "personid",
    "patientid",
    "userid",
)


def looks_like_person_id(name: str) -> bool:
    """Return whether a column's name is that of a person's id: person, patient_nbr, customerID, ssn."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]
    if not words:
        return False
    joined = "".join(words)
    if joined in (*_ID_NAMES, *_PERSON_WORDS) or (words[-1] in _ID_NAMES and len(words) == 1):
        return True
    glued = any(joined == person + number for person in _PERSON_WORDS for number in _ID_SUFFIXES)
    return glued or (any(w in _PERSON_WORDS for w in words) and words[-1] in _ID_SUFFIXES)


def repeats_like_a_person(codes: np.ndarray) -> bool:
    """Return whether values (numbered from 0 [rows]) repeat as the ids of people with several rows do."""
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    return MIN_VALUES <= len(counts) < len(codes) and bool((counts > 1).mean() > 0.01 or counts.max() > 3)


def fixes_groups(codes: np.ndarray, groups: Mapping[str, np.ndarray]) -> bool:
    """Return whether all rows of one value agree in every attribute, which happens by chance next to never.

    Only values with several rows count; an attribute that is nearly constant is not informative.
    """
    counts = np.bincount(codes)
    several = counts > 1
    if several.sum() < MIN_VALUES:
        return False
    telling = False
    for values in groups.values():
        group = np.unique(values, return_inverse=True)[1].reshape(-1)
        shares = np.bincount(group) / len(group)
        pairs = np.unique(np.stack([codes, group]), axis=1)[0]
        agree = np.bincount(pairs, minlength=len(counts))[several] == 1
        if agree.mean() < MIN_AGREEMENT:
            return False
        sizes, often = np.unique(counts[several], return_counts=True)
        by_chance = np.log([(shares**n).sum() for n in sizes.tolist()])
        telling |= float((often * by_chance).sum()) < LOG_CHANCE
    return telling


def undeclared_people(
    table: Any,
    options: TabularConfig,
    keep: np.ndarray,
    groups: Mapping[str, np.ndarray],
    values: Collection[str],
) -> tuple[str, ...]:
    """Return the warning to show above every result if a column looks like ids of people with several rows.

    `values` are columns that are known to hold something else, such as categories or texts.
    """
    taken = {*options.labels, options.split, *options.not_subject, *values}
    taken |= {a.column or n for n, a in options.sensitive.items()}
    candidates = []
    for name, codes in _encoded_columns(table, keep):
        if name in taken or not repeats_like_a_person(codes):
            continue
        if looks_like_person_id(name) or fixes_groups(codes, groups):
            candidates.append((name, len(np.unique(codes))))
    if not candidates:
        return ()
    candidates.sort(key=lambda column: column[1])  # whose rows are most per value comes first
    names = " and ".join(f"{name!r} ({count:,} values)" for name, count in candidates[:3])
    first_name = candidates[0][0]
    return (
        f"No `subject` is given, and the values of {names} repeat in {len(keep):,} rows as a person's id "
        "does: the same person may "
        f"be in training and in test rows, and intervals by row are too narrow. Write `subject: {first_name}`, or "
        f"`not_subject: "
        f"[{', '.join(name for name, _ in candidates[:3])}]` if they are not people.",
    )


def _encoded_columns(table: Any, keep: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the columns of whole numbers or text, each value numbered from 0; those with gaps are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for i, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
            continue
        values = table.column(i).take(pa.array(keep)).combine_chunks()
        if isinstance(values, pa.ChunkedArray) or values.null_count:
            continue
        if (
            not pa.types.is_integer(kind)
            and pc.any(pc.match_substring_regex(values, r"^\s*[+-]?\d*\.\d+")).as_py()
        ):
            continue  # fractions are measurements
        coded = values.dictionary_encode()
        yield name, np.asarray(coded.indices, dtype=np.int64)
