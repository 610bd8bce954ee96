"""A table's columns as inputs: numbers as they are, texts one-hot, and what is rare among very many texts pooled."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.custom.columns import Column
from fairpress.datasets.dataset import Part
from fairpress.datasets.features import Encoder

MAX_CATEGORIES = 200  # categories that each get an input, however rare
MIN_ROWS, MIN_SHARE = (
    10,
    0.001,
)  # of the training rows: what a category needs for an input where there are more
OTHER = "(other)"
MAX_EXACT_INTEGER = 2**24  # whole numbers up to here are exact in float32


def encode_features(
    features: Sequence[Column],
    categorical: Collection[str],
    parts: Mapping[Part, np.ndarray],
    source_name: str,
) -> tuple[Encoder, list[str]]:
    """Return the inputs, and notes on values that they do not distinguish.

    If a category has more than 200 values, each value with at least 10 training rows and 0.1 % of them gets an input, and
    all others share one, called (other). Only training rows decide which. Raises UserError where no value is that frequent.
    """
    inputs, notes = Encoder(), []
    for feature in features:
        if feature.numbers is not None and feature.name not in categorical:
            inputs.number(feature.name, feature.numbers)
            notes += _rounded(feature)
            continue
        values, index = np.unique(feature.text, return_inverse=True)
        if len(values) <= MAX_CATEGORIES:
            inputs.category(feature.name, feature.text, values.tolist())
            continue
        counts = np.bincount(index.reshape(-1)[parts["train"]], minlength=len(values))
        frequent = values[counts >= max(MIN_ROWS, MIN_SHARE * len(parts["train"]))]
        frequent = frequent[frequent != OTHER]
        if not len(frequent):
            raise UserError(
                f"{source_name}: column {feature.name!r} has {len(values):,} different texts and none of them in "
                f"{MIN_ROWS} training "
                "rows, so it identifies rows and is not a category; leave it out, or make it coarser."
            )
        if len(frequent) == len(values):
            inputs.category(feature.name, feature.text, values.tolist())
            continue
        pooled_values = np.where(np.isin(values, frequent), values, OTHER)
        pooled = pooled_values[index.reshape(-1)]
        inputs.category(feature.name, pooled, [*frequent.tolist(), OTHER])
        inputs.raw[feature.name] = feature.text
        notes.append(
            f"Of the {len(values):,} values of {feature.name!r}, {len(frequent):,} are inputs of their own; the "
            "others are rare among "
            f"the training rows and share the input {OTHER}, with {float((pooled == OTHER).mean()):.1%} of all rows."
        )
    return inputs, notes


def _rounded(feature: Column) -> list[str]:
    """Return a note where numbers are too large to stay apart as float32."""
    numbers = feature.numbers
    if numbers is None or not len(numbers) or np.abs(numbers).max() <= MAX_EXACT_INTEGER:
        return []
    before, after = len(np.unique(feature.text)), len(np.unique(numbers.astype(np.float32)))
    if before == after:
        return []
    return [
        f"The numbers of {feature.name!r} go beyond {MAX_EXACT_INTEGER:,} and are inputs of 32-bit precision: of "
        f"{before:,} different values "
        f"{after:,} stay apart. If they are codes or ids, list the column under `categorical` or leave it out."
    ]
