"""The learning rate over the course of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["one_cycle", "cosine", "constant"]
WARM_UP, WARM_START = 0.25, 25


@dataclass(frozen=True)
class Schedule:
    """Epochs, batch size and learning rate.

    `one_cycle` rises along half a cosine from a 25th of `learning_rate` over the first quarter, then falls along
    half a cosine to 0 (Smith and Topin 2018, arXiv 1708.07120); `cosine` only falls (Loshchilov and Hutter 2017,
    arXiv 1608.03983). Weights decay by AdamW; biases and the scales of normalisation layers do not.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    shape: Shape = "cosine"

    def rate(self, done: float) -> float:
        """Return the learning rate when a share `done` of all steps is taken."""
        if self.shape == "constant":
            return self.learning_rate
        if self.shape == "one_cycle":
            if done < WARM_UP:
                start = self.learning_rate / WARM_START
                return start + (self.learning_rate - start) * (1 - math.cos(math.pi * done / WARM_UP)) / 2
            done = (done - WARM_UP) / (1 - WARM_UP)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
