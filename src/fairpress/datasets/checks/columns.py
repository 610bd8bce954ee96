"""Columns of a table that mislead: ids among the inputs, codes, placeholders, names that are nearly equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np

from fairpress.core.values import near_equal
from fairpress.datasets.checks.warning import DatasetWarning
from fairpress.datasets.custom.messages import is_placeholder, similar_names_note
from fairpress.datasets.custom.person_ids import fixes_groups, looks_like_person_id, repeats_like_a_person
from fairpress.datasets.dataset import Dataset

MIN_ROWS = 50  # below this, every column may be unique by chance
MAX_CODES = 20
SENTINELS = (-9, -99, -999, -9999, -99999, -1, 99, 999, 9999, 99999)
_CODE = re.compile(
    r"(^|[^a-z])(id|code|zip|zipcode|postcode|postal|plz|fips|icd\d*|naics|sic|isco|type|category|cat|class|kind|region|district"
    r"|county|state|branch|department|dept|sector|industry|occupation|race|ethnicity|religion)s?([^a-z]|$)"
)


def check_columns(data: Dataset) -> Iterator[DatasetWarning]:
    """Yield the warnings, gravest first."""
    ids = [w for name, values in data.features.items() for w in _ids(data, name, values, _whole(values))]
    yield from ids
    for name, values in data.features.items():
        yield from _placeholders(data, name, values, "column")
        if name in {w.column for w in ids}:
            continue
        if values.dtype.kind == "f":
            yield from _codes(name, values)
        else:
            yield from _similar_names(name, np.unique(values), "values")
    for name, groups in data.attributes.items():
        yield from _placeholders(data, name, groups, "attribute")
        yield from _similar_names(name, np.unique(groups), "groups")
    for name in data.task.classes:
        if is_placeholder(name):
            rows = int((data.labels == data.task.classes.index(name)).sum())
            yield _placeholder(data, data.task.target, "label", name, rows)


def _whole(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool((values == np.floor(values)).all())


def _ids(data: Dataset, name: str, values: np.ndarray, whole: bool) -> Iterator[DatasetWarning]:
    """A column that identifies rows or people: a network that reads it can memorize them."""
    if not whole or len(values) < MIN_ROWS:
        return
    _, codes = np.unique(values, return_inverse=True)
    codes = codes.reshape(-1)
    different = int(codes.max()) + 1
    remedy = f"leave {name!r} out of the inputs"
    if different > 0.99 * len(values):
        yield DatasetWarning(
            "unique_ids",
            name,
            different,
            f"the input {name!r} has a different value in nearly every row ({different:,} in {len(values):,} rows), as "
            f"the id of a row has; {remedy}, unless it is a quantity.",
        )
        return
    people, person = np.unique(data.subjects, return_inverse=True)
    if len(people) < len(data):
        pairs = np.unique(np.stack([person.reshape(-1), codes]), axis=1).shape[1]
        if pairs == len(people) and different > 0.9 * len(people) >= MIN_ROWS:
            yield DatasetWarning(
                "repeated_ids",
                name,
                different,
                f"the input {name!r} has one value for each person ({different:,} values, {len(people):,} people): a "
                f"network that reads it can distinguish people; {remedy}.",
            )
    elif repeats_like_a_person(codes) and (
        looks_like_person_id(name) or fixes_groups(codes, data.attributes)
    ):
        yield DatasetWarning(
            "repeated_ids",
            name,
            different,
            f"the values of the input {name!r} repeat like a person's id ({different:,} values in {len(values):,} rows): "
            f"write `subject: {name}`, which also leaves it out of the inputs, or {remedy}.",
        )


def _codes(name: str, values: np.ndarray) -> Iterator[DatasetWarning]:
    """Whole numbers that look like the codes of categories: a network would read an order into them."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 3 or not _whole(distinct):
        return
    named = _CODE.search(re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().replace("_", " ")) is not None
    steps = np.diff(distinct)
    gapped = len(distinct) <= MAX_CODES and distinct[-1] - distinct[0] > 2 * len(distinct) * np.gcd.reduce(
        steps.astype(np.int64)
    )
    # Counts of something fall off from 0 and have gaps at the end only.
    tail = distinct[0] == 0 and counts[0] == counts.max()
    if named or (gapped and not tail):
        examples = ", ".join(f"{v:g}" for v in distinct[:6]) + (", …" if len(distinct) > 6 else "")
        yield DatasetWarning(
            "codes",
            name,
            len(distinct),
            f"the input {name!r} is read as a quantity and looks like codes of categories ({len(distinct):,} whole numbers: "
            f"{examples}); if it is, write `categorical: [{name}]`.",
        )


def _placeholders(data: Dataset, name: str, values: np.ndarray, role: str) -> Iterator[DatasetWarning]:
    """Placeholders, which usually mean that a value is missing."""
    if values.dtype.kind != "f":
        distinct, counts = np.unique(values, return_counts=True)
        for text, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            if is_placeholder(text):
                yield _placeholder(data, name, role, text, count)
        return
    distinct, counts = np.unique(values, return_counts=True)
    for number in SENTINELS:
        index = int(np.searchsorted(distinct, number))
        if index == len(distinct) or distinct[index] != number or counts[index] < 2 or len(distinct) < 3:
            continue
        remaining = np.delete(distinct, index)
        below = number < 0 and index == 0 and remaining[0] >= 0
        above = number > 0 and index == len(distinct) - 1 and remaining[-1] * 2 < number
        if (below and (number != -1 or len(distinct) > MAX_CODES)) or above:
            yield _placeholder(data, name, role, f"{number}", int(counts[index]))


def _placeholder(data: Dataset, name: str, role: str, text: str, count: int) -> DatasetWarning:
    is_custom = data.path or data.spellings  # shipped datasets have no YAML to write this into
    listed = json.dumps(text.strip(), ensure_ascii=False)
    remedy = f"if it does, write `missing: [{listed}]`" if is_custom else "here it is a value like any other"
    return DatasetWarning(
        "placeholder",
        name,
        count,
        f"the {role} {name!r} is {text!r} in {count:,} rows, which usually means that the value is missing; {remedy}.",
    )


def _similar_names(name: str, values: np.ndarray, kind: str) -> Iterator[DatasetWarning]:
    for alike in near_equal(values.tolist()):
        yield DatasetWarning("near_equal", name, len(alike), similar_names_note(name, alike, kind))
