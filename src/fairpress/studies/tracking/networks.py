"""The networks of a finished study with the parameters, metrics and files for a tracker. Nothing is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from fairpress.auditing.audit_table import audit_table
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.output.audit_json import to_dict
from fairpress.auditing.result import Audit
from fairpress.core.canonical_json import canonical_json, digest
from fairpress.core.card_content import Share, first_problem
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.core.json_file import read_json
from fairpress.reporting.formatting import size
from fairpress.reporting.model_card import model_card
from fairpress.studies.config.network_facts import StudyNetwork
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.planning.matrix import SEED_STRIDE
from fairpress.studies.planning.select import parse_filter
from fairpress.studies.report.manifest import REMEDY, STUDY, StudyManifest, read_study
from fairpress.studies.report.write_folder import slug

RATES = ("accuracy", "tpr", "fpr", "selection_rate")
Content = TypeVar("Content")
MAX_NAME_LENGTH = 250
ALLOWED_CHARACTERS = re.compile(r"[^\w\-. :]")
REPLACEMENTS = {"<": "below ", ">": "above ", "/": "-", ",": " "}


@dataclass(frozen=True)
class NetworkTrial:
    """One network of a study, as exported to a tracker.

    Attributes
    ----------
    key
        sha256 over study, data, position in the study, and file: the same whenever the same trial is exported.
    params, tags
        Short texts.
    metrics
        Rates, losses and gaps with the bounds of their intervals and n, as far as they are estimable.
    files
        Name → content.
    """

    key: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study: its name, title, key and files, and its networks, which are audited lazily."""

    name: str
    title: str
    key: str
    files: Mapping[str, Path]
    manifest: StudyManifest
    facts: Sequence[StudyNetwork]
    audits: Mapping[str, _AuditSettings]
    folder: Path
    data: str

    @property
    def keys(self) -> list[str]:
        """Return the key of each network."""
        return [self._key(fact) for fact in self.facts]

    def trials(self, exclude: frozenset[str] = frozenset()) -> Iterator[NetworkTrial]:
        """Return all networks except those of the keys in `exclude`; networks of a seed and fold are audited together."""
        batches: dict[tuple[Any, ...], list[StudyNetwork]] = {}
        for fact in self.facts:
            if self._key(fact) not in exclude:
                group = tuple(sorted(fact.group.items()))
                batches.setdefault((fact.part, fact.seed, fact.fold, group), []).append(fact)
        for (part, seed, fold, group), facts in batches.items():
            result = self._audit(part, seed, fold, dict(group), [f.recipe for f in facts])
            for fact in facts:
                yield self._trial(fact, result)

    def _key(self, fact: StudyNetwork) -> str:
        identity = fact.model_dump(include={"part", "recipe", "seed", "fold", "sha256"})
        return digest({"study": self.key, **identity, "group": fact.group or None})

    def _trial(self, fact: StudyNetwork, batch_audit: Audit | None) -> NetworkTrial:
        seed = fact.seed % SEED_STRIDE
        params = {
            "dataset": fact.dataset,
            "model": fact.model,
            "recipe": fact.recipe,
            "seed": str(seed),
            "fold": str(fact.fold),
            **({"part": fact.part} if fact.part else {}),
            **{f"group {k}": v for k, v in fact.group.items()},
        }
        metrics = {"bytes": float(fact.bytes), "gzip_bytes": float(fact.gzip_bytes)}
        tags = {"fairpress.recipe": fact.recipe, "fairpress.sha256": fact.sha256}
        files = {"network.json": json.dumps(fact.to_dict(), indent=1).encode()}
        if batch_audit is None or fact.recipe not in {m.name for m in batch_audit.models}:
            tags["fairpress.verdict"] = "not audited: its predictions are not in the study's folder"
        else:
            network_audit = audit_of_model(batch_audit, fact.recipe)
            metrics |= metrics_of(network_audit)
            if network_audit.comparisons:
                tags["fairpress.verdict"] = network_audit.comparisons[0].verdict
            card_facts = {"recipe": fact.recipe, "file": size(fact.bytes)}
            files["audit.json"] = json.dumps(to_dict(network_audit), indent=1, allow_nan=False).encode()
            files["model_card.md"] = model_card(
                network_audit, fact.recipe, dataset=fact.dataset, facts=card_facts
            ).encode()
        group = ", ".join(f"{k} {v}" for k, v in fact.group.items())
        name = ", ".join(filter(None, [fact.part, fact.recipe, f"seed {seed}, fold {fact.fold}", group]))
        return NetworkTrial(self._key(fact), name, params, metrics, tags, files)

    def _audit(
        self, part: str, seed: int, fold: int, group: Mapping[str, str], recipes: Sequence[str]
    ) -> Audit | None:
        """Audit the networks of a seed and fold against the baseline of the same seed and fold, on their test rows."""
        import pyarrow.parquet as pq

        single = self.folder / "predictions.parquet"
        path = single if single.is_file() else self.folder / "predictions" / f"{slug(part)}.parquet"
        settings = next((a for a in self.audits.values() if a.part == part), None)
        if settings is None or not path.is_file():
            return None
        filters = [("seed", "=", seed), ("fold", "=", fold), *((k, "=", v) for k, v in group.items())]
        columns = pq.read_schema(path).names
        models = {c.removesuffix(".score") for c in columns if c.endswith(".score")} | {BASELINE}
        present = [r for r in dict.fromkeys([BASELINE, *recipes]) if r in columns]
        selected = [c for c in columns if c in present or not (c in models or _score(c, models))]
        table = pq.read_table(path, columns=selected, filters=filters)
        if not table.num_rows or BASELINE not in present:
            return None
        options = AuditOptions(
            baseline=BASELINE,
            compressed=present[1:],
            by=settings.attributes,
            positive=settings.positive,
            margin=settings.margin,
            confidence=settings.confidence,
            subject="subject" if settings.subjects else None,
        )
        return audit_table(table, options)


def read_finished_study(folder: Path, only: Sequence[str] = ()) -> FinishedStudy:
    """Read a finished study's folder.

    Parameters
    ----------
    only
        Filters, as for a run; see `parse_filter`.

    Raises
    ------
    UserError
        The folder is not a study's or contains no networks, or a filter matches none.
    """
    manifest = read_study(folder)
    selection = parse_filter(only, manifest.config)
    study = _json(folder / STUDY)
    facts = []
    for fact in _parsed(folder / "models.json", list[StudyNetwork]):
        values = fact.model_dump(include={"dataset", "model", "recipe", "fold"})
        if all(selection.passes(k, v) for k, v in {**values, "seed": fact.seed % SEED_STRIDE}.items()):
            facts.append(fact)
    if not facts:
        cause = f"matches `only={' '.join(only)!r}`" if only else "is listed in models.json"
        raise UserError(f"{folder}: no network of this study {cause}.")
    names = ("report.html", "audit.json", "bias.json", "claims.json", "tradeoff.json", "models.json", STUDY)
    files = {name: folder / name for name in names if (folder / name).is_file()}
    data = str(study.get("data", ""))
    key = digest({"study": canonical_json(json.loads(study["study"])), "data": data})
    title = manifest.config.title or manifest.name
    return FinishedStudy(
        manifest.name,
        title,
        key,
        files,
        manifest,
        facts,
        _parsed(folder / "audit.json", dict[str, _AuditSettings]),
        folder,
        data,
    )


def audit_of_model(result: Audit, name: str) -> Audit:
    """Return the audit of one model; its numbers do not change, since each artifact is a family of its own."""
    return replace(
        result,
        models=tuple(m for m in result.models if m.name in (result.baseline, name)),
        fairness=tuple(f for f in result.fairness if f.model in (result.baseline, name)),
        comparisons=tuple(c for c in result.comparisons if c.compressed == name),
    )


def metrics_of(result: Audit) -> dict[str, float]:
    """Return the numbers of an audit of one model under names valid in a tracker.

    ``accuracy``, ``accuracy/sex: Female``, ``loss/accuracy/sex: Female``, ``gap/sex/equal_opportunity_difference``,
    each with the suffixes ``.low``, ``.high`` and ``.n``.
    """
    name = result.comparisons[0].compressed if result.comparisons else result.baseline
    metrics: dict[str, float] = {}
    model = next(m for m in result.models if m.name == name)
    for rates in (model.overall, *model.groups):
        for rate in RATES:
            if rate in rates.rates:
                _add(metrics, [rate, *_group(rates.values)], rates.rates[rate])
    for fairness in result.fairness:
        if fairness.model == name:
            _add(metrics, ["gap", fairness.attribute, fairness.metric], fairness.estimate)
    for compared in result.comparisons:
        for group in (compared.overall, *(g for a in compared.attributes for g in a.groups)):
            for loss in group.losses:
                _add(metrics, ["loss", loss.metric, *_group(group.values)], loss.estimate)
    return metrics


def _add(metrics: dict[str, float], parts: Sequence[str], estimate: Estimate) -> None:
    if estimate.value is None:
        return
    name = "/".join(metric_name(p) for p in parts)[: MAX_NAME_LENGTH - 10]
    while name in metrics:  # two groups whose names differ only in replaced characters
        name += "_"
    values = {"": estimate.value, ".low": estimate.low, ".high": estimate.high, ".n": estimate.n}
    metrics.update({f"{name}{end}": float(v) for end, v in values.items() if v is not None})


def metric_name(text: str) -> str:
    """Return a text in the characters that MLflow allows in a metric's name."""
    for sign, word in REPLACEMENTS.items():
        text = text.replace(sign, word)
    return re.sub(" +", " ", ALLOWED_CHARACTERS.sub(lambda m: f"_{ord(m[0]):x}_", text)).strip(" .") or "_"


def _group(values: Mapping[str, str]) -> list[str]:
    return [" and ".join(f"{k}: {v}" for k, v in values.items())] if values else []


def _score(column: str, models: set[str]) -> bool:
    return any(column.startswith(f"{m}.score") for m in models)


class _AuditSettings(BaseModel):
    """The fields of an audit in audit.json that are needed to recompute it."""

    model_config = ConfigDict(strict=True)

    part: str
    attributes: list[str]
    positive: str | None
    margin: Share
    confidence: Share
    subjects: int | None


def _parsed(path: Path, kind: type[Content]) -> Content:
    """Return the content of a study's file; raise UserError if it is damaged."""
    try:
        return TypeAdapter(kind).validate_python(_json(path))
    except ValidationError as error:
        problem = first_problem(error)
        raise UserError(
            f"{path} is damaged, or of another version of fairpress ({problem}); {REMEDY}."
        ) from None


def _json(path: Path) -> Any:
    return read_json(path, f"a study's {path.name}", remedy=REMEDY)
