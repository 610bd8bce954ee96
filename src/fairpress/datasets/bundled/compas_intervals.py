"""COMPAS by jail intervals: the file in which one person has many rows, as "Beyond Size and Accuracy" used it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.binning import age_groups
from fairpress.datasets.bundled.compas import COUNTS, SEXES
from fairpress.datasets.bundled.csv_text import header, text_columns
from fairpress.datasets.dataset import Dataset, Task
from fairpress.datasets.download.sources import SourceFile, find
from fairpress.datasets.features import Encoder
from fairpress.datasets.splits import SplitOptions

ROWS = 18_316
TWO_RACES = ("African-American", "Caucasian")
CHARGES = ("F", "M", "O")
SCORES = ("Low", "Medium", "High", "N/A", "")
DATES = ("c_jail_in", "c_jail_out", "screening_date")
USUAL_FILTER = ("sex", "age", *COUNTS, "c_charge_degree", "race", "is_recid")
NO_FILTER = (
    *("decile_score", "v_decile_score", "score_text", "v_score_text"),
    *("days_b_screening_arrest", "c_days_from_compas", "c_charge_desc", *DATES),
)
OUTCOME = (
    "is_violent_recid",
    "event",
    "r_charge_degree",
    "r_days_from_arrest",
    "r_offense_date",
    "vr_offense_date",
)
FEATURES = (*USUAL_FILTER, *NO_FILTER, *OUTCOME)


def _is_original(path: Path) -> bool:
    """Return whether a file is the original, whose sha256 is not known here: by its header and its number of rows."""
    names = header(path)
    if not set(FEATURES) <= set(names) or not ("person_id" in names or {"name", "dob"} <= set(names)):
        return False
    return len(text_columns(path, ("sex",))["sex"]) == ROWS


FILE = SourceFile(
    path="compas/cox-violent-parsed_filt.csv",
    sha256="99d93bbea76b331b7fc6cc46f11b48a38507eebdcb5d220744ac39916360308a",
    origin="the Kaggle dataset danofer/compass, whose file of that name is recognized by its header and 18,316 rows",
    alike=_is_original,
)
NOTES = (
    "Source: cox-violent-parsed_filt.csv, the jail intervals behind ProPublica's survival analysis; public court "
    "records of Broward County, Florida, screenings of 2013 and 2014. Names and birth dates are used for nothing but "
    "to recognize the same person.",
    "One person has as many rows as intervals in and out of jail, equal in every column but one; the label is the "
    "person's. People who were arrested again have more intervals, so that among rows the label yes is commoner than "
    "among people.",
    "The label is re-arrest on a new charge, which is not re-offending: arrests depend on policing too.",
)


class CompasIntervals(SplitOptions):
    """Options of `compas-intervals`.

    Label: `is_recid`, yes or no; rows where it is −1, unknown, are left out. Sensitive attributes: sex, race, age_group
    (<25, 25-45 with both ends, >45; the file's own `age_cat` puts 45 into "Greater than 45"). A subject is a
    person.

    Attributes
    ----------
    races
        ``"two"``: African-American and Caucasian, as in "Beyond Size and Accuracy" (Kamal and Talbert 2024);
        ``"all"``: all rows.
    split
        ``"person"``: no person is in two parts. ``"rows"``: rows are split regardless of the person, as in that paper;
        most test rows are then about people seen in training, which every report states.
    features
        ``"usual"``: the seven of `compas`. ``"careless"``: also what is known at screening and identifies people (the
        person's number, dates, scores, the charge in words, race); the paper does not list the columns it
        left out. ``"gives_outcome_away"``: also what was written down after a re-arrest (columns starting with
        ``r_`` and ``vr_``, `is_violent_recid`, `event`), which is the label in other words.
    race_input
        Let the network read race too; with careless features it does anyway.
    """

    files: ClassVar[tuple[SourceFile, ...]] = (FILE,)

    races: Literal["two", "all"] = "two"
    split: Literal["person", "rows"] = "person"
    features: Literal["usual", "careless", "gives_outcome_away"] = "usual"
    race_input: bool = False

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return ("sex", "race", "age_group")

    def read(self, on_message: OnMessage) -> Dataset:
        """Read the file and return the dataset; raises UserError when the file is nowhere."""
        path = find(self.files, on_message)[0]
        columns = dict(text_columns(path, FEATURES))
        columns["person"] = _people(path)
        columns["row"] = np.char.mod("%d", np.arange(1, len(columns["person"]) + 1))
        selected = np.isin(columns["race"], TWO_RACES) if self.races == "two" else np.ones(ROWS, dtype=bool)
        keep = selected & (columns["is_recid"] != "-1")
        unknown = int((selected & ~keep).sum())
        columns = {name: values[keep] for name, values in columns.items()}
        notes = [*NOTES, f"{unknown:,} rows are left out, whose outcome is unknown (is_recid −1)."]
        if self.races == "two":
            notes.append("Rows of African-American and Caucasian defendants only.")
        if self.features == "gives_outcome_away":
            notes.append(
                "The network reads columns written down after the outcome: its accuracy is that of copying."
            )
        if "person_id" not in header(path):
            notes.append(
                f"The file's sha256 is not known here; it was recognized by its header and {ROWS:,} rows."
            )
        return assemble(
            name="compas-intervals",
            task=Task("is_recid", ("no", "yes"), "yes"),
            inputs=self._inputs(columns),
            labels=(columns["is_recid"] == "1").astype(np.int64),
            attributes={
                "sex": columns["sex"],
                "race": columns["race"],
                "age_group": age_groups(columns["age"].astype(np.float32)),
            },
            subjects=columns["person"],
            row_ids=columns["row"],
            split_by=columns["row"] if self.split == "rows" else None,
            options=self,
            notes=tuple(notes),
        )

    def _inputs(self, columns: dict[str, np.ndarray]) -> Encoder:
        inputs = Encoder()
        inputs.number("age", _numbers(columns["age"]))
        inputs.category("sex", columns["sex"], SEXES)
        for name in COUNTS:
            inputs.number(name, _numbers(columns[name]))
        inputs.category("c_charge_degree", columns["c_charge_degree"], CHARGES)
        if self.race_input or self.features != "usual":
            inputs.category("race", columns["race"], np.unique(columns["race"]).tolist())
        if self.features != "usual":
            inputs.number("person", _numbers(columns["person"]))
            for name in ("decile_score", "v_decile_score", "days_b_screening_arrest", "c_days_from_compas"):
                inputs.number(name, _numbers(columns[name]))
            for name in DATES:
                inputs.number(name, _days(columns[name]))
            for name in ("score_text", "v_score_text"):
                inputs.category(name, columns[name], SCORES)
            # 478 texts, numbered in alphabetical order as a label encoder does.
            described = np.unique(columns["c_charge_desc"], return_inverse=True)[1]
            inputs.number("c_charge_desc", described.reshape(-1).astype(np.float32))
        if self.features == "gives_outcome_away":
            for name in ("is_violent_recid", "event", "r_days_from_arrest"):
                inputs.number(name, _numbers(columns[name]))
            for name in ("r_offense_date", "vr_offense_date"):
                inputs.number(name, _days(columns[name]))
            inputs.category("r_charge_degree", columns["r_charge_degree"], ("F", "M", "O"))
        return inputs


def _people(path: Path) -> np.ndarray:
    """Return the person of each row, [rows] text: numbers in the order in which people first appear."""
    if "person_id" in header(path):
        return text_columns(path, ("person_id",))["person_id"]
    named = text_columns(path, ("name", "dob"))
    person = np.char.add(np.char.add(named["name"], "\t"), named["dob"])
    _, first, index = np.unique(person, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return np.char.mod("%d", rank[index.reshape(-1)])


def _numbers(values: np.ndarray) -> np.ndarray:
    """Return text as numbers [rows]; nothing is 0."""
    return np.where(values == "", "0", values).astype(np.float32)


def _days(values: np.ndarray) -> np.ndarray:
    """Return dates, with or without a time, as days since 1 January 2013 [rows]; nothing is 0."""
    start = np.datetime64("2013-01-01T00:00:00")
    dates = np.where(values == "", str(start), np.char.replace(values, " ", "T")).astype("datetime64[s]")
    days: np.ndarray = ((dates - start) / np.timedelta64(1, "D")).astype(np.float32)
    return days
