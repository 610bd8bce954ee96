"""The YAML schema of a user's data: the keys of every file, and those of a table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fairpress.core.config import ConfigSource
from fairpress.core.values import resolve, spelling
from fairpress.datasets.binning import bin_names
from fairpress.datasets.download.sources import SourceFile
from fairpress.datasets.splits import SplitOptions

# Names of columns in the predictions table.
RESERVED = ("row_id", "subject", "label", "seed", "fold")


def _spelled(value: Any) -> Any:
    """Return a scalar given in Python as a table spells it; anything else as it is."""
    if isinstance(value, bool | int | float | Decimal | date) or hasattr(value, "dtype"):
        text = spelling(value)
        return value if text is None else text
    return value


Value = Annotated[str, BeforeValidator(_spelled)]
"""A value of the table, or the name of a column or a group, as spelled in the file."""


def _listed(value: Any) -> Any:
    """Accept one value as a list of one."""
    return value if value is None or isinstance(value, list | tuple) else [value]


def _path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Values = Annotated[tuple[Value, ...], BeforeValidator(_listed)]


class AttributeConfig(BaseModel):
    """A sensitive attribute: a column, cut into groups where it holds numbers.

    Attributes
    ----------
    column
        The column; the attribute's own name when not given.
    bins
        Ascending edges; a value equal to an edge belongs to the group above it.
    names
        Names of the groups, one more than edges.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: Value | None = None
    bins: Annotated[tuple[float, ...], BeforeValidator(_listed)] = ()
    names: Values = ()

    @model_validator(mode="after")
    def _bins_make_groups(self) -> AttributeConfig:
        if not all(math.isfinite(edge) for edge in self.bins) or list(self.bins) != sorted(set(self.bins)):
            raise ValueError("bins must ascend, each edge once")
        if self.names and len(self.names) != len(self.bins) + 1:
            raise ValueError(
                f"{len(self.bins)} edges make {len(self.bins) + 1} groups, not {len(self.names)}"
            )
        if len(set(self.names)) < len(self.names):
            raise ValueError("two groups have the same name")
        return self

    def group_names(self) -> list[str]:
        """Return the names of the groups the bins make."""
        return list(self.names) or bin_names(self.bins)


def named_attributes(value: Any) -> Any:
    """Accept ``[sex, race]`` for ``{sex: , race: }``; an empty value means the column of that name, text another column."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        if len(set(value)) < len(value):
            raise ValueError("the same attribute is listed twice")
        value = dict.fromkeys(value)
    if isinstance(value, Mapping):
        return {k: {} if v is None else {"column": v} if isinstance(v, str) else v for k, v in value.items()}
    raise ValueError("expected names of columns, or lines `name: {column: …, bins: […]}`")


def _flow(values: Sequence[Any]) -> str:
    """Return values as a list in YAML."""
    return json.dumps([str(v) for v in values], ensure_ascii=False)


@dataclass(frozen=True)
class ConfigLocation:
    """The source of options.

    Attributes
    ----------
    name
        The name that loads the dataset: the YAML file, or the name of the kind of data.
    folder
        The folder of relative paths.
    config
        The options that, with the name, load the dataset again.
    document
        The YAML's nodes, which know their lines; None for options given in Python.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    document: Mapping[str, Any] | None = None

    def of(self, path: Sequence[str | int]) -> str:
        """Return ``file:line:column`` of an option, for errors that only the data reveal; the name without a document."""
        return ConfigSource(self.document, self.name).location(path)


class TabularConfig(SplitOptions):
    """Common options of tables and images: a CSV or Parquet file with label, sensitive attributes and subjects.

    Attributes
    ----------
    path
        The file, ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``; relative to the YAML file that names it.
    label, positive
        The column to be predicted, and its positive class. With two values it must be
        given; with more it may be left out. Classes are matched exactly, else as numbers and truth values: 1, 1.0
        and True are one class (`core.values`).
    label_is
        ``"number"`` if the label is a quantity, such as an age; by default a class.
    more_labels
        Further columns that a network predicts beside `label`: several labels of a row, each 1 or 0 (true or false, yes or
        no).
    positive_is
        Instead of `positive`: one or several classes against the rest, which makes a task of two classes. The
        positive one is called by its names, joined by "or"; the rest by its name, or "other" where it has several.
    classes
        The values the label may have; another one is an error. By default all that occur.
    sensitive
        Names of columns, or name → ``{column, bins, names}``.
    subject
        The column that identifies the subject of a row.
    split
        A column with ``train``, ``calibration``, ``validation`` or ``test`` in each row; parts that do not
        occur are carved from train.
    separator
        What separates the columns of a CSV file; a tab of a TSV file.
    missing
        ``"refuse"`` or another word of `missing_words`: what becomes of rows without label or input. Or a list of
        spellings that mean "missing" in addition to empty cells and NA, N/A, #N/A, NaN, nan, null and NULL without quotes;
        then such rows are left out and counted unless `missing_rows` is ``"refuse"``. A missing sensitive attribute is a
        group of its own in either case.
    missing_rows
        What becomes of rows with missing values where `missing` is a list.
    not_missing
        Spellings that are values although they usually mean "missing", such as NA for Namibia.
    not_subject
        Columns that do not identify people although their values repeat like a person's id.
    """

    # Values are the text in the YAML file: 02, 18_24 and 1.0 keep their spelling (`core.config.validate`).
    as_written: ClassVar[bool] = True
    missing_words: ClassVar[tuple[str, str]] = ("refuse", "drop")
    files: ClassVar[tuple[SourceFile, ...]] = ()

    path: Annotated[str, BeforeValidator(_path)] = Field(min_length=1)
    label: Value
    label_is: Literal["number"] | None = None
    more_labels: Values = ()
    positive: Value | None = None
    positive_is: Values = ()
    classes: Values = ()
    sensitive: Annotated[dict[str, AttributeConfig], BeforeValidator(named_attributes)] = Field(min_length=1)
    subject: Value | None = None
    split: Value | None = None
    separator: str = Field(default=",", min_length=1, max_length=1)
    missing: str | Values = "refuse"
    missing_rows: str | None = None
    not_missing: Values = ()
    not_subject: Values = ()

    @field_validator("positive", mode="before")
    @classmethod
    def _positive_is_one_value(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            raise ValueError(
                f"one value is expected; several classes against the rest are `positive_is: {_flow(value)}`"
            )
        return value

    @field_validator("separator")
    @classmethod
    def _separator_separates(cls, value: str) -> str:
        if not value.isascii() or value in '"\r\n\0':
            raise ValueError(
                "the separator must be one ASCII character, such as ; or a tab, and no quotation mark"
            )
        return value

    @field_validator("missing", mode="before")
    @classmethod
    def _missing_is_a_word_or_a_list(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if any(v is None or isinstance(v, list | tuple | Mapping) for v in value):
                raise ValueError(
                    'each spelling must be one value; put it in quotes, such as `missing: ["?"]`'
                )
            return value
        if not isinstance(value, str) or value not in cls.missing_words:
            listed = f"; a spelling that means missing goes into a list: `missing: {_flow([value])}`"
            raise ValueError(f"expected {' or '.join(cls.missing_words)}, not {value!r}{listed}")
        return value

    @field_validator("missing_rows", mode="before")
    @classmethod
    def _missing_rows_is_a_word(cls, value: Any) -> Any:
        if value is not None and value not in cls.missing_words:
            raise ValueError(f"expected {' or '.join(cls.missing_words)}, not {value!r}")
        return value

    @property
    def missing_spellings(self) -> tuple[str, ...]:
        """The spellings that mean "missing" in addition to the usual ones."""
        return () if isinstance(self.missing, str) else self.missing

    @property
    def refuses_missing(self) -> bool:
        """Whether a row with a missing value is an error; else it is left out and counted."""
        if isinstance(self.missing, str):
            return (self.missing_rows or self.missing) == "refuse"
        return self.missing_rows == "refuse"

    @model_validator(mode="after")
    def _roles_are_consistent(self) -> TabularConfig:
        for name, attribute in self.sensitive.items():
            if (attribute.column or name) in self.labels:
                raise ValueError(
                    f"the sensitive attribute {name!r} is the label, so an audit by it is meaningless; name another"
                )
            if name in RESERVED:
                raise ValueError(
                    f"a sensitive attribute cannot be called {name!r}, which the predictions table uses; give it "
                    f"another name: `my_{name}: {{column: {name}}}`"
                )
        if self.label_is is not None and self.more_labels:
            raise ValueError("`label_is: number` is for a single label; leave out `more_labels`")
        if len({self.label, *self.more_labels}) < 1 + len(self.more_labels):
            raise ValueError("`label` and `more_labels` name a column twice")
        if (self.label_is is not None or self.more_labels) and (
            self.classes or self.positive or self.positive_is
        ):
            raise ValueError(
                "`classes`, `positive` and `positive_is` are for a label of classes; leave them out"
            )
        if self.positive is not None and self.positive_is:
            raise ValueError("give either `positive` or `positive_is`")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` lists a class twice")
        for name in (*self.positive_is, *([] if self.positive is None else [self.positive])):
            if self.classes and resolve(name, self.classes) is None:
                raise ValueError(f"positive {name!r} is not among the classes {', '.join(self.classes)}")
        if both := set(self.missing_spellings) & set(self.not_missing):
            raise ValueError(f"{min(both)!r} is listed both under `missing` and under `not_missing`")
        if isinstance(self.missing, str) and self.missing_rows not in (None, self.missing):
            raise ValueError("`missing` and `missing_rows` contradict each other; leave one of them out")
        return self

    def absolute_options(self, *paths: str) -> dict[str, Any]:
        """Return the options, with these paths absolute, so that they load the data from any working directory."""
        given = self.model_dump(mode="json")
        return given | {
            name: str(Path(given[name]).expanduser().absolute()) for name in paths if given.get(name)
        }

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that are predicted: `label`, and `more_labels`."""
        return (self.label, *self.more_labels)

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return tuple(self.sensitive)

    def mentioned(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield the path of each option that names a column, and the column."""
        for role in ("label", "subject", "split"):
            if getattr(self, role) is not None:
                yield (role,), getattr(self, role)
        for i, name in enumerate(self.more_labels):
            yield ("more_labels", i), name
        for i, name in enumerate(self.not_subject):
            yield ("not_subject", i), name
        for i, (name, attribute) in enumerate(self.sensitive.items()):
            path = ("sensitive", name, "column") if attribute.column else ("sensitive", name, i)
            yield path, attribute.column or name


class Table(TabularConfig):
    """A CSV or Parquet file described by a few lines; what it has in common with images, see `TabularConfig`.

    Without a `subject` every row is its own subject.

    Attributes
    ----------
    features, all_but
        Either the columns a network reads, or those it does not read. The label, the subject, the split and
        the columns of sensitive attributes are read only where `features` lists them (never the first three).
    categorical
        Columns that hold numbers and are categories nevertheless, such as codes.
    """

    features: Values | None = None
    all_but: Values | None = None
    categorical: Values = ()

    @model_validator(mode="after")
    def _features_are_consistent(self) -> Table:
        if (self.features is None) == (self.all_but is None):
            raise ValueError("give either `features` or `all_but`")
        if self.features is not None:
            if not self.features:
                raise ValueError("`features` lists no column")
            if len(set(self.features)) < len(self.features):
                raise ValueError("`features` lists a column twice")
            for role in ("label", "subject", "split"):
                column = getattr(self, role)
                if column is not None and column in self.features:
                    raise ValueError(f"the {role} {column!r} is listed among the features; take it out")
            if both := set(self.more_labels) & set(self.features):
                raise ValueError(f"the label {min(both)!r} is listed among the features; take it out")
        return self

    def read_as_features(self, columns: list[str]) -> list[str]:
        """Return the columns a network reads, of those the file has, in order."""
        if self.features is not None:
            return list(self.features)
        apart = {*self.labels, self.subject, self.split, *(self.all_but or ())}
        apart |= {attribute.column or name for name, attribute in self.sensitive.items()}
        return [column for column in columns if column not in apart]
