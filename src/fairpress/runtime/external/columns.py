"""Feed the columns of a table to an external model: one input that reads all of them, or one input per column."""

from __future__ import annotations

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.cast import NUMPY, cast, round_trip
from fairpress.runtime.external.categories import unknown_categories
from fairpress.runtime.external.config import Columns, ExternalModelConfig
from fairpress.runtime.external.external_file import WHOLE, ExternalFile, FileInput, format_shape


def plan_columns(
    file: ExternalFile,
    config: ExternalModelConfig,
    dataset: Dataset,
    source_name: str,
    guessed: list[str],
) -> tuple[Columns | None, dict[str, str | tuple[str, ...]] | None]:
    """Return (columns of the one input, None) or (None, input → its column or columns)."""
    names = [i.name for i in file.inputs]
    unsupported = next((i for i in file.inputs if i.type not in NUMPY), None)
    if unsupported is not None:
        raise UserError(
            f"the input {unsupported.name!r} of {file.path} takes {unsupported.type}, which no column provides; "
            "export the model with "
            "inputs of numbers or text."
        )
    if config.layout is not None or config.scale is not None:
        raise UserError(
            f"{source_name}: {dataset.name!r} has columns, not images; omit `layout` and `scale`."
        )
    if config.inputs is not None:
        for name in names:
            if name not in config.inputs:
                raise UserError(f"{source_name}: `inputs` does not name a column for {name!r}; add it.")
        for name, columns in config.inputs.items():
            if name not in names:
                raise UserError(
                    f"{source_name}: the model has no input {name!r}." + did_you_mean(name, names)
                )
            for column in _as_tuple(columns):
                _column(dataset, column, source_name)
        for spec in file.inputs:
            _check_width(spec, len(_as_tuple(config.inputs[spec.name])), source_name)
        return None, dict(config.inputs)
    first = file.inputs[0]
    one_column = _width(first) == 1 and first.name in dataset.features and config.columns is None
    if len(names) > 1 or one_column:
        missing = [n for n in names if n not in dataset.features]
        if missing:
            raise UserError(
                f"the model's input {missing[0]!r} is not a column of {dataset.name!r}; map each input to a column "
                "under `inputs` in "
                f"{source_name}." + did_you_mean(missing[0], dataset.features)
            )
        for spec in file.inputs:
            _check_width(spec, 1, source_name)
        guessed.append("inputs")
        return None, {n: n for n in names}
    width = _width(first)
    if config.columns is not None:
        if config.columns != "encoded":
            for column in config.columns:
                _column(dataset, column, source_name)
        count = len(dataset.input_names) if config.columns == "encoded" else len(config.columns)
        if width is not None and width != count:
            raise UserError(
                f"{source_name}: the model reads {width} columns, but `columns` lists {count}; list as "
                "many as it reads."
            )
        _check_width(first, count, source_name)
        return config.columns, None
    encoded, raw = len(dataset.input_names), len(dataset.features)
    if first.shape is not None and len(first.shape) == 1 and encoded > 1:
        _check_width(first, encoded, source_name)
    if width is None or width != encoded or (encoded == raw and not _same_columns(dataset)):
        raise UserError(
            f"the model reads {'any number of' if width is None else width} columns, {dataset.name!r} has "
            f"{raw}, which are {encoded} encoded; list under `columns` in {source_name} the columns that it reads, in order."
        )
    _check_width(first, encoded, source_name)
    guessed.append("columns")
    return "encoded", None


def feed_columns(
    file: ExternalFile, config: ExternalModelConfig, dataset: Dataset, rows: np.ndarray, source_name: str
) -> dict[str, np.ndarray]:
    """Return the array that each input of the model reads for these rows."""
    out = {}
    for spec, columns in _inputs_with_columns(file, config, dataset):
        scaled = config.mean is not None or config.std is not None
        if columns == dataset.input_names and spec.type == "tensor(float)":
            matrix: np.ndarray = dataset.inputs[rows]
        else:
            kind = "tensor(double)" if scaled else spec.type
            parts = [_column_for_input(dataset, c, kind, source_name)[rows] for c in columns]
            done = [cast(p, kind, spec.name, c, source_name) for p, c in zip(parts, columns, strict=True)]
            matrix = np.stack(done, axis=1)
        if scaled:
            mean, std = (np.asarray(v, float) for v in (config.mean or (0.0,), config.std or (1.0,)))
            matrix = (matrix.astype(float) - mean) / std
            done = [
                cast(v, spec.type, spec.name, c, source_name) for v, c in zip(matrix.T, columns, strict=True)
            ]
            matrix = np.stack(done, axis=1)
        out[spec.name] = np.ascontiguousarray(matrix.reshape(_shape(spec, len(rows), len(columns))))
    return out


def notes_on_columns(
    file: ExternalFile, config: ExternalModelConfig, dataset: Dataset, source_name: str
) -> tuple[str, ...]:
    """Return notes on inputs of unknown rank, columns whose integers are rounded, and unknown categories.

    Raises UserError if the model knows none of the categories in a column.
    """
    notes = []
    scaled = config.mean is not None or config.std is not None
    for spec, columns in _inputs_with_columns(file, config, dataset):
        if spec.shape is None:
            notes.append(
                f"its input {spec.name!r} does not declare a shape and receives [n, {len(columns)}], one line per row"
            )
        if len(columns) == 1 and spec.type in ("tensor(string)", "tensor(int64)"):
            values = cast(
                _column_for_input(dataset, columns[0], spec.type, source_name),
                spec.type,
                spec.name,
                columns[0],
                source_name,
            )
            unknown = unknown_categories(file, spec.name, values, columns[0], source_name)
            notes += [unknown] if unknown is not None else []
        for column in () if scaled else columns:
            rounded = round_trip(_column(dataset, column, source_name), spec.type)
            if rounded is not None:
                notes.append(
                    f"the input {spec.name!r} takes {spec.type[7:-1]}, which rounds whole numbers of the column {column!r} "
                    f"({rounded[0]} becomes {rounded[1]}); codes or ids that differ only in their last digits become equal"
                )
    return tuple(notes)


def _inputs_with_columns(
    file: ExternalFile, config: ExternalModelConfig, dataset: Dataset
) -> list[tuple[FileInput, tuple[str, ...]]]:
    """Return each input with the columns that it reads."""
    if config.inputs is not None:
        return [(i, _as_tuple(config.inputs[i.name])) for i in file.inputs]
    encoded = config.columns == "encoded" or config.columns is None
    return [(file.inputs[0], tuple(dataset.input_names) if encoded else tuple(config.columns or ()))]


def _as_tuple(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _width(spec: FileInput) -> int | None:
    """Return the number of columns that an input reads; None if its shape does not determine it."""
    if spec.shape is None:
        return None
    if len(spec.shape) == 1:
        return 1
    wide = [d for d in spec.shape[1:] if d != 1]
    return 1 if not wide else wide[0]


def _check_width(spec: FileInput, count: int, source_name: str) -> None:
    """Raise UserError if the shape of an input cannot take this number of columns."""
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
            f"{source_name}: the input {spec.name!r} takes the shape {format_shape(spec.shape)}, which does not hold "
            f"{count} "
            f"column{'s' * (count != 1)} of a table; export the model with an input of [n, {count}]."
        )


def _shape(spec: FileInput, rows: int, count: int) -> tuple[int, ...]:
    """Return the shape for `rows` rows of `count` columns in an input of this rank."""
    if spec.shape is None:
        return rows, count
    inner = [d if d is not None else (count if count > 1 else 1) for d in spec.shape[1:]]
    return rows, *inner


def _same_columns(dataset: Dataset) -> bool:
    return list(dataset.input_names) == list(dataset.features)


def _column_for_input(dataset: Dataset, name: str, kind: str, source_name: str) -> np.ndarray:
    """Return a column for an input; as spelled in the table if numbers would lose digits or their spelling."""
    values = _column(dataset, name, source_name)
    spelled = getattr(dataset, "spellings", {}).get(name) if name in dataset.features else None
    if spelled is None or values.dtype.kind != "f":
        return values
    long = kind in WHOLE and bool((np.abs(values) >= 2**53).any())
    return np.asarray(spelled) if long or kind == "tensor(string)" else values


def _column(dataset: Dataset, name: str, source_name: str) -> np.ndarray:
    if name in dataset.features:
        return dataset.features[name]
    if name in dataset.input_names:
        return dataset.inputs[:, dataset.input_names.index(name)]
    valid_names = [*dataset.features, *dataset.input_names]
    raise UserError(
        f"{source_name}: {dataset.name!r} has no column {name!r}." + did_you_mean(name, valid_names)
    )
