"""CelebA: faces of celebrities with 40 binary attributes (Liu, Luo, Wang and Tang 2015, ICCV)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field, field_validator, model_validator

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.bundled.pictures import PictureOptions
from fairpress.datasets.dataset import Dataset, Part, Task
from fairpress.datasets.images.local_archives import find_folder, unpacked

HOME = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
TABLE, PARTITION, IDENTITY = "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"
IMAGES = "img_align_celeba"
# fmt: off
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)
# fmt: on
NOTES = (
    f"Source: CelebA, aligned and cropped faces, {HOME}; for non-commercial research only.",
    "The 40 attributes, sex among them, are what annotators saw in a picture; they are not what people say of themselves.",
    "The official split is used unless folds or a share of test rows are requested; subjects are CelebA's identities.",
)


class Celeba(PictureOptions):
    """Options of `celeba`.

    The pictures must not be passed on, so fairpress does not fetch them: put what CelebA's page offers where
    FAIRPRESS_DATA points, as ``celeba/``: list_attr_celeba.txt, list_eval_partition.txt, identity_CelebA.txt, and
    the folder img_align_celeba or the file img_align_celeba.zip.

    Attributes
    ----------
    target
        The label: one of the 40 attributes, or `sex`, which is CelebA's Male.
    sensitive
        Sensitive attributes among the 40, `sex` for Male; by default sex and Young, less the target.
    size
        Side of the square of pixels that a network reads.
    missing
        ``"refuse"``: a file that is not a complete image is an error; ``"skip"``: it is left out and counted.
    folder
        Where the files are.
    """

    target: str = "Smiling"
    sensitive: tuple[str, ...] | None = None
    size: int = Field(default=64, ge=8, le=178)

    @field_validator("target")
    @classmethod
    def _target(cls, value: str) -> str:
        return _canonical_attribute(value)

    @field_validator("sensitive")
    @classmethod
    def _sensitive(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(dict.fromkeys(map(_canonical_attribute, value)))

    @model_validator(mode="after")
    def _not_both(self) -> Celeba:
        if self.sensitive is not None and self.target in self.sensitive:
            raise ValueError(f"{self.target} is the label; it cannot be a sensitive attribute")
        return self

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        if self.sensitive is not None:
            return self.sensitive
        return tuple(name for name in ("sex", "Young") if name != self.target)

    def data_folder(self) -> Path:
        """Return the folder that holds the files. Raises UserError with instructions if there is none."""
        files = f"{IMAGES}.zip, {TABLE}, {PARTITION} and {IDENTITY}"
        instructions = f"get {files} at {HOME}, put them into a folder named celeba"
        return find_folder("CelebA", "celeba", self.folder, instructions)

    def read(self, on_message: OnMessage) -> Dataset:
        """Read tables and pictures and return the dataset; raises UserError where they are not CelebA's."""
        folder = self.data_folder()
        names, values = attribute_table(folder / TABLE)
        part = _column(folder / PARTITION, names, "0, 1 or 2")
        if not np.isin(part, (0, 1, 2)).all():
            raise UserError(
                f"{folder / PARTITION}: a picture's part is 0 (train), 1 (validation) or 2 (test); get the official file."
            )
        people = _column(folder / IDENTITY, names, "the number of a person")
        pictures = _pictures(folder, on_message)
        pixels, notes = self.decode(pictures, names, len(names), on_message)
        keep = pixels.rows
        parts: tuple[Part, ...] = ("train", "validation", "test")
        official = {which: np.flatnonzero(part[keep] == code) for code, which in enumerate(parts)}
        classes = _values(self.target)
        return assemble(
            name="celeba",
            task=Task(self.target, classes, classes[1]),
            inputs=pixels,
            labels=_class_indices(self.target, values[keep]),
            attributes={
                n: np.array(_values(n))[_class_indices(n, values[keep])] for n in self.attribute_names()
            },
            subjects=people[keep].astype(np.str_),
            row_ids=np.array(names, dtype=np.str_)[keep],
            options=self,
            official={which: rows for which, rows in official.items() if len(rows)},
            notes=(*NOTES, *notes),
            unprinted=("folder",),
        )


def attribute_table(file: Path) -> tuple[list[str], np.ndarray]:
    """Return file names and attributes, bool [files, 40], of CelebA's list_attr_celeba.txt.

    Raises
    ------
    UserError
        The file is absent or not in the official layout: the sentence names the line.
    """
    lines = _lines(file)
    if len(lines) < 3 or tuple(lines[1].split()) != ATTRIBUTES:
        raise UserError(
            f"{file}: line 2 must name CelebA's 40 attributes in their order; get the official file."
        )
    names: list[str] = []
    rows = np.empty((len(lines) - 2, len(ATTRIBUTES)), dtype=bool)
    for i, line in enumerate(lines[2:]):
        name, *values = line.split()
        if len(values) != len(ATTRIBUTES) or not {"1", "-1"}.issuperset(values):
            raise UserError(
                f"{file}, line {i + 3}: a file name and 40 values of 1 or -1 are expected; get the official file."
            )
        names.append(name)
        rows[i] = [v == "1" for v in values]
    if lines[0].strip() != str(len(names)):
        raise UserError(
            f"{file}: line 1 declares {lines[0].strip()} pictures, and {len(names)} follow; get it again."
        )
    return names, rows


def _column(file: Path, names: list[str], description: str) -> np.ndarray:
    """Return the number after each file name, int64 [files]."""
    number_of: dict[str, int] = {}
    for i, line in enumerate(_lines(file)):
        name, _, value = line.partition(" ")
        if not value.strip().isdigit():
            raise UserError(
                f"{file}, line {i + 1}: a file name and {description} are expected; get the official file."
            )
        number_of[name] = int(value)
    missing_name = next((name for name in names if name not in number_of), None)
    if missing_name is not None:
        raise UserError(f"{file} has no line for {missing_name!r}, which {TABLE} has; get the official file.")
    return np.array([number_of[name] for name in names], dtype=np.int64)


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise UserError(f"cannot read {file} ({reason}); get it at {HOME}.") from None


def _pictures(folder: Path, on_message: OnMessage) -> Path:
    """Return the folder of the pictures, unpacking the zip file if there is no folder."""
    if (folder / IMAGES).is_dir():
        return folder / IMAGES
    archive = folder / f"{IMAGES}.zip"
    if not archive.is_file():
        raise UserError(
            f"{folder} has neither a folder {IMAGES} nor {IMAGES}.zip; get the pictures at {HOME}."
        )
    unpacked_folder = unpacked(archive, on_message)
    return unpacked_folder / IMAGES if (unpacked_folder / IMAGES).is_dir() else unpacked_folder


def _canonical_attribute(name: str) -> str:
    if name in ("Male", "sex"):
        return "sex"
    if name not in ATTRIBUTES:
        raise ValueError(f"CelebA has no attribute {name!r}." + did_you_mean(name, (*ATTRIBUTES, "sex")))
    return name


def _values(name: str) -> tuple[str, str]:
    """Return the class names for absence and presence of an attribute; as elsewhere, Female is the positive class of sex."""
    return ("Male", "Female") if name == "sex" else (f"not {name}", name)


def _class_indices(name: str, values: np.ndarray) -> np.ndarray:
    """Return the class of each row, int64: an index into `_values`."""
    column = values[:, ATTRIBUTES.index("Male" if name == "sex" else name)]
    out: np.ndarray = (~column if name == "sex" else column).astype(np.int64)
    return out
