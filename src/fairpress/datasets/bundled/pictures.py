"""What the bundled datasets of pictures have in common: options, and the pictures that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fairpress.core.progress import OnMessage
from fairpress.datasets.download.sources import SourceFile
from fairpress.datasets.images.cache import decode_all
from fairpress.datasets.images.messages import left_out_note, prepared_note, refuse_unreadable
from fairpress.datasets.splits import SplitOptions

if TYPE_CHECKING:
    from fairpress.datasets.images.cache import Pixels


class PictureOptions(SplitOptions):
    """Options of a dataset of pictures that may not be redistributed; its class describes them."""

    files: ClassVar[tuple[SourceFile, ...]] = ()

    size: int = Field(default=64, ge=8)
    missing: Literal["refuse", "skip"] = "refuse"
    folder: str | None = None

    def decode(
        self, folder: Path, names: list[str], total: int, on_message: OnMessage
    ) -> tuple[Pixels, list[str]]:
        """Return the pictures that can be read, and notes on how they are read and which of `total` are left out.

        Raises UserError if some cannot be read and `missing` is ``"refuse"``.
        """
        pixels = decode_all(folder, names, self.size, on_message)
        if self.missing == "refuse":
            refuse_unreadable(str(folder), pixels.unreadable, len(names), "or load it with missing='skip'")
        notes = [prepared_note(self.size)]
        if pixels.unreadable:
            notes.append(left_out_note(pixels.unreadable, total, "cannot be read"))
        return pixels, notes


class FaceOptions(PictureOptions):
    """Options of a dataset of faces whose label is one of sex, race and age_group; the others are sensitive attributes."""

    target: Literal["sex", "race", "age_group"] = "sex"

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return tuple(name for name in ("sex", "race", "age_group") if name != self.target)
