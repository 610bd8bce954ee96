"""The YAML schema of a user's texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from fairpress.datasets.custom.table_config import AttributeConfig, TabularConfig, Values, named_attributes


class TextTable(TabularConfig):
    """A CSV, TSV, JSONL or Parquet file with a column of texts; what it has in common with tables, see `TabularConfig`.

    Without a `subject` every different text is its own subject: rows with equal texts stay in one part.

    Attributes
    ----------
    text
        The column that holds the text, or several, which are joined by line breaks.
    sensitive
        As in `TabularConfig`; may be left out where nothing is to be audited.
    """

    text: Values = Field(min_length=1)
    sensitive: Annotated[dict[str, AttributeConfig], BeforeValidator(named_attributes)] = Field(
        default_factory=dict
    )

    @model_validator(mode="before")
    @classmethod
    def _reads_texts_only(cls, values: Any) -> Any:
        other = ("features", "all_but", "categorical", "image", "folder", "size")
        mixed = [key for key in other if isinstance(values, Mapping) and key in values]
        if mixed:
            raise ValueError(
                f"a model of texts reads `text` alone, and `{mixed[0]}` belongs to "
                f"{'images' if mixed[0] in ('image', 'folder', 'size') else 'tables'}; leave one of them out"
            )
        return values

    @model_validator(mode="after")
    def _text_is_a_column_of_its_own(self) -> TextTable:
        if self.label_is is not None or self.more_labels:
            raise ValueError("models of texts are classifiers here; leave out `label_is` and `more_labels`")
        if len(set(self.text)) < len(self.text):
            raise ValueError("`text` lists a column twice")
        for role in ("label", "subject", "split"):
            if getattr(self, role) in self.text:
                raise ValueError(f"`text` and `{role}` name the same column {getattr(self, role)!r}")
        for name, attribute in self.sensitive.items():
            if (attribute.column or name) in self.text:
                raise ValueError(f"the sensitive attribute {name!r} is the text; name a column of groups")
        return self

    def mentioned(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield the path of each option that names a column, and the column."""
        yield from super().mentioned()
        for i, name in enumerate(self.text):
            yield ("text", i), name
