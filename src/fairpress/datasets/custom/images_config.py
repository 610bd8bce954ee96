"""The YAML schema of a user's images."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from fairpress.datasets.custom.table_config import TabularConfig, Value


class Images(TabularConfig):
    """Image files and a CSV or Parquet file with a row for each; what it has in common with tables, see `TabularConfig`.

    Without a `subject` every image is its own subject; files that are equal byte for byte share one.

    Attributes
    ----------
    image
        The column that holds each image's path, relative to `folder`. Each image has one row.
    folder
        Where the images are, relative to the YAML file; by default the folder of the table.
    size
        Side of the square of pixels that a network reads.

    With `missing` (or `missing_rows`) ``"refuse"``, a missing label and a file that is absent, truncated or
    not an image are errors; with ``"skip"`` such rows are left out and counted.
    """

    missing_words: ClassVar[tuple[str, str]] = ("refuse", "skip")

    image: Value
    folder: str | None = None
    size: int = Field(default=64, ge=8, le=1024)

    @model_validator(mode="after")
    def _image_is_a_column_of_its_own(self) -> Images:
        for role in ("label", "subject", "split"):
            if getattr(self, role) == self.image:
                raise ValueError(f"`image` and `{role}` name the same column {self.image!r}")
        if self.image in self.more_labels:
            raise ValueError(f"`image` and `more_labels` name the same column {self.image!r}")
        return self
