"""Prepare a study from its config, for running it and for showing its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairpress.core.errors import UserError, did_you_mean
from fairpress.store.local import Store
from fairpress.studies.config.study import DatasetChoice, StudyConfig
from fairpress.studies.planning.dataset_facts import DataFacts, data_facts
from fairpress.studies.planning.plan import StudyPlan, StudyTask, plan_study
from fairpress.studies.planning.report_plan import ReportPlan, plan_report
from fairpress.studies.planning.select import Filter, parse_filter, select


@dataclass(frozen=True)
class PreparedStudy:
    """A planned study: the tasks of its predictions and of its report, and the facts of its datasets.

    `data` maps a dataset's label to the facts of its fold 0; `filter_texts` are the filters as written.
    """

    config: StudyConfig
    selection: Filter
    data: Mapping[str, DataFacts]
    plan: StudyPlan
    report: ReportPlan
    filter_texts: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[StudyTask, ...]:
        """Return all tasks, inputs before their readers."""
        return (*self.plan.tasks, *self.report.tasks)


def prepare(
    config: StudyConfig, store: Store, only: Sequence[str] = (), *, remember: bool = True
) -> PreparedStudy:
    """Plan a study on the available data.

    Parameters
    ----------
    only
        Filters; see `parse_filter`.
    remember
        Cache the facts of the datasets in the store.

    Raises
    ------
    UserError
        The data is missing or lacks an attribute, or a filter matches nothing.
    """
    selection = parse_filter(only, config)
    facts: dict[tuple[str, int], DataFacts] = {}

    def facts_of(dataset: DatasetChoice, fold: int) -> DataFacts:
        key = (dataset.model_dump_json(), fold)
        if key not in facts:
            facts[key] = data_facts(store, dataset, config.folds, fold, remember=remember)
        return facts[key]

    data = {label: facts_of(dataset, 0) for label, dataset in config.all_datasets.items()}
    _check_attributes(config, data)
    _check_harm(config, data)
    plan = select(
        plan_study(
            config, lambda d, fold: facts_of(d, fold).fingerprint, lambda d, a: facts_of(d, 0).groups[a]
        ),
        selection,
    )
    return PreparedStudy(
        config, selection, data, plan, plan_report(config, plan, data, selection), tuple(only)
    )


def _check_attributes(config: StudyConfig, data: Mapping[str, DataFacts]) -> None:
    """Raise UserError listing all attributes that are absent from the data."""
    wrong = [
        f"{label!r} has no sensitive attribute {attribute!r}." + did_you_mean(attribute, data[label].groups)
        for label, dataset in config.all_datasets.items()
        for by in dataset.by or config.audit.by
        for attribute in by.split("*")
        if attribute not in data[label].groups
    ]
    if wrong:
        raise UserError("\n".join(dict.fromkeys(wrong)))


def _check_harm(config: StudyConfig, data: Mapping[str, DataFacts]) -> None:
    """Raise UserError if an error that needs a positive class decides, and a dataset has none."""
    lacking = [label for label, facts in data.items() if facts.positive is None]
    if config.audit.harm != "error" and lacking:
        raise UserError(
            f"`audit.harm: {config.audit.harm}` needs a positive class, and {', '.join(map(repr, lacking))} has none; use "
            "`harm: error`."
        )
