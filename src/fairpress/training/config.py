"""Training options: duration, speed, loss and checkpoint selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from fairpress.core.config import parse
from fairpress.core.values import spelling
from fairpress.datasets.dataset import Kind
from fairpress.training.constraint_config import ConstraintConfig

if TYPE_CHECKING:
    from fairpress.models.registry import Architecture

BATCH_SIZE = 128


class FitConfig(ConstraintConfig):
    """Training options for tables; early stopping uses the validation loss.

    Attributes
    ----------
    start
        ``"linear"``: from the logistic regression of the training rows (`logistic_init`), which is the default of networks
        sized by their rows; they keep it where no epoch is better on validation rows. ``"random"``: from drawn weights.
    class_weights
        ``"balanced"``: every class weighs alike in the loss, however many rows it has; or class → weight, 1 for classes that
        are not named. Probabilities are then not calibrated to the base rates.
    batch_size
        128. Where the network is sized by the table's rows, 16 below 512 rows, 32 below 1,024, 64 below 2,048: ten steps an
        epoch or more.
    keep
        ``"best"``: the state of the epoch of lowest validation loss; ``"last"``: train for `max_epochs` and keep the
        last state, as without validation rows. Under a constraint its violation on validation rows is added to
        their loss, because the loss alone would stop the training before the constraint has an effect.
    """

    start: Literal["linear", "random"] | None = None
    class_weights: (
        Literal["balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None
    ) = None
    keep: Literal["best", "last"] = "best"
    max_epochs: int = Field(default=40, ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1, le=1_000_000)
    learning_rate: float = Field(default=1e-3, gt=0, le=1_000)
    weight_decay: float = Field(default=1e-4, ge=0, le=1_000)
    patience: int = Field(default=8, ge=1, le=100_000)

    @field_validator("class_weights", mode="before")
    @classmethod
    def _balanced_or_by_class(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {spelling(name) or "": weight for name, weight in value.items()}
        if value not in (None, "balanced"):
            raise ValueError(f"{value!r} is neither balanced nor a weight for each class such as no=1,yes=4")
        return value

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the newer options where they are not used: the keys of older results hold nothing of them."""
        values: dict[str, Any] = handler(self)
        return {k: v for k, v in values.items() if v is not None or k not in ("start", "class_weights")}

    def settled(self, architecture: Architecture, rows: int) -> Self:
        """Return the config with unset options chosen for an architecture and a table of `rows` rows."""
        sized = getattr(architecture, "widths", ()) is None
        changes: dict[str, Any] = {}
        if self.start is None:
            changes["start"] = "linear" if sized else "random"
        if self.batch_size is None:
            few = next((size for size in (16, 32, 64) if rows < 32 * size), BATCH_SIZE)
            changes["batch_size"] = few if sized else BATCH_SIZE
        return self.model_copy(update=changes)


class ImageFitConfig(FitConfig):
    """The same for networks that read images.

    Attributes
    ----------
    schedule
        Course of the learning rate (`schedule.Schedule`).
    flip, shift
        Mirror half of the images; move each by up to this share of its side.
    way
        Precision and memory order, by name (`precision.FORMATS`): on request ``"processor"``, bf16 where it has instructions
        for it, or ``"fastest"``, by timing; both may give other weights on another machine (`training_format`).
    """

    max_epochs: int = Field(default=16, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=2, le=1_000_000)
    weight_decay: float = Field(default=0.05, ge=0, le=1_000)
    patience: int = Field(default=6, ge=1, le=100_000)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    flip: bool = True
    shift: float = Field(default=0.0625, ge=0, le=0.5)
    way: Literal["fp32", "fp32-channels-last", "bf16", "bf16-channels-last", "processor", "fastest"] = (
        "fp32-channels-last"
    )

    @field_validator("way", mode="before")
    @classmethod
    def _timed(cls, way: Any) -> Any:
        return "fastest" if way == "auto" else way  # its name on older cards and in older studies

    @field_validator("start")
    @classmethod
    def _no_start(cls, start: str | None) -> str | None:
        if start is not None:
            raise ValueError(
                "start is for tables; networks for images start from random or published weights"
            )
        return start


class TextFitConfig(FitConfig):
    """The same for networks that read texts.

    Attributes
    ----------
    schedule
        Course of the learning rate (`schedule.Schedule`).
    way
        Precision of the arithmetic: on request ``"processor"``, bf16 where it has instructions for it, or ``"fastest"``, by
        timing; both may give other weights on another machine (`training_format`). Fine-tuning by recipes is in fp32.
    """

    max_epochs: int = Field(default=4, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=2, le=1_000_000)
    weight_decay: float = Field(default=0.05, ge=0, le=1_000)
    patience: int = Field(default=2, ge=1, le=100_000)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    way: Literal["fp32", "bf16", "processor", "fastest"] = "fp32"

    @field_validator("way", mode="before")
    @classmethod
    def _by_processor(cls, way: Any) -> Any:
        return "processor" if way == "auto" else way  # its name on older cards and in older studies

    @field_validator("start")
    @classmethod
    def _no_start(cls, start: str | None) -> str | None:
        if start is not None:
            raise ValueError("start is for tables; networks for texts start from random or published weights")
        return start


CONFIGS: dict[Kind, type[FitConfig]] = {"table": FitConfig, "images": ImageFitConfig, "text": TextFitConfig}
Fit = TypeVar("Fit", bound=FitConfig)


def training_config(architecture: Architecture, options: Mapping[str, Any] | None = None) -> FitConfig:
    """Return how an architecture is trained, by its own defaults (`training_defaults`) where it has some.

    Raises UserError for an unknown option or a wrong value.
    """
    defaults = getattr(architecture, "training_defaults", {})
    config = parse(CONFIGS[architecture.reads], {**defaults, **(options or {})}, "training")
    if config.batch_size is None and getattr(architecture, "widths", None) is not None:
        config = config.model_copy(update={"batch_size": BATCH_SIZE})
    return config


def training_of(kind: type[Fit], origin: Mapping[str, Any]) -> Fit:
    """Return the training config in a card's provenance. Raises UserError naming its first invalid option."""
    return parse(kind, origin.get("training", {}), "the training on the model's card")
