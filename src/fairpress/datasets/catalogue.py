"""What the shipped datasets are, and whether their files are on this machine; nothing is read or fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fairpress.core.errors import UserError
from fairpress.datasets.download.sources import is_present
from fairpress.datasets.registry import config_class, names

State = Literal["here", "fetched at first use", "by hand"]


@dataclass(frozen=True)
class Description:
    """A shipped dataset in a few words; docs/data-statements.md has its source and its known faults.

    `rows` is the number that fairpress reads, None where it depends on the pictures that are there. `license` is that which
    the source names.
    """

    title: str
    kind: Literal["table", "images", "texts"]
    rows: int | None
    label: str
    groups: tuple[str, ...]
    license: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A shipped dataset and whether its files are on this machine."""

    name: str
    description: Description
    state: State


_FACES = ("sex", "race", "age_group")
DESCRIPTIONS = {
    "adult": Description(
        "people in the US census of 1994",
        "table",
        48_842,
        "income above 50,000 dollars",
        ("sex", "race", "age_group"),
        "CC BY 4.0",
    ),
    "afrisenti": Description(
        "tweets in twelve African languages",
        "texts",
        106_828,
        "sentiment",
        ("language", "script"),
        "CC BY 4.0",
    ),
    "celeba": Description(
        "faces of celebrities",
        "images",
        None,
        "one of 40 attributes",
        ("any other attribute",),
        "non-commercial research",
    ),
    "compas": Description(
        "defendants in Broward County, Florida",
        "table",
        6_172,
        "re-arrest within two years",
        ("sex", "race", "age_group"),
        "public court records",
    ),
    "compas-intervals": Description(
        "the same by jail intervals, many rows a person",
        "table",
        15_201,
        "re-arrest",
        ("sex", "race", "age_group"),
        "public court records",
    ),
    "fairface": Description(
        "faces balanced by race", "images", None, "sex, race or age", _FACES, "see the source"
    ),
    "hatecheck": Description(
        "short texts from templates",
        "texts",
        3_728,
        "hateful or not",
        ("target", "functionality"),
        "CC BY 4.0",
    ),
    "utkface": Description(
        "faces of all ages",
        "images",
        None,
        "sex, race or age",
        _FACES,
        "non-commercial research",
    ),
}


def catalogue() -> list[CatalogueEntry]:
    """Return the shipped datasets by name, with the state of their files on this machine."""
    return [CatalogueEntry(name, DESCRIPTIONS[name], _state(name)) for name in names()]


def _state(name: str) -> State:
    config: Any = config_class(name)
    if hasattr(config, "data_folder"):
        try:
            folder = config().data_folder()
        except UserError:
            return "by hand"
        return "here" if Path(folder).is_dir() else "by hand"
    if all(is_present(file) for file in config.files):
        return "here"
    return "fetched at first use" if all(f.address or f.wheel for f in config.files) else "by hand"
