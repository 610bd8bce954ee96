"""A dataset: inputs, labels, sensitive attributes, subjects, and four parts that never mix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output_kind import OutputKind

Part = Literal["train", "calibration", "validation", "test"]
Kind = Literal["table", "images", "text"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes
    ----------
    target
        Name of the label, such as ``"two_year_recid"``.
    classes
        Class names in the order of the network's outputs; labels are indices into it. Empty for other `outputs`.
    positive
        The class that rates (TPR, FPR, selection rate) refer to;
        ``None`` for a multi-class task in which no class is singled out.
    outputs
        What a network predicts: a class, a number, several labels at once, or an embedding.
    label_names
        The labels of ``"labels"``, in the order of the network's outputs; otherwise empty.
    size
        The length of an ``"embedding"``; otherwise 0.
    """

    target: str
    classes: tuple[str, ...]
    positive: str | None
    outputs: OutputKind = "classes"
    label_names: tuple[str, ...] = ()
    size: int = 0

    @property
    def width(self) -> int:
        """The number of outputs of a network for this task."""
        return {
            "classes": len(self.classes),
            "number": 1,
            "labels": len(self.label_names),
            "embedding": self.size,
        }[self.outputs]

    def __post_init__(self) -> None:
        if self.outputs != "classes":
            if self.classes or self.positive is not None or self.width < 1:
                raise ValueError(
                    f"a task of outputs={self.outputs!r} has no classes, and at least one output"
                )
            return
        if len(self.classes) < 2:
            raise UserError(
                f"the label {self.target!r} has only one class ({', '.join(self.classes)}); two are needed."
            )
        if self.positive is not None and self.positive not in self.classes:
            raise UserError(
                f"{self.positive!r} is not a class of {self.target!r}."
                + did_you_mean(self.positive, self.classes)
            )


@dataclass(frozen=True)
class Rows:
    """Rows of one part: ``inputs`` [rows, …], ``labels`` [rows] int64, ``attributes`` name → [rows] str."""

    inputs: np.ndarray
    labels: np.ndarray
    attributes: Mapping[str, np.ndarray]
    subjects: np.ndarray
    row_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A task with its rows, their subjects, and the four parts they are divided into.

    Attributes
    ----------
    name
        The name it is loaded by.
    task
        What is predicted.
    inputs
        What a network reads: ``float32`` [rows, columns] of a table, or memory-mapped ``uint8``
        [rows, 3, height, width] of images. Raw values: scaling belongs to the network, so that the
        shipped file reads the user's raw values. Of text: the texts themselves, ``object`` [rows] of str; or, once a
        model's tokenizer has encoded them (`tokenization.encode_dataset`), token ids, ``int32`` [rows, maximum length].
    input_names
        Column names of a table's inputs; empty for images.
    labels
        ``int64`` [rows], indices into ``task.classes``; of a number ``float64`` [rows]; of several labels 0 or 1,
        ``int64`` [rows, labels]; of an embedding zeros ``int64`` [rows].
    attributes
        Sensitive attributes: name → ``str`` array [rows]. Never inputs by themselves.
    subjects
        [rows] the subject of each row; rows of one subject are in one part, unless `warnings` report an exception.
    row_ids
        [rows] unique names of the rows, stable over runs.
    parts
        Part → ``int64`` row indices, disjoint by subject.
    fingerprint
        sha256 over everything a result can depend on: content, options and parts.
    config
        The options it was loaded with, so that it can be loaded again.
    notes
        Sentences about the data for the report (source, filter, limits).
    input_columns
        The table's column behind each input, so that the one-hot columns of one category are known to
        belong together; empty for images.
    warnings
        Sentences to show above every result, such as that subjects are on both sides of the split.
    features
        A table's columns as they are, numbers or text [rows]: for external models.
    spellings
        The same columns, text [rows] in the spelling of the file: ``"1"`` where a CSV has 1, ``"1.0"`` where it has 1.0.
        Empty
        where a dataset has no file of the user's.
    path
        Absolute path of the YAML file that describes it, so that a card finds it from any working directory; else empty.
    texts
        The texts, ``object`` [rows] of str; None for tables and images. An encoded dataset keeps them.
    pad_id
        The token id that fills up rows of token ids; None unless the texts are encoded.
    """

    name: str
    task: Task
    inputs: np.ndarray
    input_names: tuple[str, ...]
    labels: np.ndarray
    attributes: Mapping[str, np.ndarray]
    subjects: np.ndarray
    row_ids: np.ndarray
    parts: Mapping[Part, np.ndarray]
    fingerprint: str
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    input_columns: tuple[str, ...] = ()
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    spellings: Mapping[str, np.ndarray] = field(default_factory=dict)
    path: str = ""
    texts: np.ndarray | None = None
    pad_id: int | None = None

    @property
    def kind(self) -> Kind:
        """What a row is: numbers of a table, an image, or a text (as itself or as token ids)."""
        if self.texts is not None:
            return "text"
        return "images" if self.inputs.ndim == 4 else "table"

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, name: Part) -> np.ndarray:
        """Return the row indices of one part. Raises UserError where this dataset has no such part."""
        if name not in self.parts:
            raise UserError(
                f"the {name} rows of {self.name!r} are not available here: tuning never reads test rows."
            )
        return self.parts[name]

    def part(self, name: Part) -> Rows:
        """Return a copy of the rows of one part. Raises UserError where this dataset has no such part."""
        index = self.index(name)
        return Rows(
            inputs=self.inputs[index],
            labels=self.labels[index],
            attributes={k: v[index] for k, v in self.attributes.items()},
            subjects=self.subjects[index],
            row_ids=self.row_ids[index],
        )

    def development(self) -> Dataset:
        """Return the dataset as training, compression and tuning receive it: without its test rows."""
        return replace(self, parts={k: v for k, v in self.parts.items() if k != "test"})
