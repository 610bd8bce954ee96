"""The baseline as it was earlier in its training: points of a curve of dense networks, accuracy against bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fairpress.compression.step import Progress, Step, TrainedNetwork
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor


class EarlierCheckpoint(Step):
    """The state of the baseline after `epochs` of its own training; a fraction is so much of an epoch's steps.

    The control of equal accuracy: "pruning raises bias" can be "less accurate networks have larger gaps". The
    training is taken again from its seed (the same networks in one batch take the same steps), which costs a
    second or two for ten small networks and needs nothing kept. Networks for images train one at a time, for as long
    as their first epochs took; whole epochs only, since it is by their losses that a repetition is known to be exact
    (`training.replay`).

    How a report matches a compressed recipe with this curve, for checkpoints c₁ … c_K and without test rows
    having a say in the choice:

    1. Choose on validation rows. Every artifact's card holds ``details.validation`` (rows and accuracy of the
       finished file). Average it over all seeds and folds, for the recipe and for each checkpoint; between the
       first two neighbours c_k, c_{k+1} that enclose the recipe's average lies the match, at
       w = (a(recipe) − a(c_k)) / (a(c_{k+1}) − a(c_k)). One choice for all seeds: a single network's accuracy on some
       hundred validation rows is uncertain by more than whole epochs differ, and choosing per seed would
       match noise.
    2. Measure on test rows. The control answers as c_{k+1} with probability w, else as c_k: for every seed its
       counts in each cell are (1 − w)·n(c_k) + w·n(c_{k+1}), and rates and gaps are computed from these counts (the
       gap of the mixture, not the mixture of the gaps).
    3. Compare in pairs, seeds × rows: D[s, i] = 1[recipe wrong] − (1 − w)·1[c_k wrong] − w·1[c_{k+1} wrong], with
       the crossed intervals that a placebo gets.
    4. Show the difference in test accuracy with its interval: it says whether the match held. A recipe that is more
       accurate on validation rows than the whole curve is held against its most accurate network; one that is less accurate
       than the earliest checkpoint has no control: not estimable.

    Matching on test accuracy instead would make the difference in step 4 zero by construction and choose the control
    with the noise that it is to be measured by.
    """

    first: ClassVar[bool] = True

    epochs: float = Field(gt=0, le=100_000)

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[TrainedNetwork]:
        """Return the networks as they were then. Raises UserError for a baseline whose training cannot be repeated."""
        from fairpress.compression.finetuning import trains_alone
        from fairpress.training.batched_trainer import states_after
        from fairpress.training.config import FitConfig, training_of
        from fairpress.training.data import tensors
        from fairpress.training.device import device_of
        from fairpress.training.group_objective import make_objective

        architecture, origin = networks[0].architecture, networks[0].origin
        if trains_alone(architecture):
            return self._one_at_a_time(networks, datasets, seeds, progress)
        if "networks_in_batch" not in origin:
            raise UserError(
                "checkpoints are made by repeating the training of networks for tables that fairpress trained; "
                "this one was not trained so."
            )
        config = training_of(FitConfig, origin)
        if self.epochs > config.max_epochs:
            raise UserError(
                f"there is no checkpoint after {self.epochs:g} epochs: the baseline trains at most {config.max_epochs}."
            )
        rows, objective = make_objective(
            config, datasets, [tensors(d, "train", config.class_weights) for d in datasets]
        )
        classes = len(datasets[0].task.classes)
        states = states_after(
            architecture,
            rows,
            classes,
            seeds,
            config,
            self.epochs,
            device_of(origin),
            objective,
        )
        if progress is not None:
            progress(f"{len(states)} networks after {self.epochs:g} epochs")
        return self._with_states(networks, states)

    def _one_at_a_time(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None,
    ) -> list[TrainedNetwork]:
        from fairpress.training.data import tensors
        from fairpress.training.replay import replay_to_epoch

        if not self.epochs.is_integer():
            raise UserError(
                f"checkpoints of networks for images are after whole epochs, not {self.epochs:g}: by its loss an epoch is "
                "known to be the baseline's."
            )
        states = [
            replay_to_epoch(
                n.architecture,
                tensors(d, "train", n.class_weights),
                d,
                seed,
                n.origin,
                int(self.epochs),
                progress,
            )
            for n, d, seed in zip(networks, datasets, seeds, strict=True)
        ]
        if progress is not None:
            progress(f"repeated to the last bit: {self.epochs:g} of the baseline's epochs")
        return self._with_states(networks, states)

    def _with_states(
        self, networks: Sequence[TrainedNetwork], states: Sequence[Mapping[str, Tensor]]
    ) -> list[TrainedNetwork]:
        return [
            replace(n, state=state, details={**n.details, "epochs_trained": self.epochs})
            for n, state in zip(networks, states, strict=True)
        ]
