"""HateCheck: functional tests of hate-speech classifiers (Röttger et al. 2021, ACL)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.dataset import Dataset, Task
from fairpress.datasets.download.sources import SourceFile, find
from fairpress.datasets.splits import SplitOptions
from fairpress.datasets.texts.inputs import Texts

COMMIT = "d84302298ceeb34f4b0dde2d8a1f4932c2caa612"
FILE = SourceFile(
    path="hatecheck/test_suite_cases.csv",
    sha256="ecf0dc1e93fccc90b6f880e632b19e635c0f0a68b3157915a9e20b6938f121cf",
    address=f"https://raw.githubusercontent.com/paul-rottger/hatecheck-data/{COMMIT}/test_suite_cases.csv",
)
CLASSES = ("non-hateful", "hateful")
COLUMNS = ("case_id", "test_case", "label_gold", "target_ident", "functionality", "templ_id", "ref_templ_id")
NO_TARGET = "none"
NOTES = (
    "Source: HateCheck, test_suite_cases.csv (Röttger et al. 2021, doi:10.18653/v1/2021.acl-long.4) at commit "
    f"{COMMIT[:8]}, CC BY 4.0. The texts are offensive by purpose.",
    "HateCheck is a suite of tests written from templates: a model trained on its rows learns the templates, and its "
    "accuracy on the other rows is not accuracy on texts that people write.",
    "All texts of one functionality have one label, so that by functionality either only the false negative rate or only "
    "the false positive rate is defined.",
)


class Hatecheck(SplitOptions):
    """Options of `hatecheck`.

    All 3,728 texts; label hateful or non-hateful. Sensitive attributes: target, the group that a text is about ("none" for
    292 texts), and functionality, what a text tests. A subject is what `split` names: intervals by subject allow for the
    similarity of its texts.

    Attributes
    ----------
    split
        ``"template"``: texts of one template ("I hate [IDENTITY_P].") are in one part; templates that change a simpler one,
        such as its spelling, may be in another. ``"related"``: so are the texts of all templates that refer to each other.
    """

    files: ClassVar[tuple[SourceFile, ...]] = (FILE,)

    split: Literal["template", "related"] = "template"

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return ("target", "functionality")

    def read(self, on_message: OnMessage) -> Dataset:
        """Read the file and return the dataset; raises UserError when the file is nowhere."""
        columns = _columns(find(self.files, on_message)[0])
        templates = columns["templ_id"]
        related = _related(templates, columns["ref_templ_id"])
        count = (
            f"The {len(np.unique(templates)):,} templates make {len(np.unique(related)):,} sets of one template and its "
            "variations"
        )
        split_note = (
            f"{count}; a set may be in several parts, unless the option `split` is `related`."
            if self.split == "template"
            else f"{count}, each in one part."
        )
        return assemble(
            name="hatecheck",
            task=Task("label", CLASSES, "hateful"),
            inputs=Texts(columns["test_case"].tolist()),
            labels=(columns["label_gold"] == "hateful").astype(np.int64),
            attributes={
                "target": np.where(columns["target_ident"] == "", NO_TARGET, columns["target_ident"]),
                "functionality": columns["functionality"],
            },
            subjects=templates if self.split == "template" else related,
            row_ids=columns["case_id"],
            options=self,
            notes=(*NOTES, split_note),
        )


def _columns(path: Path) -> dict[str, np.ndarray]:
    """Return columns of the file as text [rows]."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    if not rows or any(row["label_gold"] not in CLASSES or not row["test_case"].strip() for row in rows):
        raise UserError(f"{path} is not HateCheck's test_suite_cases.csv; remove it to fetch it again.")
    return {name: np.array([row[name] for row in rows]) for name in COLUMNS}


def _related(templates: np.ndarray, simpler: np.ndarray) -> np.ndarray:
    """Return the set of related templates of each row, ``str`` [rows]: those connected by references, named by the first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, index = np.unique(np.concatenate([templates, simpler[simpler != ""]]), return_inverse=True)
    template, reference = index[: len(templates)], index[len(templates) :]
    links = coo_array(
        (np.ones(len(reference)), (template[simpler != ""], reference)), shape=(len(names),) * 2
    )
    component = connected_components(links, directed=False)[1][template]
    _, first, index = np.unique(component, return_index=True, return_inverse=True)
    return templates[first][index]
