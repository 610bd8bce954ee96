"""The interface of a term of the training loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor


class Objective(Protocol):
    """A term of the loss of many networks, with a memory of its own.

    `see` is shown the inputs of a batch [networks, rows, …] before the steps on it. `loss` takes logits
    [networks, rows, classes], labels and groups [networks, rows] (−1: no group) and returns [networks]; it is called
    `inner` times on a batch, each time before a step, and `dual` once after them. `violation` takes the same of whole
    parts, and returns how far the constraint is violated [networks]. Where `uses_labels` is False, the term replaces the
    cross-entropy of the labels.
    """

    @property
    def inner(self) -> int: ...

    @property
    def uses_labels(self) -> bool: ...

    def see(self, inputs: Tensor) -> None: ...

    def loss(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor: ...

    def violation(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor: ...

    def dual(self) -> None: ...

    def epoch(self) -> None: ...

    def only(self, which: Sequence[int]) -> None: ...

    def tensors(self) -> dict[str, Tensor]: ...

    def load(self, tensors: dict[str, Tensor]) -> None: ...

    def facts(self, network: int) -> dict[str, Any]: ...
