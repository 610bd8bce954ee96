"""The studies that ship with fairpress, in a few facts each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fairpress.studies.load import bundled_studies, load


@dataclass(frozen=True)
class BundledStudy:
    """A shipped study: its question, the names of its datasets and models, and how many seeds and folds it has."""

    name: str
    title: str
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: int
    folds: int
    recipes: tuple[str, ...]
    networks: int

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self)


def catalogue() -> list[BundledStudy]:
    """Return the shipped studies by name.

    `networks` counts the baselines: variants of data × models × seeds × folds; each is compressed by every recipe.
    """
    studies = []
    for name in bundled_studies():
        _, config = load(name)
        seeds, folds = len(config.seeds), config.folds
        studies.append(
            BundledStudy(
                name,
                config.title or name,
                tuple(dict.fromkeys(d.name for d in config.all_datasets.values())),
                tuple(dict.fromkeys(m.name for m in config.all_models.values())),
                seeds,
                folds,
                tuple(map(str, config.recipes)),
                len(config.all_datasets) * len(config.all_models) * seeds * folds,
            )
        )
    return studies
