"""Size, accuracy and bias of all recipes of a study, as in tradeoff.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from fairpress.core.estimate import Estimate

if TYPE_CHECKING:
    from pydantic import TypeAdapter

BASELINE = "fp32"
Estimates = Mapping[str, Estimate]
"""Sensitive attribute → estimate."""


def is_control(model: str) -> bool:
    """Return whether a model is a placebo or a checkpoint of the dense network, and no recipe to choose."""
    return model.startswith(("placebo", "checkpoint"))


@dataclass(frozen=True)
class DenseControl:
    """The dense networks of equal accuracy that a model is compared with.

    Attributes
    ----------
    below, above, weight
        Two neighbours on the curve of checkpoints, and the probability with which the control predicts like the upper one;
        None without a control.
    side
        Where the model is more (``"above"``) or less accurate than the whole curve.
    reason
        Why there is no control.
    bias, change, accuracy_difference
        The control's bias, and the model's bias and accuracy minus those of the control.
    """

    below: str | None = None
    above: str | None = None
    weight: float | None = None
    side: Literal["below", "above"] | None = None
    reason: str | None = None
    bias: Estimates | None = None
    change: Estimates | None = None
    accuracy_difference: Estimate | None = None

    @property
    def is_baseline(self) -> bool:
        """Return whether the control is the baseline alone."""
        if self.weight not in (0.0, 1.0):
            return False
        return (self.above if self.weight else self.below) == BASELINE


@dataclass(frozen=True)
class ModelTradeoff:
    """One model: sizes in bytes, mean accuracy, bias, and changes against its references, as far as it has them.

    `constant` of its `networks` predict a single class.
    """

    model: str
    placebo: str | None
    bytes: float
    gzip_bytes: float
    sparsity: float | None
    validation_accuracy: float | None
    accuracy: Estimate
    networks: int
    constant: int
    bias: Estimates
    against_baseline: Estimates | None = None
    accuracy_against_baseline: Estimate | None = None
    against_placebo: Estimates | None = None
    control: DenseControl | None = None

    @property
    def distinct_control(self) -> DenseControl:
        """Return the accuracy-matched dense control; an empty one if that is the baseline or there is none."""
        return DenseControl() if self.control is None or self.control.is_baseline else self.control


@dataclass(frozen=True)
class TradeoffResult:
    """All models, with the rows of each group, the groups whose bias is reported, and the numbers of seeds and rows."""

    models: tuple[ModelTradeoff, ...]
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    used: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: int = 1
    rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as in tradeoff.json."""
        content: dict[str, Any] = _json(self)
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TradeoffResult:
        """Return the result of `to_dict`."""
        return _adapter().validate_python(content)


NULLABLE = ("placebo", "sparsity", "validation_accuracy")
"""Keys of tradeoff.json that are null where a model has no such value; others are absent."""


def _json(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {k: _json(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_json(v) for v in value]
    if isinstance(value, (TradeoffResult, ModelTradeoff, DenseControl)):
        pairs = {f.name: getattr(value, f.name) for f in fields(value)}
        return {k: _json(v) for k, v in pairs.items() if v is not None or k in NULLABLE}
    return value


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[TradeoffResult]:
    from pydantic import TypeAdapter

    return TypeAdapter(TradeoffResult)
