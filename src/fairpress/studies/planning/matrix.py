"""The cells of a study: the networks trained on each dataset, and the parts in which they are reported. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fairpress.core.errors import UserError
from fairpress.studies.config.study import DatasetChoice, ModelChoice, StudyConfig

SeedFold = tuple[int, int]
"""(seed, fold)."""

# Offset between the seeds of one attribute's networks and the next, if each attribute has separate networks.
SEED_STRIDE = 100_000

Groups = Callable[[DatasetChoice, str], Sequence[str]]
"""Dataset, sensitive attribute → its groups."""


@dataclass(frozen=True)
class MatrixCell:
    """One dataset, or one group of its rows, with one architecture.

    Attributes
    ----------
    networks
        (seed, fold) of every network.
    group
        Attribute → value, if the networks use the rows of one group only; empty means all rows.
    """

    dataset: DatasetChoice
    model: ModelChoice
    networks: tuple[SeedFold, ...]
    group: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportPart:
    """A part of a study that is reported together: one cell, or the cells of all groups of one attribute.

    Attributes
    ----------
    names
        What distinguishes it in the study, of dataset, model and attribute; empty if there is only one part.
    dataset, model
        Labels.
    attribute
        The attribute with separate networks; None if all attributes share them.
    by
        The sensitive attributes by which it is audited.
    offset
        Difference between its seeds and those of the config.
    """

    names: tuple[str, ...]
    dataset: str
    model: str
    attribute: str | None
    by: tuple[str, ...]
    cells: tuple[MatrixCell, ...]
    offset: int = 0

    @property
    def label(self) -> str:
        """Return its name in the study, for display and as a key; empty if there is only one part."""
        return ", ".join(self.names)

    @property
    def networks(self) -> tuple[SeedFold, ...]:
        """Return (seed, fold) of the networks, the same in each cell."""
        return self.cells[0].networks if self.cells else ()

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of part, dataset and model, as in audit.json and models.json."""
        return {"part": self.label, "dataset": self.dataset, "model": self.model}


def parts(config: StudyConfig, groups: Groups) -> list[ReportPart]:
    """Return the parts in reporting order: datasets, within them models, within them attributes."""
    return [
        part
        for dataset in config.all_datasets
        for model in config.all_models
        for part in _parts(config, dataset, model, groups)
    ]


def _parts(config: StudyConfig, dataset: str, model: str, groups: Groups) -> list[ReportPart]:
    data, architecture = config.all_datasets[dataset], config.all_models[model]
    by = data.by or config.audit.by
    names = [dataset] if len(config.all_datasets) > 1 else []
    names += [model] if len(config.all_models) > 1 else []

    def networks(offset: int) -> tuple[SeedFold, ...]:
        return tuple((seed + offset, fold) for seed in config.seeds for fold in range(config.folds))

    if not (config.per_attribute or config.per_group):
        cell = MatrixCell(data, architecture, networks(0))
        return [ReportPart(tuple(names), dataset, model, None, by, (cell,))]
    report_parts = []
    for i, attribute in enumerate(by):
        if config.per_attribute:
            offset = i * SEED_STRIDE
            cells = [MatrixCell(data, architecture, networks(offset))]
        else:
            offset = 0
            if "*" in attribute:
                raise UserError(
                    f"`per_group` takes single attributes, not the intersection {attribute!r}; remove it from `audit.by`."
                )
            cells = [
                MatrixCell(data, architecture, networks(0), {attribute: group})
                for group in groups(data, attribute)
            ]
        report_parts.append(
            ReportPart((*names, attribute), dataset, model, attribute, (attribute,), tuple(cells), offset)
        )
    return report_parts
