"""What the YAML of a user's own images may say."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from fairpress.datasets.custom.table_config import TabularConfig, Value


class Images(TabularConfig):
    """Image files and a CSV or Parquet file with a row for each; what it has in common with tables, see `TabularConfig`.

    Without a `subject` every image is somebody else, files that are equal byte for byte excepted.

    Attributes
    ----------
    image
        The column that holds each image's path, relative to `folder`. Each image stands in one row.
    folder
        Where the images are, relative to the YAML file; by default the folder of the table.
    size
        Side of the square of pixels that a network reads.

    With `missing` (or `missing_rows`) ``"refuse"``, an image that is absent, truncated or no image, or a missing
    label, is an
    error; with ``"skip"`` its row is left out and counted.
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
        return self
