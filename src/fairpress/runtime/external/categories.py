"""Whether a file knows the categories that a column holds: encoders inside it list them, and pass others in silence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.external.onnx_model import ExternalOnnxFile
from fairpress.runtime.external.outputs import PASSING

_ENCODERS = frozenset({"LabelEncoder", "OneHotEncoder", "CategoryMapper"})
_KNOWN = ("keys_strings", "cats_strings", "keys_int64s", "cats_int64s", "keys_tensor")


def unknown_categories(
    file: ExternalOnnxFile, spec: str, fed: np.ndarray, column: str, where: str
) -> str | None:
    """Return a sentence on values [rows] of a column that the encoder behind the input does not know; None without any.

    Raises
    ------
    UserError
        It knows none of them: the column is another one, or spelled differently.
    """
    known = list(_categories(file, spec))
    if not known:
        return None
    values, counts = np.unique(fed.astype(str), return_counts=True)
    other = ~np.isin(values, known)
    if not other.any():
        return None
    listed = ", ".join(repr(k) for k in known[:5]) + (", …" if len(known) > 5 else "")
    example = str(values[other][0])
    if other.all():
        raise UserError(
            f"{where}: no value of the column {column!r}, such as {example!r}, is one of the categories that the model "
            "knows for "
            f"its input {spec!r} ({listed}); name the column that holds them, or spell them so in the table."
        )
    return (
        f"the column {column!r} holds values such as {example!r} in {int(counts[other].sum()):,} of {len(fed):,} rows "
        "that are "
        f"not among the categories that the model knows for its input {spec!r} ({listed})"
    )


def _categories(file: ExternalOnnxFile, name: str) -> Iterator[str]:
    """Yield the categories of the encoder that reads an input as it is."""
    from onnx import numpy_helper

    for node in file.graph.node:
        if name not in node.input[:1]:
            continue
        if node.op_type in PASSING and node.op_type != "Cast":
            yield from _categories(file, node.output[0])
        for attribute in node.attribute if node.op_type in _ENCODERS else ():
            if attribute.name not in _KNOWN:
                continue
            if attribute.name == "keys_tensor":
                found = numpy_helper.to_array(attribute.t).reshape(-1).tolist()
                yield from (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in found)
            yield from (v.decode("utf-8", "replace") for v in attribute.strings)
            yield from map(str, attribute.ints)
