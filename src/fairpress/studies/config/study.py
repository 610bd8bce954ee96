"""The schema of a study's YAML."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from fairpress.auditing.options import AuditOptions
from fairpress.core.errors import UserError
from fairpress.core.seeds import MAX_SEED
from fairpress.studies.config.claims import Claim
from fairpress.studies.config.published import Published, PublishedRates

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:[0-9]+)?")
MAX_SEEDS = 10_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _by_name(value: Any) -> Any:
    """Expand ``compas`` to ``{name: compas}``."""
    return {"name": value} if isinstance(value, str) else value


def _labelled(value: Any) -> Any:
    """Expand ``[compas, adult]`` to ``{compas: compas, adult: adult}``."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        if len(set(value)) < len(value):
            raise ValueError("duplicate entry; write `label: {name: …}` for several variants of one name")
        return {v: v for v in value}
    return value


class NamedChoice(BaseModel):
    """The name of a registered object with its options, such as ``{name: compas, filter: none}``."""

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
        The sensitive attributes it is audited by, if they differ from ``audit.by``.
    training
        Overrides of the study's ``training`` for this dataset.
    """

    by: tuple[str, ...] | None = Field(default=None, min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)


class ModelChoice(NamedChoice):
    """An architecture and its options.

    Attributes
    ----------
    training
        Overrides of the ``training`` of the study and of the dataset for this architecture.
    """

    training: dict[str, Any] = Field(default_factory=dict)


# The JSON Schema has what a user may write: `studies.config.json_schema` defines the choices, names alone included.
Dataset = Annotated[DatasetChoice, BeforeValidator(_by_name, json_schema_input_type=DatasetChoice)]
Model = Annotated[ModelChoice, BeforeValidator(_by_name, json_schema_input_type=ModelChoice)]
Label = Annotated[str, Field(pattern=f"^{LABEL.pattern}$")]
Datasets = Annotated[
    dict[str, Dataset],
    BeforeValidator(_labelled, json_schema_input_type=dict[Label, Dataset] | list[str]),
]
Models = Annotated[
    dict[str, Model],
    BeforeValidator(_labelled, json_schema_input_type=dict[Label, Model] | list[str]),
]


def _margin(value: Any) -> Any:
    """Check a margin by the rules of `AuditOptions`, and return it as it is written."""
    try:
        AuditOptions(by=("any",), margin=value)
    except UserError as error:
        raise ValueError(str(error)) from None
    return value


class MarginWithReason(_Strict):
    """A margin, such as ``2pp`` or ``5% of baseline``, and the reason for it."""

    margin: float | str
    reason: str


# Inline: of a model within `json_schema_input_type`, pydantic 2.10.0 and 2.11.0 lose the definition.
OneMargin = float | str | Annotated[dict[str, Any], WithJsonSchema(MarginWithReason.model_json_schema())]


class AuditConfig(_Strict):
    """How the predictions are audited, with the options of `fairpress audit`.

    Attributes
    ----------
    by
        The sensitive attributes; ``sex*race`` is an intersection.
    harm
        The error that decides: ``error``, ``fnr`` or ``fpr``. Declare it before you look.
    margin
        The largest acceptable rise of an error, one for all errors or one for each, as of `fairpress audit`.
    confidence
        The confidence of intervals and verdicts.
    """

    by: tuple[str, ...] = Field(min_length=1)
    harm: Literal["error", "fnr", "fpr"] = "error"
    margin: Annotated[
        Any,
        BeforeValidator(
            _margin,
            json_schema_input_type=OneMargin
            | list[float | str]
            | dict[Literal["error", "fnr", "fpr", "default"], OneMargin],
        ),
    ] = 0.02
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class MitigationChoice(_Strict):
    """A mitigation of finished models by group, fitted to each network's scores on validation rows.

    Attributes
    ----------
    of
        The recipes to which it is applied; ``fp32`` is the baseline.
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
                raise ValueError(f"the method {self.method} has no option {name!r}; remove it")
        return self


class Contrast(_Strict):
    """Two datasets or two models of the study, whose baselines are compared on their common test rows.

    Attributes
    ----------
    of, against
        Labels; the loss of `of` relative to `against` is reported.
    """

    of: str
    against: str


class SizeAccuracyBias(_Strict):
    """The section "Size, accuracy, bias" of the report.

    Attributes
    ----------
    groups
        Attribute → the groups whose bias is reported; by default all with at least 30 rows of each label.
    latency
        Time one network of every recipe at batch sizes 1, 32 and 1,000, after all other tasks.
    published
        Numbers of a paper.
    """

    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    latency: bool = True
    published: Published | None = None


class StudyConfig(_Strict):
    """A matrix of datasets × models × recipes × seeds × folds.

    Attributes
    ----------
    dataset, datasets
        One dataset, or several: label → dataset. Variants of one dataset count as several.
    model, models
        One architecture, or several: label → architecture.
    training
        How the baselines are trained, with the keys of `FitConfig`, for images of `ImageFitConfig`, for texts of
        `TextFitConfig`.
    recipes
        The recipes by which the baseline is compressed.
    mitigations
        Label → a mitigation of finished models. ``int8>label`` denotes the recipe ``int8`` with the mitigation.
    placebos
        Also compare each recipe that fine-tunes with its placebo: the same fine-tuning without compression.
    seeds
        Training seeds: a number S means 0 … S−1.
    folds
        Subject-wise folds; each seed trains one network per fold, and every person is tested once per seed.
        1 means the dataset's own split.
    naive
        Reference predictors without a network: ``majority``, the most frequent class, and ``lookup-by-person``, the most
        frequent label of the same person in other rows.
    contrasts
        Pairs of datasets or models to compare.
    per_attribute
        Train separate networks for each sensitive attribute, on the same parts, with different seeds.
    per_group
        Train separate networks for each group, on the rows of that group only.
    size_accuracy_bias
        Report size, accuracy, pairwise bias and latency of all recipes in one section, with accuracy-matched controls if
        there are recipes ``checkpoint-…``. For studies of one dataset and one model.
    published
        A paper's accuracies, gaps and sizes, recipe by recipe.
    claims
        Name → a statement that the study tests on its trials.
    phases
        Name → filters in the syntax of ``only``: named parts of the study.
    choices
        Label → keys of the study with the values they take when this dataset is chosen by ``data``. ``attributes:`` maps
        each sensitive attribute to its replacement in recipes, mitigations and claims.
    networks_per_task
        Number of networks trained as one batch. It is set in the study, not by the machine, so that results do not
        depend on the number of workers.
    """

    title: str = ""
    dataset: Dataset | None = None
    datasets: Datasets = Field(default_factory=dict)
    model: Model | None = None
    models: Models = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    recipes: tuple[str, ...] = Field(min_length=1)
    mitigations: dict[str, MitigationChoice] = Field(default_factory=dict)
    placebos: bool = True
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="Training seeds: a number S means 0 … S−1."
    )
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

    @field_validator("seeds", mode="before", json_schema_input_type=PositiveInt | list[NonNegativeInt])
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("at least one seed is needed")
            if value > MAX_SEEDS:
                raise ValueError(f"a study has at most {MAX_SEEDS:,} seeds")
            return tuple(range(value))
        if not isinstance(value, (list, tuple)):
            raise ValueError("give the number of seeds, such as 8, or a list, such as [0, 1, 5]")
        return value

    @field_validator("seeds")
    @classmethod
    def _in_range(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 0 or max(value) > MAX_SEED:
            raise ValueError("a seed must be between 0 and 2**63 - 1")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not DEVICE.fullmatch(value):
            raise ValueError(f"{value!r} is not a device; use cpu, cuda, cuda:1, mps, xpu or auto")
        return value

    @field_validator("seeds", "recipes", "naive")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            raise ValueError("duplicate entry; list each only once")
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
            raise ValueError("`per_attribute` and `per_group` exclude each other; remove one")
        if self.size_accuracy_bias is not None:
            if self.datasets or self.models or self.per_attribute or self.per_group:
                raise ValueError(
                    "`size_accuracy_bias` needs a study of one dataset and one model, without `per_attribute` or `per_group`"
                )
            odd = sorted(set(self.size_accuracy_bias.groups) - set(self.audit.by))
            if odd:
                raise ValueError(
                    f"`size_accuracy_bias.groups` names {odd[0]!r}, which is not in `audit.by`; add it there, or set "
                    "`size_accuracy_bias: null`"
                )
        label_sets = [set(self.all_datasets), set(self.all_models)]
        for contrast in self.contrasts:
            if contrast.of == contrast.against or not any(
                {contrast.of, contrast.against} <= k for k in label_sets
            ):
                raise ValueError(
                    f"the contrast of {contrast.of!r} against {contrast.against!r} must name two datasets or two "
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
