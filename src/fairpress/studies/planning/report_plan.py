"""Plan the sections of a study's report and the tasks that compute them, given the finished tasks. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fairpress.core.code_digest import code_digest
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.claim_tasks import claims_params
from fairpress.studies.planning.dataset_facts import DataFacts
from fairpress.studies.planning.matrix import ReportPart
from fairpress.studies.planning.plan import StudyPlan, StudyTask, make_task
from fairpress.studies.planning.select import Filter

About = Literal["compressed", "counterpart", "placebo", "naive", "contrast"]
Seeds = tuple[int, ...]


@dataclass(frozen=True)
class ReportSection:
    """One audit of the report: its heading, an introductory sentence, its part, and the task that computes it."""

    title: str
    intro: str
    about: About
    part: ReportPart
    task: StudyTask

    @property
    def is_compression(self) -> bool:
        """Return whether it is about compression, so that its verdicts apply; contrasts and naive predictors are not."""
        return self.about in ("compressed", "counterpart", "placebo")


@dataclass(frozen=True)
class ReportPlan:
    """The tasks of a report.

    Attributes
    ----------
    tables
        Label of a part → tasks that join its predictions: first on the seeds of its baseline, then on fewer seeds, for
        models that lack some.
    tradeoff
        Computes the section "Size, accuracy, bias" (`tradeoff.tradeoff`), if the config requests it.
    claims
        Tests the study's claims, if it has any.
    """

    tasks: tuple[StudyTask, ...]
    sections: tuple[ReportSection, ...]
    tables: Mapping[str, Sequence[StudyTask]]
    tradeoff: StudyTask | None = None
    claims: StudyTask | None = None

    @property
    def needed(self) -> list[str]:
        """Return the keys of the results that the report reads."""
        extra = [task.key for task in (self.tradeoff, self.claims) if task is not None]
        return [
            *(s.task.key for s in self.sections),
            *(t.key for tasks in self.tables.values() for t in tasks),
            *extra,
        ]


def plan_report(
    config: StudyConfig,
    plan: StudyPlan,
    data: Mapping[str, DataFacts],
    selection: Filter,
    undone: Collection[str] = (),
) -> ReportPlan:
    """Plan the report.

    Parameters
    ----------
    data
        Label of a dataset → its facts.
    selection
        The trials to report.
    undone
        Keys of tasks without a result. A model is reported on the seeds for which all networks are complete; models
        with different seeds get separate sections, whose headings name the seeds.
    """
    return _ReportPlanner(config, plan, data, selection, undone).report()


def _about_placebo(recipe: str) -> str:
    if "method=" not in recipe:
        return (
            f"{recipe} fine-tunes; its placebo had the same fine-tuning without compression. Differences in this section "
            "are due to compression alone."
        )
    control = "its multipliers held at 0" if "method=fairalm" in recipe else "without the constraint"
    return (
        f"{recipe} fine-tunes under a constraint; its placebo had the same fine-tuning, {control}, and no compression. "
        "Differences in this section are due to the constraint and to compression together."
    )


class _ReportPlanner:
    def __init__(
        self,
        config: StudyConfig,
        plan: StudyPlan,
        data: Mapping[str, DataFacts],
        selection: Filter,
        undone: Collection[str],
    ) -> None:
        self.config, self.plan, self.data = config, plan, data
        self.selection, self.undone = selection, set(undone)
        self.tasks: dict[str, StudyTask] = {}
        self.tables: dict[str, list[StudyTask]] = {}

    def report(self) -> ReportPlan:
        sections = [section for part in self.plan.parts for section in self._part(part)]
        sections += [
            section for pair in self.config.contrasts for section in self._contrast(pair.of, pair.against)
        ]
        tradeoff, claims = self._tradeoff(), self._claims()
        return ReportPlan(tuple(self.tasks.values()), tuple(sections), self.tables, tradeoff, claims)

    def _claims(self) -> StudyTask | None:
        """Return the task that tests the claims, each on the seeds for which all its networks are complete."""
        if not self.config.claims or not self.tables:
            return None
        params, inputs = claims_params(self.config, self.plan, self.data, self._complete, self._table)
        params["code"] = [code_digest(f"fairpress.{p}") for p in ("auditing", "studies.analysis")]
        return self._registered(make_task("claims", "claims", params, inputs))

    def _tradeoff(self) -> StudyTask | None:
        """Return the task that compares size, accuracy and bias, on the seeds with a complete baseline."""
        request = self.config.size_accuracy_bias
        if request is None or "" not in self.tables:
            return None
        (part,) = self.plan.parts
        params = {
            "by": list(part.by),
            "groups": {k: list(v) for k, v in request.groups.items()},
            "positive": self.data[part.dataset].positive,
            "confidence": self.config.audit.confidence,
            "repeated": self.data[part.dataset].repeated,
            "placebo_of": dict(self.plan.placebo_of),
            "naive": list(self.plan.naive),
            "code": [code_digest(f"fairpress.{package}") for package in ("auditing", "studies")],
        }
        return self._registered(
            make_task("tradeoff", "size, accuracy, bias", params, (self.tables[""][0].key,))
        )

    def _part(self, part: ReportPart) -> Iterator[ReportSection]:
        baseline_seeds = self._complete(part, BASELINE)
        if not baseline_seeds:
            return
        self._table(part, baseline_seeds)
        # Checkpoints are points of a curve, not compressed models: they appear only in "Size, accuracy, bias".
        has_curve = self.config.size_accuracy_bias is not None
        reported_recipes = [r for r in self.plan.recipes if not (has_curve and r.startswith("checkpoint"))]
        seeds_of = {r: self._common(baseline_seeds, part, r) for r in reported_recipes}
        recipes_of: dict[Seeds, list[str]] = {}
        for recipe, seeds in seeds_of.items():
            if seeds:
                recipes_of.setdefault(seeds, []).append(recipe)
        for seeds, recipes in (recipes_of or {baseline_seeds: []}).items():
            yield self._section(
                part,
                "compressed",
                "Compressed against the baseline" if recipes else "The baseline",
                f"Each compressed network compared with its baseline ({BASELINE}), on people outside the training data."
                if not self.data[part.dataset].warnings
                else f"Each compressed network compared with its baseline ({BASELINE}), on rows many of which are about "
                "people in the training data.",
                (BASELINE, recipes),
                seeds,
            )
        for recipe, plain in self.plan.plain_of.items():
            if recipe not in seeds_of or plain == BASELINE:  # the first section compares it
                continue
            seeds = tuple(s for s in seeds_of[recipe] if s in self._complete(part, plain))
            if seeds:
                yield self._section(
                    part,
                    "counterpart",
                    f"{recipe} against {plain}",
                    f"{recipe} is {plain} with a fairness step. Differences in this section are the effect and the cost of "
                    "that step.",
                    (plain, [recipe]),
                    seeds,
                )
        for recipe, placebo in self.plan.placebo_of.items():
            if recipe not in seeds_of:
                continue
            seeds = tuple(s for s in seeds_of[recipe] if s in self._complete(part, placebo))
            if seeds:
                yield self._section(
                    part,
                    "placebo",
                    f"{recipe} against its placebo",
                    _about_placebo(recipe),
                    (placebo, [recipe]),
                    seeds,
                )
        for name in self.plan.naive:
            seeds = self._common(baseline_seeds, part, name)
            if seeds:
                yield self._section(
                    part,
                    "naive",
                    f"The baseline against {name}",
                    f"{name} needs no network: where {BASELINE} is less accurate, learning brings no gain.",
                    (name, [BASELINE]),
                    seeds,
                )

    def _section(
        self,
        part: ReportPart,
        about: About,
        title: str,
        intro: str,
        models: tuple[str, Sequence[str]],
        seeds: Seeds,
    ) -> ReportSection:
        table = self._table(part, seeds)
        missing = len(seeds) < len({s for s, _ in self.selection.networks(part)})
        title = " · ".join(filter(None, [part.label, title]))
        if missing:
            title += f" (seeds {', '.join(str(s - part.offset) for s in seeds)} only)"
        return ReportSection(title, intro, about, part, self._audit(part, title, table, *models, seeds))

    def _table(self, part: ReportPart, seeds: Seeds) -> StudyTask:
        """Return the task that joins all models of a part that are complete on the seeds."""
        models = [m for m in self.plan.models if set(seeds) <= set(self._complete(part, m))]
        task = self._join([(m, m, part) for m in models], seeds, part, "same", part.label)
        tasks = self.tables.setdefault(part.label, [])
        if task not in tasks:
            tasks.append(task)
        return task

    def _contrast(self, label: str, against: str) -> Iterator[ReportSection]:
        for part in self.plan.parts:
            for reference in self.plan.parts:
                names = {(part.dataset, reference.dataset), (part.model, reference.model)}
                differ = [pair for pair in names if pair[0] != pair[1]]
                if differ != [(label, against)] or part.attribute != reference.attribute:
                    continue
                seeds = self._common(self._complete(part, BASELINE), reference, BASELINE)
                if not seeds:
                    continue
                columns = [(against, BASELINE, reference), (label, BASELINE, part)]
                table = self._join(columns, seeds, part, "common", f"{label}, {against}")
                title = " · ".join(filter(None, [part.attribute, f"The baseline: {label} against {against}"]))
                yield ReportSection(
                    title,
                    f"The {BASELINE} networks of {label} compared with those of {against} on the same rows: a loss in this "
                    f"section is the advantage of {against} over {label}.",
                    "contrast",
                    part,
                    self._audit(part, title, table, against, [label], seeds),
                )

    def _join(
        self,
        columns: Sequence[tuple[str, str, ReportPart]],
        seeds: Seeds,
        part: ReportPart,
        rows: str,
        label: str,
    ) -> StudyTask:
        inputs: list[str] = []
        listed: list[list[Any]] = []
        for name, model, source in columns:
            keys = [t.key for t in self.plan.predictions(model, source.label) if t.key not in self.undone]
            listed.append([name, model, list(range(len(inputs), len(inputs) + len(keys)))])
            inputs += keys
        networks = [list(n) for n in self.selection.networks(part) if n[0] in seeds]
        params = {"columns": listed, "networks": networks, "rows": rows}
        return self._registered(make_task("join", "predictions", params, inputs, (), label))

    def _audit(
        self,
        part: ReportPart,
        title: str,
        table: StudyTask,
        baseline: str,
        compressed: Sequence[str],
        seeds: Seeds,
    ) -> StudyTask:
        data = self.data[part.dataset]
        params = {
            "audit": {
                "baseline": baseline,
                "compressed": list(compressed),
                "by": list(part.by),
                "positive": data.positive,
                "harm": self.config.audit.harm,
                "margin": self.config.audit.margin,
                "confidence": self.config.audit.confidence,
                "seed_column": "seed" if len(seeds) > 1 else None,
                "subject": "subject" if data.repeated else None,
            },
            # An audit is cheap: it is recomputed after any change of its code.
            "code": [code_digest(f"fairpress.{package}") for package in ("core", "auditing", "reporting")],
        }
        return self._registered(make_task("audit", title, params, (table.key,)))

    def _registered(self, task: StudyTask) -> StudyTask:
        return self.tasks.setdefault(task.key, task)

    def _complete(self, part: ReportPart, model: str) -> Seeds:
        """Return the seeds for which all selected networks have predictions, in every cell of the part."""
        networks = self.selection.networks(part)
        tasks = self.plan.predictions(model, part.label)
        if not tasks:
            return ()
        missing = {n for t in tasks if t.key in self.undone for n in t.networks}
        incomplete = {seed for seed, fold in networks if (seed, fold) in missing}
        return tuple(dict.fromkeys(seed for seed, _ in networks if seed not in incomplete))

    def _common(self, seeds: Seeds, part: ReportPart, model: str) -> Seeds:
        complete = set(self._complete(part, model))
        return tuple(s for s in seeds if s in complete)
