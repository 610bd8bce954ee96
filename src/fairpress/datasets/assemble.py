"""The last step of every loader: columns in, a split and fingerprinted Dataset out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fairpress.datasets.dataset import Dataset, Part, Task
from fairpress.datasets.fingerprint import fingerprint
from fairpress.datasets.split_leakage import shared_subjects
from fairpress.datasets.splits import SplitOptions, split
from fairpress.datasets.texts.inputs import Texts

# Options added later: they do not change the fingerprints of datasets that do not use them.
ADDED_OPTIONS = (
    *("test_share", "positive_is", "missing_rows", "not_missing", "not_subject"),
    *("label_is", "more_labels"),
)


class Inputs(Protocol):
    """What a network reads: encoded columns of a table (`features.Encoder`), pixels (`images.cache.Pixels`), or texts.

    `content` replaces the inputs in the fingerprint if they are too large to read; None: the inputs are read.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def raw(self) -> Mapping[str, np.ndarray]: ...

    @property
    def content(self) -> bytes | None: ...

    def matrix(self) -> np.ndarray: ...


def assemble(
    *,
    name: str,
    task: Task,
    inputs: Inputs,
    labels: np.ndarray,
    attributes: Mapping[str, np.ndarray],
    subjects: np.ndarray,
    row_ids: np.ndarray,
    options: SplitOptions,
    official: Mapping[Part, np.ndarray] | None = None,
    split_by: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
    config: Mapping[str, Any] | None = None,
    unprinted: Collection[str] = (),
    parts: Mapping[Part, np.ndarray] | None = None,
    strata: np.ndarray | None = None,
    spellings: Mapping[str, np.ndarray] | None = None,
    warnings: tuple[str, ...] = (),
) -> Dataset:
    """Return the dataset of these rows, split by `options`.

    Parameters
    ----------
    name, task, labels, attributes, subjects, row_ids, notes
        As in `Dataset`.
    inputs
        The encoded columns, the pixels, or the texts.
    options
        The loader's config.
    split_by
        [rows] the units that stay within one part, if these are not the subjects. Subjects may then be on both sides
        of the split, which the dataset's `warnings` report.
    config
        `Dataset.config`: the options that load it again; by default all.
    official
        The official parts of the dataset, row indices.
    unprinted
        Options that locate the content and do not change it; the fingerprint leaves them out.
    parts
        The parts, where the inputs depend on them; else they are drawn here.
    strata
        [rows] int64 by which the parts are drawn alike, where these are not the labels.
    spellings, warnings
        As in `Dataset`; a split that shares people warns in any case.
    """
    matrix = inputs.matrix()
    if parts is None:
        parts = split(
            labels if strata is None else strata,
            attributes,
            subjects if split_by is None else split_by,
            options,
            official,
        )
    printed = options.model_dump(mode="json")
    names = tuple(inputs.names)
    return Dataset(
        name=name,
        task=task,
        inputs=matrix,
        input_names=names,
        features=dict(inputs.raw),
        input_columns=tuple(inputs.columns),
        labels=labels,
        attributes=dict(attributes),
        subjects=subjects,
        row_ids=row_ids,
        parts=parts,
        fingerprint=fingerprint(
            task=task,
            inputs=matrix,
            content=inputs.content,
            input_names=names,
            labels=labels,
            attributes=attributes,
            subjects=subjects,
            row_ids=row_ids,
            parts=parts,
            config={
                k: v
                for k, v in printed.items()
                if k not in unprinted and not (k in ADDED_OPTIONS and v in (None, []))
            },
        ),
        config=printed if config is None else config,
        notes=notes,
        warnings=(*(() if split_by is None else shared_subjects(subjects, parts)), *warnings),
        spellings={} if spellings is None else spellings,
        texts=matrix if isinstance(inputs, Texts) else None,
    )
