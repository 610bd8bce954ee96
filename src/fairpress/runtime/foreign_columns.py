"""Feed a table's columns to a model made elsewhere: one input that reads them all, or an input per column."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.base import Dataset
from fairpress.runtime.foreign_config import ForeignConfig

NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def plan_columns(
    session: Any, said: ForeignConfig, dataset: Dataset, where: str, guessed: list[str]
) -> tuple[Any, dict[str, str] | None]:
    """Return (columns of the one input, None) or (None, input → column)."""
    found = session.get_inputs()
    names = [i.name for i in found]
    odd = next((i for i in found if i.type not in NUMPY), None)
    if odd is not None:
        raise UserError(f"the input {odd.name!r} takes {odd.type}, which no column holds.")
    if said.layout is not None or said.scale is not None:
        raise UserError(
            f"{where}: {dataset.name!r} has columns and no images; leave `layout` and `scale` out."
        )
    if said.inputs is not None:
        for name in names:
            if name not in said.inputs:
                raise UserError(f"{where}: `inputs` does not say which column {name!r} is.")
        for name, column in said.inputs.items():
            if name not in names:
                raise UserError(f"{where}: the model has no input {name!r}." + did_you_mean(name, names))
            _column(dataset, column, where)
        return None, dict(said.inputs)
    if len(names) > 1:
        missing = [n for n in names if n not in dataset.features]
        if missing:
            raise UserError(
                f"the model's input {missing[0]!r} is no column of {dataset.name!r}; say under `inputs` in {where} which "
                "column each input is." + did_you_mean(missing[0], dataset.features)
            )
        guessed.append("inputs")
        return None, {n: n for n in names}
    width = found[0].shape[-1] if found[0].shape else None
    if said.columns is not None:
        if said.columns != "encoded":
            for column in said.columns:
                _column(dataset, column, where)
        count = len(dataset.input_names) if said.columns == "encoded" else len(said.columns)
        if isinstance(width, int) and width != count:
            raise UserError(f"{where}: the model reads {width} columns, `columns` are {count}.")
        return said.columns, None
    encoded, raw = len(dataset.input_names), len(dataset.features)
    if not isinstance(width, int) or width != encoded or (encoded == raw and not _same_columns(dataset)):
        raise UserError(
            f"the model reads {width if isinstance(width, int) else 'any number of'} columns, {dataset.name!r} has "
            f"{raw}, which are {encoded} encoded; say under `columns` in {where} which it reads, in their order."
        )
    guessed.append("columns")
    return "encoded", None


def _same_columns(dataset: Dataset) -> bool:
    return list(dataset.input_names) == list(dataset.features)


def _column(dataset: Dataset, name: str, where: str) -> np.ndarray:
    if name in dataset.features:
        return dataset.features[name]
    if name in dataset.input_names:
        return dataset.inputs[:, dataset.input_names.index(name)]
    known = [*dataset.features, *dataset.input_names]
    raise UserError(f"{where}: {dataset.name!r} has no column {name!r}." + did_you_mean(name, known))


def feed_columns(
    session: Any, config: ForeignConfig, dataset: Dataset, rows: np.ndarray, where: str
) -> dict[str, np.ndarray]:
    """Return what each input of the model reads for some rows."""
    found = session.get_inputs()
    if config.inputs is not None:
        return {
            i.name: _cast(_column(dataset, config.inputs[i.name], where)[rows][:, None], i, where)
            for i in found
        }
    if config.columns == "encoded":
        matrix: np.ndarray = dataset.inputs[rows]
    else:
        matrix = np.stack([_column(dataset, c, where)[rows] for c in config.columns or ()], axis=1)
    if config.mean is not None or config.std is not None:
        mean, std = (np.asarray(v, float) for v in (config.mean or (0.0,), config.std or (1.0,)))
        matrix = (matrix.astype(float) - mean) / std
    return {found[0].name: _cast(matrix, found[0], where)}


def _cast(values: np.ndarray, spec: Any, where: str) -> np.ndarray:
    try:
        return values.astype(NUMPY[spec.type])
    except ValueError:
        example = next(str(v) for v in values.ravel() if not _numeric(v))
        raise UserError(
            f"{where}: the input {spec.name!r} takes numbers, and a column holds {example!r}; name encoded columns such as "
            "'race=Asian'."
        ) from None


def _numeric(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
