"""Feed a table's columns to a model made elsewhere: one input that reads them all, or an input per column."""

from __future__ import annotations

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.cast import NUMPY, cast, round_trip
from fairpress.runtime.external.categories import unknown_categories
from fairpress.runtime.external.config import Columns, ExternalModelConfig
from fairpress.runtime.external.onnx_model import WHOLE, ExternalOnnxFile, FileInput, format_shape


def plan_columns(
    file: ExternalOnnxFile, said: ExternalModelConfig, dataset: Dataset, where: str, guessed: list[str]
) -> tuple[Columns | None, dict[str, str | tuple[str, ...]] | None]:
    """Return (columns of the one input, None) or (None, input → its column or columns)."""
    names = [i.name for i in file.inputs]
    odd = next((i for i in file.inputs if i.type not in NUMPY), None)
    if odd is not None:
        raise UserError(
            f"the input {odd.name!r} of {file.path} takes {odd.type}, which no column holds; export the model with "
            "inputs of numbers or text."
        )
    if said.layout is not None or said.scale is not None:
        raise UserError(
            f"{where}: {dataset.name!r} has columns and no images; leave `layout` and `scale` out."
        )
    if said.inputs is not None:
        for name in names:
            if name not in said.inputs:
                raise UserError(f"{where}: `inputs` does not say which column {name!r} is.")
        for name, columns in said.inputs.items():
            if name not in names:
                raise UserError(f"{where}: the model has no input {name!r}." + did_you_mean(name, names))
            for column in _listed(columns):
                _column(dataset, column, where)
        for spec in file.inputs:
            _fits(spec, len(_listed(said.inputs[spec.name])), where)
        return None, dict(said.inputs)
    first = file.inputs[0]
    one_column = _width(first) == 1 and first.name in dataset.features and said.columns is None
    if len(names) > 1 or one_column:
        missing = [n for n in names if n not in dataset.features]
        if missing:
            raise UserError(
                f"the model's input {missing[0]!r} is not a column of {dataset.name!r}; say under `inputs` in {where} which "
                "column each input is." + did_you_mean(missing[0], dataset.features)
            )
        for spec in file.inputs:
            _fits(spec, 1, where)
        guessed.append("inputs")
        return None, {n: n for n in names}
    wide = _width(first)
    if said.columns is not None:
        if said.columns != "encoded":
            for column in said.columns:
                _column(dataset, column, where)
        count = len(dataset.input_names) if said.columns == "encoded" else len(said.columns)
        if wide is not None and wide != count:
            raise UserError(f"{where}: the model reads {wide} columns, `columns` are {count}.")
        _fits(first, count, where)
        return said.columns, None
    encoded, raw = len(dataset.input_names), len(dataset.features)
    if first.shape is not None and len(first.shape) == 1 and encoded > 1:
        _fits(first, encoded, where)
    if wide is None or wide != encoded or (encoded == raw and not _same_columns(dataset)):
        raise UserError(
            f"the model reads {'any number of' if wide is None else wide} columns, {dataset.name!r} has "
            f"{raw}, which are {encoded} encoded; say under `columns` in {where} which it reads, in their order."
        )
    _fits(first, encoded, where)
    guessed.append("columns")
    return "encoded", None


def feed_columns(
    file: ExternalOnnxFile, config: ExternalModelConfig, dataset: Dataset, rows: np.ndarray, where: str
) -> dict[str, np.ndarray]:
    """Return what each input of the model reads for some rows."""
    out = {}
    for spec, columns in _read(file, config, dataset):
        scaled = config.mean is not None or config.std is not None
        if columns == dataset.input_names and spec.type == "tensor(float)":
            matrix: np.ndarray = dataset.inputs[rows]
        else:
            kind = "tensor(double)" if scaled else spec.type
            parts = [_as_read(dataset, c, kind, where)[rows] for c in columns]
            done = [cast(p, kind, spec.name, c, where) for p, c in zip(parts, columns, strict=True)]
            matrix = np.stack(done, axis=1)
        if scaled:
            mean, std = (np.asarray(v, float) for v in (config.mean or (0.0,), config.std or (1.0,)))
            matrix = (matrix.astype(float) - mean) / std
            done = [cast(v, spec.type, spec.name, c, where) for v, c in zip(matrix.T, columns, strict=True)]
            matrix = np.stack(done, axis=1)
        out[spec.name] = np.ascontiguousarray(matrix.reshape(_shape(spec, len(rows), len(columns))))
    return out


def notes_on_columns(
    file: ExternalOnnxFile, config: ExternalModelConfig, dataset: Dataset, where: str
) -> tuple[str, ...]:
    """Return a sentence for each input of unknown rank, column whose whole numbers are rounded, and unknown category.

    Raises UserError where the model knows no category that a column holds.
    """
    found = []
    scaled = config.mean is not None or config.std is not None
    for spec, columns in _read(file, config, dataset):
        if spec.shape is None:
            found.append(
                f"its input {spec.name!r} does not declare a shape and is given [n, {len(columns)}], a line for each row"
            )
        if len(columns) == 1 and spec.type in ("tensor(string)", "tensor(int64)"):
            fed = cast(
                _as_read(dataset, columns[0], spec.type, where), spec.type, spec.name, columns[0], where
            )
            unknown = unknown_categories(file, spec.name, fed, columns[0], where)
            found += [unknown] if unknown is not None else []
        for column in () if scaled else columns:
            lost = round_trip(_column(dataset, column, where), spec.type)
            if lost is not None:
                found.append(
                    f"the input {spec.name!r} takes {spec.type[7:-1]}, which rounds whole numbers of the column {column!r} "
                    f"({lost[0]} becomes {lost[1]}); codes or ids that differ in their last digits become one"
                )
    return tuple(found)


def _read(
    file: ExternalOnnxFile, config: ExternalModelConfig, dataset: Dataset
) -> list[tuple[FileInput, tuple[str, ...]]]:
    """Return every input with the columns that it reads."""
    if config.inputs is not None:
        return [(i, _listed(config.inputs[i.name])) for i in file.inputs]
    encoded = config.columns == "encoded" or config.columns is None
    return [(file.inputs[0], tuple(dataset.input_names) if encoded else tuple(config.columns or ()))]


def _listed(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _width(spec: FileInput) -> int | None:
    """Return how many columns an input reads; None where its shape does not say."""
    if spec.shape is None:
        return None
    if len(spec.shape) == 1:
        return 1
    wide = [d for d in spec.shape[1:] if d != 1]
    return 1 if not wide else wide[0]


def _fits(spec: FileInput, count: int, where: str) -> None:
    """Raise UserError where an input cannot take a number of columns, because of its rank."""
    if spec.shape is None:
        return
    wide = [d for d in spec.shape[1:] if d not in (1, None)]
    free = sum(d is None for d in spec.shape[1:])
    if len(spec.shape) == 1:
        fits = count == 1
    elif not wide:
        fits = free == 1 or count == 1
    else:
        fits = not free and wide == [count]
    if not fits:
        raise UserError(
            f"{where}: the input {spec.name!r} takes the shape {format_shape(spec.shape)}, which does not hold {count} "
            f"column{'s' * (count != 1)} of a table; export the model with an input of [n, {count}]."
        )


def _shape(spec: FileInput, rows: int, count: int) -> tuple[int, ...]:
    """Return the shape that holds `count` columns of `rows` rows in an input of this rank."""
    if spec.shape is None:
        return rows, count
    inner = [d if d is not None else (count if count > 1 else 1) for d in spec.shape[1:]]
    return rows, *inner


def _same_columns(dataset: Dataset) -> bool:
    return list(dataset.input_names) == list(dataset.features)


def _as_read(dataset: Dataset, name: str, kind: str, where: str) -> np.ndarray:
    """Return a column for an input: as the table spells it where numbers would be other texts, or would lose digits."""
    values = _column(dataset, name, where)
    spelled = getattr(dataset, "spellings", {}).get(name) if name in dataset.features else None
    if spelled is None or values.dtype.kind != "f":
        return values
    long = kind in WHOLE and bool((np.abs(values) >= 2**53).any())
    return np.asarray(spelled) if long or kind == "tensor(string)" else values


def _column(dataset: Dataset, name: str, where: str) -> np.ndarray:
    if name in dataset.features:
        return dataset.features[name]
    if name in dataset.input_names:
        return dataset.inputs[:, dataset.input_names.index(name)]
    known = [*dataset.features, *dataset.input_names]
    raise UserError(f"{where}: {dataset.name!r} has no column {name!r}." + did_you_mean(name, known))
