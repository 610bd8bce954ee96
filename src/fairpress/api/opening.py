"""Open what a user names as a model: an artifact, a model folder, or a Hugging Face folder together with data."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import ONNX_FILE, Artifact
from fairpress.runtime.model_reference import Model, data_for, is_huggingface, open_model, split_model
from fairpress.runtime.onnx.load import parse_model

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


def open_base(
    base: Model, data: Dataset | str | None, max_length: int | None = None
) -> tuple[Artifact, Dataset]:
    """Return a model's artifact and its data: the given data, or those on its card.

    A Hugging Face folder becomes an artifact for the data. Raises UserError where it is given without data.
    """
    if not is_huggingface(base):
        if max_length is not None:
            raise UserError(
                f"the maximum length of {_named(base)} is on its card; choose another when it is trained or opened."
            )
        artifact = open_model(base)
        reference, _ = split_model(base)
        if not isinstance(reference, Artifact):  # now, not after an hour of work
            parse_model(artifact.onnx, str(Path(reference) / ONNX_FILE), "copy the whole folder again")
        return artifact, data_for(artifact, data)
    dataset = load_dataset(data) if isinstance(data, str) else data
    if dataset is None:
        raise UserError(
            f"{base} is a Hugging Face folder, which does not record its data; name the dataset with `data=`, or "
            f"make a model folder of it: fairpress compress {base} --recipe fp32 --data … --out …."
        )
    return open_huggingface(base, dataset, max_length), dataset


def _named(model: Model) -> str:
    return "a model in memory" if isinstance(model, Artifact) else str(model)


def open_huggingface(folder: Model, dataset: Dataset, max_length: int | None = None) -> Artifact:
    """Return the artifact of a Hugging Face folder for a dataset (`models.huggingface.artifact`)."""
    from fairpress.training.device import require_torch

    require_torch("Reading a Hugging Face model")
    from fairpress.models.huggingface.artifact import artifact_of_folder

    reference, _ = split_model(folder)
    assert isinstance(reference, str | os.PathLike)
    return artifact_of_folder(reference, dataset, max_length)


def texts_of(
    data: Any,
    *,
    text: str | Sequence[str] | None,
    label: str | None,
    positive: str | None,
    by: Sequence[str] | str,
    likely_positive: str | None,
) -> Dataset:
    """Return the texts that `fairpress.compress` reads for a transformers model.

    Parameters
    ----------
    data
        A dataset, the name or the YAML file of one, the path of a table, or a DataFrame.
    text, label, positive, by
        For tables: the columns of the texts, the labels and the sensitive attributes, and the positive class.
    likely_positive
        The positive class of a table if `positive` is not given, and it is a label.

    Raises
    ------
    UserError
        Columns are named for a dataset, or not named for a table.
    """
    if data is None:
        raise UserError(
            "give the texts with `data=`: a table with `text=` and `label=`, or a dataset of texts."
        )
    path = Path(data) if isinstance(data, str | os.PathLike) else None
    is_table = path is not None and path.suffix.lower() in TABLES
    frame = path is None and not isinstance(data, Dataset)
    if not is_table and not frame:
        given = [n for n, v in {"text": text, "label": label, "positive": positive, "by": by}.items() if v]
        if given:
            raise UserError(
                f"`{given[0]}=` names a column of a table, and `data=` is a dataset, which has its columns already; leave "
                "it out, or give the path of a table."
            )
        return load_dataset(os.fspath(path)) if path is not None else data
    if text is None or label is None:
        raise UserError(
            "name the columns of the table: `text=` (what the model reads) and `label=` (what it predicts)."
        )
    options: dict[str, Any] = {"text": text, "label": label}
    if by:
        options["sensitive"] = [by] if isinstance(by, str) else list(by)
    if positive is not None:
        options["positive"] = positive
    return from_table(data, options, likely_positive)


def from_table(data: Any, options: dict[str, Any], likely_positive: str | None) -> Dataset:
    """Return the texts of a table: a path, or a DataFrame of pandas, polars or pyarrow."""
    if isinstance(data, str | os.PathLike):
        return _load_texts(os.fspath(data), options, likely_positive)
    if not hasattr(data, "__arrow_c_stream__"):
        raise UserError(
            f"`data=` is {type(data).__name__}; with `tokenizer=`, give the path of a table ({', '.join(TABLES)}), a "
            "DataFrame, or a dataset of texts."
        )
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        pq.write_table(pa.table(data), file)
        dataset = _load_texts(str(file), options, likely_positive)
    # A frame cannot be loaded again: the card names no options that would.
    return replace(dataset, name="DataFrame", config={})


def _load_texts(path: str, options: dict[str, Any], likely_positive: str | None) -> Dataset:
    if likely_positive is not None and "positive" not in options:
        try:
            return load_dataset("text", path=path, positive=likely_positive, **options)
        except UserError:  # perhaps because it is not a label; if not, the same error comes again
            pass
    return load_dataset("text", path=path, **options)
