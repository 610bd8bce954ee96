"""FairFace: faces balanced over seven race groups (Kärkkäinen and Joo 2021, WACV, arXiv 1908.04913)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from pydantic import Field

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.bundled.pictures import FaceOptions
from fairpress.datasets.dataset import Dataset, Part, Task
from fairpress.datasets.images.local_archives import find_folder

HOME = "https://github.com/joojs/fairface"
TRAIN, TEST = "fairface_label_train.csv", "fairface_label_val.csv"
CLASSES: dict[str, tuple[str, ...]] = {
    "sex": ("Male", "Female"),
    "race": (
        *("White", "Black", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"),
        "Latino_Hispanic",
    ),
    "age_group": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
}
COLUMNS = {"sex": "gender", "race": "race", "age_group": "age"}
NOTES = (
    f"Source: FairFace, {HOME}.",
    "Age, sex and race are what annotators saw in a picture; they are not what people say of themselves.",
    "The test rows are FairFace's validation list, unless folds or a share of test rows are requested. Files that are "
    "equal byte for byte are one subject.",
)


class Fairface(FaceOptions):
    """Options of `fairface`.

    fairpress does not fetch the pictures: put fairface_label_train.csv, fairface_label_val.csv and the folders
    train and val where FAIRPRESS_DATA points, as ``fairface/``.

    Attributes
    ----------
    target
        The label; the other two of sex, race and age_group are the sensitive attributes.
    size
        Side of the square of pixels that a network reads.
    missing
        ``"refuse"``: a file that is not a complete image is an error; ``"skip"``: it is left out and counted.
    folder
        Where the files are.
    """

    size: int = Field(default=64, ge=8, le=448)

    def data_folder(self) -> Path:
        """Return the folder that holds the files. Raises UserError with instructions if there is none."""
        instructions = (
            f"get the pictures, {TRAIN} and {TEST} at {HOME}, put them into a folder named fairface"
        )
        return find_folder("FairFace", "fairface", self.folder, instructions)

    def read(self, on_message: OnMessage) -> Dataset:
        """Read lists and pictures and return the dataset; raises UserError where they are not FairFace's."""
        folder = self.data_folder()
        train, test = _read_list(folder / TRAIN), _read_list(folder / TEST)
        people = {**train, **test}
        names = list(people)
        pixels, notes = self.decode(folder, names, len(names), on_message)
        readable_names = [names[i] for i in pixels.rows.tolist()]
        tested = np.array([name in test for name in readable_names], dtype=bool)
        # A picture that is in both lists, byte for byte, would be seen before it is tested.
        copied = ~tested & np.isin(pixels.digests, pixels.digests[tested])
        if copied.any():
            notes.append(
                f"{int(copied.sum()):,} pictures of the train list are in the test list too, and tested."
            )
        official: dict[Part, np.ndarray] = {
            "train": np.flatnonzero(~tested & ~copied),
            "test": np.flatnonzero(tested | copied),
        }
        columns = {
            name: np.array([people[n][COLUMNS[name]] for n in readable_names], dtype=np.str_)
            for name in CLASSES
        }
        classes = CLASSES[self.target]
        number = {name: i for i, name in enumerate(classes)}
        return assemble(
            name="fairface",
            task=Task(self.target, classes, "Female" if self.target == "sex" else None),
            inputs=pixels,
            labels=np.array([number[v] for v in columns.pop(self.target).tolist()], dtype=np.int64),
            attributes=columns,
            subjects=pixels.digests,
            row_ids=np.array(readable_names, dtype=np.str_),
            options=self,
            official=official,
            notes=(*NOTES, *notes),
            unprinted=("folder",),
        )


def _read_list(file: Path) -> dict[str, dict[str, str]]:
    """Return picture → its row of an official list. Raises UserError naming the first invalid line."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"cannot read {file} ({reason}); get it at {HOME}.") from None
    for i, row in enumerate(rows):
        bad_column = next((c for n, c in COLUMNS.items() if row.get(c) not in CLASSES[n]), None)
        if not row.get("file") or bad_column is not None:
            problem = (
                "no file"
                if bad_column is None
                else f"{bad_column} is {row.get(bad_column)!r}, which FairFace does not have"
            )
            raise UserError(f"{file}, line {i + 2}: {problem}; get the official list.")
    if not rows:
        raise UserError(f"{file} lists no pictures; get it at {HOME}.")
    return {row["file"]: row for row in rows}
