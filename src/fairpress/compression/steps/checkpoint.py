"""Earlier checkpoints of the baseline: a curve of dense networks, accuracy against bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fairpress.compression.step import Step, TrainedNetwork
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor


class EarlierCheckpoint(Step):
    """The state of the baseline after `epochs` of its training; a fraction is a share of an epoch's steps.

    This is the control of equal accuracy: less accurate networks may have larger gaps, with or without pruning. The
    training is repeated from its seed (the same networks in one batch take the same steps), which takes a second or two
    for ten small networks and needs no stored checkpoints. Networks of images and texts train one at a time, for as long as
    their first epochs took, and for whole epochs only, since the losses of epochs prove that a repetition is exact
    (`training.replay`).

    A report matches a compressed recipe with this curve of checkpoints c₁ … c_K as follows; test rows do not influence the
    choice.

    1. Choose on validation rows. Every artifact's card contains ``details.validation`` (rows and accuracy of the finished
       file). Average it over all seeds and folds, for the recipe and for each checkpoint. The match lies between the first
       two neighbours c_k, c_{k+1} that enclose the recipe's average, at
       w = (a(recipe) − a(c_k)) / (a(c_{k+1}) − a(c_k)). There is one choice for all seeds: a single network's accuracy on
       some hundred validation rows is more uncertain than the difference between epochs, so choosing per seed would match
       noise.
    2. Measure on test rows. The control predicts as c_{k+1} with probability w, else as c_k: for every seed its counts in
       each cell are (1 − w)·n(c_k) + w·n(c_{k+1}), and rates and gaps are computed from these counts (the gap of the
       mixture, not the mixture of the gaps).
    3. Compare in pairs, seeds × rows: D[s, i] = 1[recipe wrong] − (1 − w)·1[c_k wrong] − w·1[c_{k+1} wrong], with the same
       crossed intervals as for a placebo.
    4. Show the difference in test accuracy with its interval, as a check of the match. A recipe that is more accurate on
       validation rows than the whole curve is compared with its most accurate network; one that is less accurate than the
       earliest checkpoint has no control: not estimable.

    Matching on test accuracy would make the difference in step 4 zero by construction, and choose the control by the noise
    against which it is measured.
    """

    first: ClassVar[bool] = True

    epochs: float = Field(gt=0, le=100_000)

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Return the networks at that epoch. Raises UserError for a baseline whose training cannot be repeated."""
        from fairpress.compression.finetuning import trains_alone
        from fairpress.training.batched_trainer import states_after
        from fairpress.training.config import FitConfig, training_of
        from fairpress.training.data import tensors
        from fairpress.training.device import device_of
        from fairpress.training.group_objective import make_objective

        architecture, origin = networks[0].architecture, networks[0].origin
        if trains_alone(architecture):
            return self._one_at_a_time(networks, datasets, seeds, on_message)
        if "networks_in_batch" not in origin:
            raise UserError(
                "a checkpoint recipe repeats the training of the baseline, but fairpress did not train this network; take a "
                "baseline trained with fairpress."
            )
        config = training_of(FitConfig, origin)
        if self.epochs > config.max_epochs:
            raise UserError(
                f"there is no checkpoint after {self.epochs:g} epochs, since the baseline trains for at most "
                f"{config.max_epochs}; take an earlier one."
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
        if on_message is not None:
            on_message(f"{len(states)} networks after {self.epochs:g} epochs")
        return self._with_states(networks, states)

    def _one_at_a_time(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None,
    ) -> list[TrainedNetwork]:
        from fairpress.training.data import tensors
        from fairpress.training.replay import replay_to_epoch

        if not self.epochs.is_integer():
            raise UserError(
                "checkpoints of networks of images or texts exist after whole epochs only, not after "
                f"{self.epochs:g}; take a whole number."
            )
        states = [
            replay_to_epoch(
                n.architecture,
                tensors(d, "train", n.class_weights),
                d,
                seed,
                n.origin,
                int(self.epochs),
                on_message,
            )
            for n, d, seed in zip(networks, datasets, seeds, strict=True)
        ]
        if on_message is not None:
            on_message(f"repeated {self.epochs:g} of the baseline's epochs exactly")
        return self._with_states(networks, states)

    def _with_states(
        self, networks: Sequence[TrainedNetwork], states: Sequence[Mapping[str, Tensor]]
    ) -> list[TrainedNetwork]:
        return [
            replace(n, state=state, details={**n.details, "epochs_trained": self.epochs})
            for n, state in zip(networks, states, strict=True)
        ]
