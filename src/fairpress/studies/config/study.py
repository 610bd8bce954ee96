"""What a study's YAML may say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fairpress.core.seeds import MAX_SEED
from fairpress.studies.config.claims import Claim

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:[0-9]+)?")
MAX_SEEDS = 10_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _by_name(value: Any) -> Any:
    """Let ``compas`` stand for ``{name: compas}``."""
    return {"name": value} if isinstance(value, str) else value


def _labelled(value: Any) -> Any:
    """Let ``[compas, adult]`` stand for ``{compas: compas, adult: adult}``."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        if len(set(value)) < len(value):
            raise ValueError("the same entry stands here twice; write `label: {name: …}` for variants of one")
        return {v: v for v in value}
    return value


class NamedChoice(BaseModel):
    """A registered thing by its name, with the options it takes: ``{name: compas, filter: none}``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DatasetChoice(NamedChoice):
    """A dataset and its options.

    Attributes
    ----------
    by
        The sensitive attributes it is audited by, where they are not those of ``audit.by``.
    training
        What is trained otherwise on it than ``training`` of the study says.
    """

    by: tuple[str, ...] | None = Field(default=None, min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)


class ModelChoice(NamedChoice):
    """An architecture and its options.

    Attributes
    ----------
    training
        How it is trained otherwise than ``training`` of the study and of the dataset say.
    """

    training: dict[str, Any] = Field(default_factory=dict)


Dataset = Annotated[DatasetChoice, BeforeValidator(_by_name)]
Model = Annotated[ModelChoice, BeforeValidator(_by_name)]


class AuditConfig(_Strict):
    """How the predictions are audited; the words are those of `fairpress audit`."""

    by: tuple[str, ...] = Field(min_length=1)
    margin: float = Field(default=0.02, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class MitigationChoice(_Strict):
    """A repair of finished models by group, fitted to each network's scores on validation rows.

    Attributes
    ----------
    of
        The recipes it is done to; ``fp32`` is the baseline.
    method, by, cost, calibration, constraint
        As in `fairpress mitigate`.
    """

    of: tuple[str, ...] = Field(default=("fp32",), min_length=1)
    method: Literal["calibrated-equalized-odds", "thresholds"] = "calibrated-equalized-odds"
    by: str
    cost: Literal["weighted", "fnr", "fpr"] | None = None
    calibration: Literal["platt", "none"] | None = None
    constraint: (
        Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"] | None
    ) = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        has_thresholds = self.method == "thresholds"
        for name, wrong in (
            ("cost", has_thresholds),
            ("calibration", has_thresholds),
            ("constraint", not has_thresholds),
        ):
            if wrong and getattr(self, name) is not None:
                raise ValueError(f"{self.method} takes no {name}")
        return self


class Contrast(_Strict):
    """Two datasets or two models of the study whose baselines are compared on the rows both were tested on.

    Attributes
    ----------
    of, against
        Labels; what `of` loses against the other is reported.
    """

    of: str
    against: str


class Published(_Strict):
    """What a paper says of the same: our numbers are put beside these.

    Attributes
    ----------
    source
        Author, year, title.
    note
        On what and how it was measured, where that differs from this study.
    group_sizes
        Attribute → group → rows.
    kilobytes
        Recipe → size of the file.
    bias
        Attribute → recipe → pairwise bias.
    accuracy
        Attribute → recipe → accuracy between 0 and 1 (of the networks that were trained for that attribute).
    """

    source: str
    note: str = ""
    group_sizes: dict[str, dict[str, int]] = Field(default_factory=dict)
    kilobytes: dict[str, float] = Field(default_factory=dict)
    bias: dict[str, dict[str, float]] = Field(default_factory=dict)
    accuracy: dict[str, dict[str, float]] = Field(default_factory=dict)


class PublishedRates(_Strict):
    """What a paper's tables hold: our numbers are put above these.

    Attributes
    ----------
    source, note
        Author, year, title; on what and how it was measured, where that differs.
    rates
        Recipe → ``accuracy``, ``demographic_parity_difference``, ``equal_opportunity_difference``,
        ``predictive_equality_difference`` (between 0 and 1), ``kilobytes``, and below ``groups`` a group's name →
        ``accuracy``, ``tpr``, ``fpr``. Of a study of several models: label of the model → that.
    """

    source: str
    note: str = ""
    rates: dict[str, dict[str, Any]]

    def for_part(self, part: str) -> dict[str, dict[str, Any]]:
        """Return recipe → numbers of a part of the study."""
        from fairpress.studies.config.recipe_names import recipe_name

        rates = (
            next((v for k, v in self.rates.items() if k in part.split(", ")), None) if part else self.rates
        )
        return {recipe_name(k): v for k, v in (rates or {}).items()}


class SizeAccuracyBias(_Strict):
    """The section "Size, accuracy, bias" of the report.

    Attributes
    ----------
    groups
        Attribute → the groups whose bias is told; all with at least 30 rows of either label where nothing is said.
    latency
        Time one network of every recipe at batch 1, 32 and 1,000, after everything else.
    published
        What a paper found.
    """

    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    latency: bool = True
    published: Published | None = None


class StudyConfig(_Strict):
    """A matrix of datasets × models × recipes × seeds × folds.

    Attributes
    ----------
    dataset, datasets
        One dataset, or several: label → dataset. Variants of one dataset are several.
    model, models
        One architecture, or several: label → architecture.
    training
        How the baselines are trained; the words are those of `FitConfig`, and for images of `ImageFitConfig`.
    recipes
        What the baseline is compressed by.
    mitigations
        Label → a repair of finished models. The recipe ``int8`` repaired so is called ``int8>label``.
    placebos
        Compare each recipe that trains also with the same extra training, uncompressed.
    seeds
        Training seeds: a number S means 0 … S−1.
    folds
        Subject-wise folds; each seed trains one network per fold and every person is tested once per seed.
        1 means the dataset's own split.
    naive
        Predictors that need no network, for scale: ``majority``, the commonest class, and ``lookup-by-person``, the
        label last seen of a person with other rows.
    contrasts
        Pairs of datasets or models to compare.
    per_attribute
        Train networks of their own for each sensitive attribute, on the same parts, from other seeds.
    per_group
        Train networks of their own for each group, on that group's rows alone.
    size_accuracy_bias
        Tell size, accuracy, pairwise bias and latency of all recipes in one section, with the control of equal accuracy
        where there are recipes ``checkpoint-…``. For studies of one dataset and one model.
    published
        A paper's accuracies, gaps and sizes, recipe by recipe.
    claims
        Name → a statement that the trials answer.
    phases
        Name → filters, as for ``--only``: parts of the study that `--phase` runs.
    choices
        Label → keys of the study and what `--data` puts in their place: another dataset, and what goes with it. Below
        ``attributes:`` stands which sensitive attribute takes the place of which, in recipes, mitigations and claims.
    networks_per_task
        How many networks are trained as one batch. It belongs to the study, not to the machine, so that
        results do not depend on the number of workers.
    """

    title: str = ""
    dataset: Dataset | None = None
    datasets: Annotated[dict[str, Dataset], BeforeValidator(_labelled)] = Field(default_factory=dict)
    model: Model | None = None
    models: Annotated[dict[str, Model], BeforeValidator(_labelled)] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    recipes: tuple[str, ...] = Field(min_length=1)
    mitigations: dict[str, MitigationChoice] = Field(default_factory=dict)
    placebos: bool = True
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    folds: int = Field(default=1, ge=1, le=50)
    naive: tuple[Literal["majority", "lookup-by-person"], ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    per_attribute: bool = False
    per_group: bool = False
    size_accuracy_bias: SizeAccuracyBias | None = None
    published: PublishedRates | None = None
    claims: dict[str, Claim] = Field(default_factory=dict)
    phases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    choices: dict[str, dict[str, Any]] = Field(default_factory=dict)
    audit: AuditConfig
    device: str = "cpu"
    networks_per_task: int = Field(default=10, ge=1, le=10_000)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("at least one seed is needed")
            if value > MAX_SEEDS:
                raise ValueError(f"at most {MAX_SEEDS:,} seeds make sense")
            return tuple(range(value))
        if not isinstance(value, (list, tuple)):
            raise ValueError("give how many seeds, such as 8, or list them, such as [0, 1, 5]")
        return value

    @field_validator("seeds")
    @classmethod
    def _in_range(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 0 or max(value) > MAX_SEED:
            raise ValueError("a seed is at least 0, and at most 2**63 - 1")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not DEVICE.fullmatch(value):
            raise ValueError(f"{value!r} is no device; take cpu, cuda, cuda:1, mps, xpu or auto")
        return value

    @field_validator("seeds", "recipes", "naive")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            raise ValueError("the same entry stands here twice")
        return value

    @field_validator("datasets", "models", "mitigations", "claims", "phases", "choices")
    @classmethod
    def _labels(cls, value: dict[str, Any]) -> dict[str, Any]:
        invalid = [label for label in value if not LABEL.fullmatch(label)]
        if invalid:
            raise ValueError(
                f"{invalid[0]!r} cannot be a label; use letters, digits, dots, dashes and underscores"
            )
        return value

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        for single, plural in (("dataset", "datasets"), ("model", "models")):
            if (getattr(self, single) is None) == (not getattr(self, plural)):
                raise ValueError(f"give either `{single}` or `{plural}`")
        if self.per_attribute and self.per_group:
            raise ValueError("say either `per_attribute` or `per_group`")
        if self.size_accuracy_bias is not None:
            if self.datasets or self.models or self.per_attribute or self.per_group:
                raise ValueError(
                    "`size_accuracy_bias` is for studies of one dataset, one model, and networks that all attributes share"
                )
            odd = sorted(set(self.size_accuracy_bias.groups) - set(self.audit.by))
            if odd:
                raise ValueError(
                    f"`size_accuracy_bias.groups` names {odd[0]!r}, which is not among `audit.by`; add it there, or say "
                    "`size_accuracy_bias: null`"
                )
        label_sets = [set(self.all_datasets), set(self.all_models)]
        for contrast in self.contrasts:
            if contrast.of == contrast.against or not any(
                {contrast.of, contrast.against} <= k for k in label_sets
            ):
                raise ValueError(
                    f"the contrast of {contrast.of!r} against {contrast.against!r} names no two datasets and no two "
                    f"models of this study ({', '.join(sorted(set.union(*label_sets)))})"
                )
        return self

    @property
    def all_datasets(self) -> dict[str, DatasetChoice]:
        """Return label → dataset; one dataset is labelled by its name."""
        return self.datasets if self.dataset is None else {self.dataset.name: self.dataset}

    @property
    def all_models(self) -> dict[str, ModelChoice]:
        """Return label → model; one model is labelled by its name."""
        return self.models if self.model is None else {self.model.name: self.model}
