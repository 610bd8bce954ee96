"""Check the categories of a column against those of the encoders in a file, which silently accept unknown ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.external.external_file import ExternalFile
from fairpress.runtime.external.outputs import PASS_THROUGH

_ENCODERS = frozenset({"LabelEncoder", "OneHotEncoder", "CategoryMapper"})
_CATEGORY_ATTRIBUTES = ("keys_strings", "cats_strings", "keys_int64s", "cats_int64s", "keys_tensor")


def unknown_categories(
    file: ExternalFile, spec: str, column_values: np.ndarray, column: str, source_name: str
) -> str | None:
    """Return a note on values [rows] of a column that the input's encoder does not know; None if it knows all.

    Raises
    ------
    UserError
        It knows none of them: the column is wrong, or its values are spelled differently.
    """
    categories = list(_categories(file, spec))
    if not categories:
        return None
    values, counts = np.unique(column_values.astype(str), return_counts=True)
    unknown = ~np.isin(values, categories)
    if not unknown.any():
        return None
    listed = ", ".join(repr(k) for k in categories[:5]) + (", …" if len(categories) > 5 else "")
    example = str(values[unknown][0])
    if unknown.all():
        raise UserError(
            f"{source_name}: no value of the column {column!r}, such as {example!r}, is one of the categories that "
            "the model "
            "knows for "
            f"its input {spec!r} ({listed}); name the column that contains them, or use the same spelling in the table."
        )
    return (
        f"the column {column!r} holds values such as {example!r} in {int(counts[unknown].sum()):,} of "
        f"{len(column_values):,} rows "
        "that are "
        f"not among the categories that the model knows for its input {spec!r} ({listed})"
    )


def _categories(file: ExternalFile, name: str) -> Iterator[str]:
    """Yield the categories of the encoder that reads an input unchanged."""
    from onnx import numpy_helper

    for node in file.nodes():
        if name not in node.input[:1]:
            continue
        if node.op_type in PASS_THROUGH and node.op_type != "Cast":
            yield from _categories(file, node.output[0])
        for attribute in node.attribute if node.op_type in _ENCODERS else ():
            if attribute.name not in _CATEGORY_ATTRIBUTES:
                continue
            if attribute.name == "keys_tensor":
                keys = numpy_helper.to_array(attribute.t).reshape(-1).tolist()
                yield from (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in keys)
            yield from (v.decode("utf-8", "replace") for v in attribute.strings)
            yield from map(str, attribute.ints)
