"""Write networks of a finished study as model folders, to be shipped, timed, mitigated or compressed further."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.runtime.artifact import refuse_taken
from fairpress.store.local import Store
from fairpress.studies.execution.tasks import read_artifacts
from fairpress.studies.planning.folds import load_fold
from fairpress.studies.planning.matrix import ReportPart, SeedFold
from fairpress.studies.planning.plan import StudyTask
from fairpress.studies.planning.prepare import prepare
from fairpress.studies.report.manifest import missing_study_error, read_study, study_store
from fairpress.studies.report.write_folder import slug


@dataclass(frozen=True)
class ExportedModels:
    """Model folders that were written, and the networks that have no result in the store."""

    folders: tuple[Path, ...]
    absent: tuple[str, ...] = ()


@dataclass
class _Chosen:
    """One network: the task that made its predictions, its place in that task's batch, what tells it from others."""

    task: StudyTask
    at: int
    parts: dict[str, str] = field(default_factory=dict)


def export(
    folder: Path, out: Path, *, only: Sequence[str] = (), store: str | Path | None = None, force: bool = False
) -> ExportedModels:
    """Write the chosen networks of a study, each into a model folder of its own below `out`.

    A folder is named by its recipe, and by dataset, model, seed and fold where more than one of these was chosen:
    ``int8``, ``int8-seed-3``.

    Parameters
    ----------
    folder
        What `run_study` wrote.
    only
        Filters, as for a run; those of the run itself when there are none.
    store
        Where the results are; ``.store`` beside the folder by default.
    force
        Whether model folders that are there may be replaced.

    Raises
    ------
    UserError
        No such study, a filter matches nothing, no chosen network is in the store, or something that is no model
        folder stands where one would be written. Then nothing is written.
    """
    told = read_study(folder)
    place = study_store(folder, store)
    ready = prepare(told.config, place, only or told.only, remember=False)
    chosen = [
        network
        for part in ready.layout.parts
        for model in ready.layout.models
        if ready.only.passes("recipe", model)
        for network in _networks(ready.layout.predictions(model, part.label), part, ready.only.networks(part))
    ]
    there = [c for c in chosen if place.has(c.task.inputs[0])]
    if not there:
        raise missing_study_error(folder, told, place)
    names = _names(chosen)
    wanted = [(c, out / names[id(c)]) for c in there]
    for _, target in wanted:
        refuse_taken(target, inputs=[folder], force=force)
    for network, target in wanted:
        _write(place, network, target, force)
    absent = tuple(names[id(c)] for c in chosen if c not in there)
    return ExportedModels(tuple(target for _, target in wanted), absent)


def _networks(tasks: Sequence[StudyTask], part: ReportPart, wanted: Sequence[SeedFold]) -> Iterator[_Chosen]:
    for task in tasks:
        if task.kind != "predict":  # a predictor without a network has no file
            continue
        for at, (seed, fold) in enumerate(task.networks):
            if (seed, fold) in wanted:
                group = task.params["dataset"].get("group") or {}
                told = {
                    "recipe": task.recipe,
                    "part": part.label,
                    "group": " ".join(group.values()),
                    "seed": f"seed {seed - part.offset}",
                    "fold": f"fold {fold}",
                }
                yield _Chosen(task, at, told)


def _names(chosen: Sequence[_Chosen]) -> dict[int, str]:
    """Return a folder's name for each network: its recipe, and whatever else tells networks apart."""
    varying = [
        key
        for key in ("part", "group", "seed", "fold")
        if len({network.parts[key] for network in chosen}) > 1
    ]
    names = {id(c): slug(" ".join(c.parts[key] for key in ("recipe", *varying))) for c in chosen}
    if len(set(names.values())) < len(names):
        raise UserError("two of the chosen networks would have one folder; choose fewer with --only.")
    return names


def _write(place: Store, network: _Chosen, target: Path, force: bool) -> None:
    task = network.task
    artifact = read_artifacts(place, task.inputs[0])[network.at]
    repair: dict[str, Any] | None = task.params.get("mitigation")
    if repair is not None:
        from fairpress.runtime.mitigate import apply_mitigation

        seed, fold = task.networks[network.at]
        artifact = apply_mitigation(artifact, load_fold(task.params["dataset"], fold), seed=seed, **repair)
    artifact.save(target, force=force)
