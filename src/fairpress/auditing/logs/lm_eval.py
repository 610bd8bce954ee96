"""Logs of lm-evaluation-harness (``--log_samples``) as a table to audit.

The format is that of lm-eval 0.4: one line per item and filter, with the document, the answers, the value of each metric,
and hashes of document, prompt and target. Prompts and documents stay in the log; the table has identifiers, what models were
right about, and fields of documents that repeat, such as a category.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fairpress.auditing.logs.attribute_fields import Fields, candidate_fields, repeats
from fairpress.auditing.logs.item_outcomes import ItemOutcome
from fairpress.auditing.logs.lm_eval_files import ModelFiles, find_samples
from fairpress.auditing.logs.lm_eval_judged import judged_by
from fairpress.auditing.logs.lm_eval_metrics import choose_metric, metrics_of
from fairpress.auditing.logs.lm_eval_samples import SAME, LogHead, item_names, read_items
from fairpress.auditing.logs.log_options import RESERVED, model_paths, names_in
from fairpress.auditing.logs.pairing import ItemLog, check_unpaired, pair_items
from fairpress.auditing.logs.task_languages import task_languages
from fairpress.auditing.table_metadata import TableDescription
from fairpress.core.errors import UserError, listed
from fairpress.core.public_function import public_function

if TYPE_CHECKING:
    import pyarrow as pa


@public_function
def read_lm_eval(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    tasks: Sequence[str] | str = (),
    metric: str | None = None,
    filter: str | None = None,
    better: str | None = None,
    fields: Sequence[str] | str = (),
    unpaired: str = "refuse",
    same: Sequence[str] | str = tuple(SAME),
) -> pa.Table:
    """Return logs of lm-evaluation-harness as a table for `audit`.

    Columns: ``item``, ``task``, ``label``, one per model, ``language`` where the names of all tasks end in the code of one,
    and the fields of documents whose values repeat (``category``; ``doc.task`` where the name is taken).

    Parameters
    ----------
    models
        Model → the folder or ``samples_….jsonl`` that ``lm_eval --log_samples`` wrote; the first is the default baseline.
    tasks
        Tasks to read, names or patterns such as ``"xnli_*"``; by default all.
    metric
        The metric; by default ``acc``, or the only one. With ``acc`` and ``acc_norm`` of multiple choice, the classes are
        the answers that each model chose; with other values of 0 and 1, right and wrong; with numbers, the number.
    filter
        The filter of the answers, where a task has several.
    better
        ``"higher"`` or ``"lower"``, for a metric of which the log does not say it.
    fields
        Fields of documents to keep even if no value repeats, such as a person's id.
    unpaired
        Items that are missing on one side, occur twice, or are other ones: ``"refuse"``, or ``"drop"`` with a warning.
    same
        What must be the same for all models: ``"doc"``, ``"prompt"``, ``"target"``.

    Raises
    ------
    UserError
        Logs cannot be read or paired, or a choice is not obvious; the message says which.
    """
    check_unpaired(unpaired)
    required = names_in(same, SAME, "same")
    patterns = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    kept = (fields,) if isinstance(fields, str) else tuple(fields)
    sources = model_paths(models, "read_lm_eval")
    files = [find_samples(m, path, patterns) for m, path in sources.items()]
    files, warnings = _same_tasks(files, unpaired)
    heads = [LogHead.of(of_model) for of_model in files]
    name = choose_metric(_common_metrics(heads), metric)
    with_choices = all(head.multiple_choice for head in heads)
    columns = candidate_fields(
        (s["doc"] for s in heads[0].samples() if isinstance(s.get("doc"), Mapping)),
        kept,
        (*_reserved(files), *models),
        "doc.",
    )
    hashed = all(isinstance(s.get("prompt_hash"), str) for head in heads for s in head.samples())
    logs = [
        ItemLog(
            of_model.model,
            read_items(of_model, name, filter, columns if i == 0 else None, with_choices, hashed),
        )
        for i, of_model in enumerate(files)
    ]
    checks = {"doc_hash": SAME["doc"], "content": SAME["doc"]} if "doc" in required else {}
    checks |= {f"{part}_hash": SAME[part] for part in ("prompt", "target") if part in required}
    if "target" in required:
        checks["target"] = SAME["target"]
    paired = pair_items(logs, ("task", "doc_id"), checks, unpaired=unpaired, remedies=_remedies(required))
    outcome = judged_by(files, paired.tables, name, better, with_choices)
    warnings += [*paired.warnings, *_differences(files, required)]
    warnings += _same_answers([of_model.model for of_model in files], paired.tables)
    notes = [n for of_model in files for n in of_model.notes]
    notes += [*_metric_note(name, metric, heads), *outcome.notes, *_sampled(heads)]
    return _table(files, sources, paired.tables, outcome, columns, "doc_id" in kept, warnings, notes)


def _reserved(files: Sequence[ModelFiles]) -> list[str]:
    """Return the names of columns that fields of documents cannot have; those of languages only where there are any."""
    without = () if task_languages([f.task for f in files[0].tasks]) else ("language", "doc_id")
    return [name for name in RESERVED if name not in without]


def _same_tasks(files: Sequence[ModelFiles], unpaired: str) -> tuple[list[ModelFiles], list[str]]:
    """Return the files of the tasks that all models have, and a warning about the others."""
    names = [{f.task for f in of_model.tasks} for of_model in files]
    common = set.intersection(*names)
    absent = [
        f"{of_model.model} has no {listed(sorted(set.union(*names) - present), 4)}"
        for of_model, present in zip(files, names, strict=True)
        if set.union(*names) - present
    ]
    if not absent:
        return list(files), []
    if not common:
        raise UserError(f"the logs have no task in common: {'; '.join(absent)}. Are these the right folders?")
    if unpaired == "refuse":
        raise UserError(
            f"the models were not evaluated on the same tasks: {'; '.join(absent)}; evaluate all of them, choose tasks with "
            "`tasks=`, or leave the others out with `unpaired='drop'`."
        )
    kept = [ModelFiles(x.model, tuple(f for f in x.tasks if f.task in common), x.notes) for x in files]
    return kept, [f"Tasks that not all models have are left out: {'; '.join(absent)}."]


def _common_metrics(heads: Sequence[LogHead]) -> dict[str, list[str]]:
    """Return for each task the metrics that every model's log has."""
    by_task = {}
    for task in heads[0].by_task:
        names = [{m for s in head.by_task[task] for m in metrics_of(s)} for head in heads]
        first = [m for s in heads[0].by_task[task] for m in metrics_of(s)]
        by_task[task] = [m for m in dict.fromkeys(first) if all(m in n for n in names)]
    return by_task


def _remedies(required: Sequence[str]) -> dict[str, str]:
    rest = [part for part in required if part != "prompt"]
    return {"prompt_hash": f"; or, where prompts differ on purpose, ask for less with `same={rest!r}`"}


def _same_answers(models: Sequence[str], tables: Sequence[pa.Table]) -> Iterator[str]:
    """Yield a warning about a model whose log-likelihoods are those of the first model: it may be the same model."""
    first = tables[0]
    if "answers" not in first.column_names or first["answers"].null_count:
        return
    for model, table in zip(models[1:], tables[1:], strict=True):
        if table["answers"].equals(first["answers"]):
            yield (
                f"Every log-likelihood of {model} is that of {models[0]}, to the last digit: check that two models were "
                "evaluated, and not one twice."
            )


def _metric_note(name: str, requested: str | None, heads: Sequence[LogHead]) -> list[str]:
    others = sorted({m for head in heads for s in head.samples() for m in metrics_of(s)} - {name})
    if requested is not None or not others:
        return []
    return [f"The metric is {name}; logs have {listed(others, 5)}, too (`metric={others[0]!r}`)."]


def _sampled(heads: Sequence[LogHead]) -> list[str]:
    tasks = sorted({task for head in heads for task in head.sampled()})
    if not tasks:
        return []
    return [
        f"The answers of {listed(tasks, 4)} were drawn at random (do_sample), so that some flips are chance and not the "
        "model's; a second run of the baseline shows how many."
    ]


def _differences(files: Sequence[ModelFiles], required: Sequence[str]) -> Iterator[str]:
    """Yield warnings about what was not compared, and about runs of other versions."""
    left = [part for part in SAME if part not in required]
    if left:
        yield f"Not required to be the same for all models: {', '.join(left)}."
    versions = {
        x.model: sorted(
            {str(f.results["lm_eval_version"]) for f in x.tasks if "lm_eval_version" in f.results}
        )
        for x in files
    }
    if len({tuple(v) for v in versions.values() if v}) > 1:
        described = ", ".join(f"{'/'.join(v)} for {m}" for m, v in versions.items() if v)
        yield f"The logs are of several versions of lm-eval ({described}), which may compute a metric in several ways."
    for file in files[0].tasks:
        of_task = {x.model: _version(x, file.task) for x in files}
        if len({v for v in of_task.values() if v is not None}) > 1:
            described = ", ".join(f"{v} for {m}" for m, v in of_task.items())
            yield f"The task {file.task} has several versions: {described}."


def _version(files: ModelFiles, task: str) -> str | None:
    file = next(f for f in files.tasks if f.task == task)
    versions = file.results.get("versions")
    return str(versions[task]) if isinstance(versions, Mapping) and task in versions else None


def _table(
    files: Sequence[ModelFiles],
    sources: Mapping[str, str],
    tables: Sequence[pa.Table],
    outcome: ItemOutcome,
    fields: Fields,
    with_doc_id: bool,
    warnings: Sequence[str],
    notes: Sequence[str],
) -> pa.Table:
    """Return the table of the paired items, with its description."""
    import pyarrow as pa

    first, notes = tables[0], list(notes)
    if outcome.rows is not None:
        first = first.take(outcome.rows)
    columns: dict[str, Any] = {"item": item_names(first), "task": first["task"]}
    tasks = [f.task for f in files[0].tasks]
    languages = task_languages(tasks)
    if languages is not None:
        encoded = first["task"].combine_chunks().dictionary_encode()
        of_tasks = pa.array([languages.by_task[t] for t in encoded.dictionary.to_pylist()])
        columns["language"] = of_tasks.take(encoded.indices)
        families = listed([f"{family}_…" for family in languages.families], 4)
        notes.append(f"Languages are the last part of the names of the tasks {families}.")
        if _parallel(first):
            notes.append(
                "The tasks have the same doc_ids. Where items are translations of each other, the item is the unit of every "
                "interval: `subject='doc_id'`."
            )
    if languages is not None or with_doc_id:
        columns["doc_id"] = first["doc_id"]
    columns |= outcome.columns
    for name in fields.columns:
        column = first[f"field {name}"].combine_chunks()
        if name in fields.requested or repeats(column):
            columns[name] = column
    description = TableDescription(
        tuple(of_model.model for of_model in files),
        outcome.classes,
        outcome.positive,
        None if outcome.rows is None else "item",
        outcome.outcome,
        sources,
        tuple(warnings),
        tuple(notes),
    )
    return pa.table(columns).replace_schema_metadata(dict(description.metadata()))


def _parallel(table: pa.Table) -> bool:
    """Return whether tasks share their doc_ids: no task has one that the largest lacks, as far as numbers can tell."""
    import pyarrow.compute as pc

    largest = pc.max(pc.value_counts(table["task"]).field("counts")).as_py()
    return bool(largest == len(pc.unique(table["doc_id"])) < table.num_rows)
