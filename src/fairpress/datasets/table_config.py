"""What the YAML of a user's own table may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fairpress.datasets.base import Dataset
from fairpress.datasets.groups import bin_names
from fairpress.datasets.sources import Say, SourceFile
from fairpress.datasets.splits import SplitOptions

# Columns that the predictions table has of its own.
RESERVED = ("row_id", "subject", "label", "seed", "fold")


def value_text(value: Any) -> Any:
    """Return a scalar as the text it has in a table: true, 1 for 1.0, yes; anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else value


Value = Annotated[str, BeforeValidator(value_text)]


class Attribute(BaseModel):
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

    column: str | None = None
    bins: tuple[float, ...] = ()
    names: tuple[Value, ...] = ()

    @model_validator(mode="after")
    def _bins_make_groups(self) -> Attribute:
        if list(self.bins) != sorted(set(self.bins)):
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


def _attributes(value: Any) -> Any:
    """Let ``[sex, race]`` stand for ``{sex: , race: }``, and nothing stand for the column of that name."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        value = dict.fromkeys(value)
    if isinstance(value, Mapping):
        return {k: {} if v is None else v for k, v in value.items()}
    return value


class Table(SplitOptions):
    """A CSV or Parquet file described by a few lines.

    Attributes
    ----------
    path
        The file, ``.csv`` or ``.parquet``; relative to the YAML file that names it.
    label, positive
        The column to be predicted, and the value of it that the rates speak of. With two values it must be
        said which; with more it may be left out.
    classes
        The values the label may have; another one is an error. By default all that occur.
    features, all_but
        Either the columns a network reads, or those it does not read. The label, the subject, the split and
        the columns of sensitive attributes are read only where `features` lists them (never the first three).
    categorical
        Columns that hold numbers and are categories nevertheless, such as codes.
    sensitive
        Names of columns, or name → ``{column, bins, names}``.
    subject
        The column that says who a row is about; without it every row is somebody else.
    split
        A column with ``train``, ``calibration``, ``validation`` or ``test`` in each row; parts that do not
        occur are carved from train.
    missing
        ``"refuse"``: a missing feature or label is an error; ``"drop"``: its row is left out and counted. A
        missing sensitive attribute is a group of its own in either case.
    separator
        What separates the columns of a CSV file.
    """

    files: ClassVar[tuple[SourceFile, ...]] = ()

    path: str = Field(min_length=1)
    label: str
    positive: Value | None = None
    classes: tuple[Value, ...] = ()
    features: tuple[str, ...] | None = None
    all_but: tuple[str, ...] | None = None
    categorical: tuple[str, ...] = ()
    sensitive: Annotated[dict[str, Attribute], BeforeValidator(_attributes)] = Field(min_length=1)
    subject: str | None = None
    split: str | None = None
    missing: Literal["refuse", "drop"] = "refuse"
    separator: str = Field(default=",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Table:
        if (self.features is None) == (self.all_but is None):
            raise ValueError("say either `features` or `all_but`")
        if self.features is not None:
            if not self.features:
                raise ValueError("`features` lists no column")
            for role in ("label", "subject", "split"):
                column = getattr(self, role)
                if column is not None and column in self.features:
                    raise ValueError(f"the {role} {column!r} is listed among the features; take it out")
        for name, attribute in self.sensitive.items():
            if (attribute.column or name) == self.label:
                raise ValueError(
                    f"the sensitive attribute {name!r} is the label; an audit by it says nothing"
                )
            if name in RESERVED:
                raise ValueError(
                    f"a sensitive attribute cannot be called {name!r}, which the predictions table uses; give it "
                    f"another name: `my_{name}: {{column: {name}}}`"
                )
        if self.positive is not None and self.classes and self.positive not in self.classes:
            raise ValueError(f"positive {self.positive!r} is not among the classes {', '.join(self.classes)}")
        return self

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return tuple(self.sensitive)

    def read(self, say: Say) -> Dataset:
        """Read the file and return the dataset; raises UserError saying what is wrong in it."""
        from fairpress.datasets.table import load_options

        return load_options(self)

    def read_as_features(self, columns: list[str]) -> list[str]:
        """Return the columns a network reads, of those the file has, in order."""
        if self.features is not None:
            return list(self.features)
        apart = {self.label, self.subject, self.split, *(self.all_but or ())}
        apart |= {attribute.column or name for name, attribute in self.sensitive.items()}
        return [column for column in columns if column not in apart]
