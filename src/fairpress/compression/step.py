"""The interface of a recipe's steps, and the network that they pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.models.registry import Architecture
    from fairpress.tokenization.tokenizer import TextTokenizer


@dataclass(frozen=True)
class TrainedNetwork:
    """A network between two steps.

    Attributes
    ----------
    architecture
        Builds the module.
    state
        Its float weights.
    onnx
        The finished file, once it is quantized; no further step follows.
    details
        What the steps did, for the card.
    origin
        The provenance of the baseline's card.
    baseline
        The float network that the recipe started from; None: this one.
    tokenizer
        How a network of texts reads them; None for other data. After a step that changed it, datasets are encoded again.
    """

    architecture: Architecture
    state: Mapping[str, Tensor]
    onnx: bytes | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    baseline: TrainedNetwork | None = None
    tokenizer: TextTokenizer | None = None

    @property
    def class_weights(self) -> Any:
        """Class weights of the baseline's loss (`training.fit.FitConfig`), which fine-tuning keeps; None if it had none."""
        return self.origin.get("training", {}).get("class_weights")


class Step(BaseModel):
    """A step of a recipe: its parameters, and how it changes a batch of networks of one architecture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trains: ClassVar[bool] = False
    final: ClassVar[bool] = False
    first: ClassVar[bool] = False
    empties: ClassVar[bool] = False  # whether it may leave channels without weights
    changes_inputs: ClassVar[bool] = False  # whether the network reads other inputs afterwards

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Return the changed networks, in order; inputs are not changed. Test rows are not available."""
        raise TypeError(f"{type(self).__name__} does not define apply()")

    @property
    def reads_baseline(self) -> bool:
        """Whether the step needs the weights of the baseline, which networks of earlier steps' artifacts do not have."""
        return False

    def architectures(self) -> tuple[str, ...]:
        """Return the names of the architectures that the step builds new networks of."""
        return ()

    def plain(self) -> Step:
        """Return the step without its fairness-aware options."""
        return self

    def compensated(self) -> Step:
        """Return the step with error-compensated rounding where it rounds weights below 8 bits to nearest, else itself."""
        return self

    def placebo(self) -> Step:
        """Return the step that fine-tunes in the same way without compressing."""
        raise TypeError(f"{type(self).__name__} does not fine-tune, so it has no placebo")
