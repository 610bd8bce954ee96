"""A dataset restricted to the rows of a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fairpress.core.canonical_json import digest
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.dataset import Dataset


def restrict(data: Dataset, group: Mapping[str, str]) -> Dataset:
    """Return the dataset whose parts hold only rows of a group: attribute → value, all of which must hold.

    Rows keep their parts, so the group's test rows are test rows of the whole. Raises UserError for an unknown
    attribute or when a part has no such row.
    """
    keep = np.ones(len(data), dtype=bool)
    for attribute, value in group.items():
        if attribute not in data.attributes:
            raise UserError(
                f"{data.name!r} has no sensitive attribute {attribute!r}."
                + did_you_mean(attribute, data.attributes)
            )
        keep &= data.attributes[attribute] == value
    parts = {part: rows[keep[rows]] for part, rows in data.parts.items()}
    for part, rows in parts.items():
        if not len(rows):
            named = ", ".join(f"{k} = {v}" for k, v in group.items())
            raise UserError(f"{data.name!r} has no {part} rows of {named}.")
    return replace(data, parts=parts, fingerprint=digest([data.fingerprint, dict(group)]))
