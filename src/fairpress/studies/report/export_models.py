"""Export networks of a finished study as model folders, for deployment, benchmarks or further compression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.runtime.artifact import check_target
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
    """Exported model folders, and the networks without a result in the store."""

    folders: tuple[Path, ...]
    absent: tuple[str, ...] = ()


@dataclass
class _Network:
    """One network: the task of its predictions, its index in that task's batch, and the parts of its name."""

    task: StudyTask
    index: int
    parts: dict[str, str] = field(default_factory=dict)


def export(
    folder: Path, out: Path, *, only: Sequence[str] = (), store: str | Path | None = None, force: bool = False
) -> ExportedModels:
    """Write the selected networks of a study, each into its own model folder below `out`.

    A folder is named by recipe, and by dataset, model, seed and fold if more than one of these is selected: ``int8``,
    ``int8-seed-3``.

    Parameters
    ----------
    folder
        The folder written by `run_study`.
    only
        Filters, as for a run; by default those of the run.
    store
        The store with the results; by default ``.store`` next to the folder.
    force
        Whether to replace existing model folders.

    Raises
    ------
    UserError
        The folder is not a study's, a filter matches nothing, no selected network is in the store, or something other
        than a model folder exists at a target. Then nothing is written.
    """
    manifest = read_study(folder)
    results = study_store(folder, store)
    study = prepare(manifest.config, results, only or manifest.only, remember=False)
    selected = [
        network
        for part in study.plan.parts
        for model in study.plan.models
        if study.selection.passes("recipe", model)
        for network in _networks(
            study.plan.predictions(model, part.label), part, study.selection.networks(part)
        )
    ]
    available = [c for c in selected if results.has(c.task.inputs[0])]
    if not available:
        raise missing_study_error(folder, manifest, results)
    names = _names(selected)
    targets = [(c, out / names[id(c)]) for c in available]
    for _, target in targets:
        check_target(target, inputs=[folder], force=force)
    for network, target in targets:
        _write(results, network, target, force)
    absent = tuple(names[id(c)] for c in selected if c not in available)
    return ExportedModels(tuple(target for _, target in targets), absent)


def _networks(
    tasks: Sequence[StudyTask], part: ReportPart, networks: Sequence[SeedFold]
) -> Iterator[_Network]:
    for task in tasks:
        if task.kind != "predict":  # a predictor without a network has no file
            continue
        for index, (seed, fold) in enumerate(task.networks):
            if (seed, fold) in networks:
                group = task.params["dataset"].get("group") or {}
                name_parts = {
                    "recipe": task.recipe,
                    "part": part.label,
                    "group": " ".join(group.values()),
                    "seed": f"seed {seed - part.offset}",
                    "fold": f"fold {fold}",
                }
                yield _Network(task, index, name_parts)


def _names(selected: Sequence[_Network]) -> dict[int, str]:
    """Return a folder name for each network: its recipe, and the other parts that differ between networks."""
    varying = [
        key
        for key in ("part", "group", "seed", "fold")
        if len({network.parts[key] for network in selected}) > 1
    ]
    names = {id(c): slug(" ".join(c.parts[key] for key in ("recipe", *varying))) for c in selected}
    if len(set(names.values())) < len(names):
        raise UserError("two of the selected networks would get the same folder; select fewer with `only=`.")
    return names


def _write(store: Store, network: _Network, target: Path, force: bool) -> None:
    task = network.task
    artifact = read_artifacts(store, task.inputs[0])[network.index]
    repair: dict[str, Any] | None = task.params.get("mitigation")
    if repair is not None:
        from fairpress.runtime.mitigate import apply_mitigation

        seed, fold = task.networks[network.index]
        artifact = apply_mitigation(artifact, load_fold(task.params["dataset"], fold), seed=seed, **repair)
    artifact.save(target, force=force)
