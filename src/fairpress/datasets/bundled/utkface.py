"""UTKFace: faces whose file names say age, sex and race (Zhang, Song and Qi 2017, CVPR)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.binning import binned
from fairpress.datasets.bundled.pictures import FaceOptions
from fairpress.datasets.dataset import Dataset, Task
from fairpress.datasets.images.local_archives import find_folder
from fairpress.datasets.images.messages import left_out_note

HOME = "https://susanqq.github.io/UTKFace/"
NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\..*", re.ASCII)
SEXES = ("Male", "Female")
RACES = ("White", "Black", "Asian", "Indian", "Others")
AGE_EDGES = (18, 30, 45, 60)
AGE_GROUPS = ("0-17", "18-29", "30-44", "45-59", "60+")
NOTES = (
    f"Source: UTKFace, aligned and cropped faces, {HOME}; for non-commercial research only.",
    "Age, sex and race were estimated by an algorithm from the picture and checked by an annotator; they are not what "
    "people say of themselves.",
    "The persons in the pictures are not known: one may be in several pictures, on both sides of the split. Files that "
    "are equal byte for byte are one subject.",
)


class Utkface(FaceOptions):
    """Options of `utkface`.

    The pictures must not be passed on, so fairpress does not fetch them: put them where FAIRPRESS_DATA points,
    as ``utkface/``, or name the folder. File names are ``age_sex_race_time.jpg``; others are left out and listed.

    Sensitive attributes: sex, race and age_group, less the one that is the target. `age_group` is 0-17, 18-29,
    30-44, 45-59, 60+: full age, and steps that leave every group some hundred test rows (decades would leave 78
    faces from 90 on among 16,000).

    Attributes
    ----------
    target
        The label. For `sex` the positive class is Female; the other two need a `positive` class.
    size
        Side of the square of pixels that a network reads.
    missing
        ``"refuse"``: a file that is not a complete image is an error; ``"skip"``: it is left out and counted.
    folder
        Where the pictures are; by default ``utkface/`` in the folder FAIRPRESS_DATA or in the cache.
    """

    size: int = Field(default=64, ge=8, le=200)

    def data_folder(self) -> Path:
        """Return the folder that holds the pictures. Raises UserError with instructions if there is none."""
        instructions = (
            f"get it at {HOME} (“Aligned & Cropped Faces”), unpack the .jpg files into a folder named utkface"
        )
        return find_folder("UTKFace", "utkface", self.folder, instructions)

    def read(self, on_message: OnMessage) -> Dataset:
        """Read the pictures and return the dataset; raises UserError when there are none."""
        folder = self.data_folder()
        names, people, odd = _parse_file_names(folder)
        pixels, notes = self.decode(folder, names, len(odd) + len(names), on_message)
        age, sex, race = people[pixels.rows].T
        columns = {
            "sex": np.array(SEXES)[sex],
            "race": np.array(RACES)[race],
            "age_group": binned(age, AGE_EDGES, AGE_GROUPS),
        }
        classes: Mapping[str, Sequence[str]] = {"sex": SEXES, "race": RACES, "age_group": AGE_GROUPS}
        task = Task(self.target, tuple(classes[self.target]), "Female" if self.target == "sex" else None)
        number = {name: i for i, name in enumerate(task.classes)}
        if odd:
            reason = "have names without age, sex and race"
            notes.insert(1, left_out_note(dict.fromkeys(odd), len(odd) + len(names), reason))
        return assemble(
            name="utkface",
            task=task,
            inputs=pixels,
            labels=np.array([number[v] for v in columns.pop(self.target).tolist()], dtype=np.int64),
            attributes=columns,
            subjects=pixels.digests,
            row_ids=np.array(names, dtype=np.str_)[pixels.rows],
            options=self,
            notes=(*NOTES, *notes),
            unprinted=("folder",),
        )


def _parse_file_names(folder: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """Return the files with valid names, their age, sex and race [files, 3], and the other images."""
    images = sorted(n for n in os.listdir(folder) if n.lower().endswith((".jpg", ".jpeg", ".png")))
    parsed = [(name, NAME.fullmatch(name)) for name in images]
    valid = [(name, match.groups()) for name, match in parsed if match]
    if not valid:
        raise UserError(
            f"{folder} holds no UTKFace pictures: {len(images)} images, none of them named age_sex_race_time.jpg; "
            "unpack the .jpg files directly into it."
        )
    numbers = np.array([[int(v) for v in groups] for _, groups in valid], dtype=np.int64)
    return [name for name, _ in valid], numbers, [name for name, match in parsed if not match]
