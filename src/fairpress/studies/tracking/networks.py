"""The networks of a finished study, each with what a tracker keeps of it: parameters, metrics, files. Nothing is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fairpress.auditing.audit import audit
from fairpress.auditing.output.audit_json import to_dict
from fairpress.auditing.result import Audit
from fairpress.core.canonical_json import canonical_json, digest
from fairpress.core.card_content import Count, Share, problem_of
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.core.json_file import read_json
from fairpress.reporting.formatting import size
from fairpress.reporting.model_card import model_card
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.matrix import STRIDE
from fairpress.studies.planning.select import parse_filter
from fairpress.studies.report.manifest import REMEDY, STUDY, StudyManifest, read_study
from fairpress.studies.report.write_folder import slug

RATES = ("accuracy", "tpr", "fpr", "selection_rate")
MAX_NAME_LENGTH = 250
ALLOWED_CHARACTERS = re.compile(r"[^\w\-. :]")
WORDS = {"<": "below ", ">": "above ", "/": "-", ",": " "}


@dataclass(frozen=True)
class NetworkTrial:
    """One network.

    Attributes
    ----------
    key
        sha256 over study, data, place in the study, and file: the same whenever the same trial is told.
    params, tags
        Short texts.
    metrics
        Rates, losses, gaps with the bounds of their intervals and n; what is not estimable is not among them.
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
class TrackedNetwork:
    """A finished study: its name, title and key, its files, and its networks, which are audited as they are asked for."""

    name: str
    title: str
    key: str
    files: Mapping[str, Path]
    told: StudyManifest
    facts: Sequence[Mapping[str, Any]]
    audits: Mapping[str, Any]
    folder: Path
    data: str

    @property
    def keys(self) -> list[str]:
        """Return the key of each network."""
        return [self._key(fact) for fact in self.facts]

    def trials(self, but: frozenset[str] = frozenset()) -> Iterator[NetworkTrial]:
        """Return every network but those of some keys; networks of one seed and fold are audited together."""
        together: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for fact in self.facts:
            if self._key(fact) not in but:
                group = tuple(sorted((fact.get("group") or {}).items()))
                together.setdefault((fact["part"], fact["seed"], fact["fold"], group), []).append(fact)
        for (part, seed, fold, group), facts in together.items():
            found = self._audit(part, seed, fold, dict(group), [f["recipe"] for f in facts])
            for fact in facts:
                yield self._trial(fact, found)

    def _key(self, fact: Mapping[str, Any]) -> str:
        place = {k: fact.get(k) for k in ("part", "recipe", "seed", "fold", "group", "sha256")}
        return digest({"study": self.key, **place})

    def _trial(self, fact: Mapping[str, Any], found: Audit | None) -> NetworkTrial:
        dataset, model = labels(self.told.config, fact["part"])
        seed = fact["seed"] % STRIDE
        params = {
            "dataset": dataset,
            "model": model,
            "recipe": fact["recipe"],
            "seed": str(seed),
            "fold": str(fact["fold"]),
            **({"part": fact["part"]} if fact["part"] else {}),
            **{f"group {k}": v for k, v in (fact.get("group") or {}).items()},
        }
        metrics = {k: float(fact[k]) for k in ("bytes", "gzip_bytes") if k in fact}
        tags = {"fairpress.recipe": fact["recipe"], "fairpress.sha256": str(fact.get("sha256", ""))}
        files = {"network.json": json.dumps(dict(fact), indent=1).encode()}
        if found is None or fact["recipe"] not in {m.name for m in found.models}:
            tags["fairpress.verdict"] = "not audited: its predictions are not in the study's folder"
        else:
            own = only_model(found, fact["recipe"])
            metrics |= metrics_of(own)
            if own.comparisons:
                tags["fairpress.verdict"] = own.comparisons[0].verdict
            told = {"recipe": fact["recipe"], "file": size(fact["bytes"])}
            files["audit.json"] = json.dumps(to_dict(own), indent=1, allow_nan=False).encode()
            files["model_card.md"] = model_card(own, fact["recipe"], dataset=dataset, facts=told).encode()
        where = ", ".join(f"{k} {v}" for k, v in (fact.get("group") or {}).items())
        name = ", ".join(
            filter(None, [fact["part"], fact["recipe"], f"seed {seed}, fold {fact['fold']}", where])
        )
        return NetworkTrial(self._key(fact), name, params, metrics, tags, files)

    def _audit(
        self, part: str, seed: int, fold: int, group: Mapping[str, str], recipes: Sequence[str]
    ) -> Audit | None:
        """Audit the networks of a seed and fold against the baseline of the same, on the rows they were tested on."""
        import pyarrow.parquet as pq

        single = self.folder / "predictions.parquet"
        path = single if single.is_file() else self.folder / "predictions" / f"{slug(part)}.parquet"
        asked = next((a for t, a in self.audits.items() if t.rpartition(" · ")[0] == part), None)
        if asked is None or not path.is_file():
            return None
        filters = [("seed", "=", seed), ("fold", "=", fold), *((k, "=", v) for k, v in group.items())]
        columns = pq.read_schema(path).names
        models = {c.removesuffix(".score") for c in columns if c.endswith(".score")} | {BASELINE}
        wanted = [r for r in dict.fromkeys([BASELINE, *recipes]) if r in columns]
        kept = [c for c in columns if c in wanted or not (c in models or _score(c, models))]
        table = pq.read_table(path, columns=kept, filters=filters)
        if not table.num_rows or BASELINE not in wanted:
            return None
        return audit(
            table,
            baseline=BASELINE,
            compressed=wanted[1:],
            by=asked["attributes"],
            positive=asked["positive"],
            margin=asked["margin"],
            confidence=asked["confidence"],
            subject="subject" if asked["subjects"] else None,
        )


def read(folder: Path, only: Sequence[str] = ()) -> TrackedNetwork:
    """Read a finished study's folder.

    Parameters
    ----------
    only
        Filters, as for a run (`filters.parse_filter`).

    Raises
    ------
    UserError
        It is no study's folder, or holds no networks, or a filter matches none.
    """
    told = read_study(folder)
    chosen = parse_filter(only, told.config)
    study = _json(folder / STUDY)
    facts = []
    for fact in _facts(folder / "models.json"):
        dataset, model = labels(told.config, fact["part"])
        passes = {"dataset": dataset, "model": model, "recipe": fact["recipe"]}
        numbers = {"seed": fact["seed"] % STRIDE, "fold": fact["fold"]}
        if all(chosen.passes(k, v) for k, v in {**passes, **numbers}.items()):
            facts.append(fact)
    if not facts:
        raise UserError(f"{folder}: no network of this study passes {' '.join(only) or 'models.json'}.")
    names = ("report.html", "audit.json", "bias.json", "claims.json", "tradeoff.json", "models.json", STUDY)
    files = {name: folder / name for name in names if (folder / name).is_file()}
    data = str(study.get("data", ""))
    key = digest({"study": canonical_json(json.loads(study["study"])), "data": data})
    title = told.config.title or told.name
    return TrackedNetwork(
        told.name, title, key, files, told, facts, _audits(folder / "audit.json"), folder, data
    )


def labels(config: StudyConfig, part: str) -> tuple[str, str]:
    """Return the labels of dataset and model of a part; a name where the study has one alone."""
    words = part.split(", ")
    several = (config.all_datasets, config.all_models)
    dataset, model = (next((w for w in words if w in of), next(iter(of))) for of in several)
    return dataset, model


def only_model(found: Audit, name: str) -> Audit:
    """Return the audit of one model; its numbers are the same, since each artifact is a family of its own."""
    return replace(
        found,
        models=tuple(m for m in found.models if m.name in (found.baseline, name)),
        fairness=tuple(f for f in found.fairness if f.model in (found.baseline, name)),
        comparisons=tuple(c for c in found.comparisons if c.compressed == name),
    )


def metrics_of(found: Audit) -> dict[str, float]:
    """Return the numbers of an audit of one model by names that a tracker takes.

    ``accuracy``, ``accuracy/sex: Female``, ``loss/accuracy/sex: Female``, ``gap/sex/equal_opportunity_difference``,
    each with ``.low``, ``.high`` and ``.n`` behind it.
    """
    name = found.comparisons[0].compressed if found.comparisons else found.baseline
    told: dict[str, float] = {}
    model = next(m for m in found.models if m.name == name)
    for rates in (model.overall, *model.groups):
        for rate in RATES:
            if rate in rates.rates:
                _add(told, [rate, *_group(rates.values)], rates.rates[rate])
    for fairness in found.fairness:
        if fairness.model == name:
            _add(told, ["gap", fairness.attribute, fairness.metric], fairness.estimate)
    for compared in found.comparisons:
        for group in (compared.overall, *(g for a in compared.attributes for g in a.groups)):
            for loss in group.losses:
                _add(told, ["loss", loss.metric, *_group(group.values)], loss.estimate)
    return told


def _add(told: dict[str, float], parts: Sequence[str], estimate: Estimate) -> None:
    if estimate.value is None:
        return
    name = "/".join(metric_name(p) for p in parts)[: MAX_NAME_LENGTH - 10]
    while name in told:  # two groups whose names differ in signs alone
        name += "_"
    found = {"": estimate.value, ".low": estimate.low, ".high": estimate.high, ".n": estimate.n}
    told.update({f"{name}{end}": float(v) for end, v in found.items() if v is not None})


def metric_name(text: str) -> str:
    """Return a text in the letters that MLflow takes in a metric's name."""
    for sign, word in WORDS.items():
        text = text.replace(sign, word)
    return re.sub(" +", " ", ALLOWED_CHARACTERS.sub(lambda m: f"_{ord(m[0]):x}_", text)).strip(" .") or "_"


def _group(values: Mapping[str, str]) -> list[str]:
    return [" and ".join(f"{k}: {v}" for k, v in values.items())] if values else []


def _score(column: str, models: set[str]) -> bool:
    return any(column.startswith(f"{m}.score") for m in models)


class _Fact(BaseModel):
    """A network of models.json, as far as it is read here."""

    model_config = ConfigDict(strict=True)

    part: str
    recipe: str
    seed: Count
    fold: Count
    group: dict[str, str] | None = None
    bytes: Count


class _Asked(BaseModel):
    """An audit of audit.json, as far as it is made again here."""

    model_config = ConfigDict(strict=True)

    attributes: list[str]
    positive: str | None
    margin: Share
    confidence: Share
    subjects: int | None


def _facts(path: Path) -> list[dict[str, Any]]:
    found = _json(path)
    for fact in found if isinstance(found, list) else [None]:
        _check(path, _Fact, fact)
    return list(found)


def _audits(path: Path) -> dict[str, Any]:
    found = _json(path)
    for asked in found.values() if isinstance(found, dict) else [None]:
        _check(path, _Asked, asked)
    return dict(found)


def _check(path: Path, kind: type[BaseModel], document: Any) -> None:
    problem = problem_of(kind, document)
    if problem is not None:
        raise UserError(f"{path} is damaged, or of another version of fairpress ({problem}); {REMEDY}.")


def _json(path: Path) -> Any:
    return read_json(path, f"a study's {path.name}", remedy=REMEDY)
