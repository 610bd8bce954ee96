"""Structured pruning of transformers that read texts: whole attention heads and feed-forward units go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.finetune import FineTune, TrainingContext
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from fairpress.compression.pruning.heads import Keep


class PruneHeads(FineTune):
    """Remove the least important attention heads and feed-forward units of every block, then fine-tune what is left.

    Every block loses the same share, so that none is emptied. A head goes with its rows of queries, keys and values and
    the columns that read it (Michel et al. 2019, arXiv 1905.10650); a unit goes with its row and its column. The width of
    the embeddings stays.

    Attributes
    ----------
    share
        Share of the heads and units to remove; heads are rounded down.
    round_to
        Each feed-forward layer keeps a multiple of this number of units, which kernels need for speed, so slightly more may
        be removed. A layer that would keep fewer than this loses none.
    importance
        ``"magnitude"``: the sum of squares of its weights. ``"gradient"``: what the loss of training rows depends on it, by
        (w · ∂L/∂w)² of its weights (Molchanov et al. 2019). ``"groups"``: the same, a group of `by` at a time, and the
        smallest share of importance that any group retains is maximised (`group_importance`).
    """

    share: float = Field(gt=0, lt=1)
    round_to: int = Field(default=8, ge=1, le=65_536)
    importance: Literal["magnitude", "gradient", "groups"] = "magnitude"

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.importance == "groups" and self.by is None:
            raise ValueError("importance=groups needs a sensitive attribute, such as by=language")
        if self.method == "ceag":
            raise ValueError(
                "method=ceag compares a network with itself before the step, and prune-heads changes its layers; take "
                "another method"
            )
        return self

    @property
    def reads_groups(self) -> bool:
        return self.importance == "groups" or super().reads_groups

    def plain(self) -> PruneHeads:
        """Return the same step without a constraint; importance by groups becomes importance over all rows."""
        plain = super().plain()
        assert isinstance(plain, PruneHeads)
        pooled = "gradient" if self.importance == "groups" else self.importance
        return plain.model_copy(update={"importance": pooled})

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Prune each network, then fine-tune all. Raises UserError for a network whose heads are not known."""
        pruned = [self._prune(n, d, s) for n, d, s in zip(networks, datasets, seeds, strict=True)]
        if on_message is not None:
            facts = pruned[0].details["heads"]
            on_message(
                f"{facts['weights_before']:,} weights pruned to {facts['weights_after']:,}; fine-tuning"
            )
        return self.train(pruned, datasets, seeds, on_message, lambda context: None)

    def _prune(self, network: TrainedNetwork, dataset: Dataset, seed: int) -> TrainedNetwork:
        from fairpress.compression.pruning.heads import layers_of, prune_block
        from fairpress.models.initialize import initialize
        from fairpress.models.text_blocks import text_blocks

        module = initialize(network.architecture, dataset)
        module.load_state_dict(dict(network.state))
        blocks = text_blocks(module)
        if not blocks:
            raise UserError(
                "prune-heads knows the heads of the architecture text, of BERT, RoBERTa, ELECTRA and DistilBERT, and "
                f"not those of {type(module).__name__} ({network.architecture.name}); take prune-50, or prune-channels-50 "
                "for images."
            )
        importance, keep = self._importance(
            module.eval(), [n for b in blocks for n in layers_of(b)], network, dataset, seed
        )
        changed: dict[str, Tensor] = {}
        for block in blocks:
            changed |= prune_block(block, network.state, importance, self.share, self.round_to, keep)
        if not changed:
            raise UserError(
                f"no block has enough heads or units to remove {self.share:.0%} of them; set round_to=1, or take a larger "
                "share."
            )
        state = {name: changed.get(name, value).clone() for name, value in network.state.items()}
        shapes: Any = {name: tuple(value.shape) for name, value in changed.items()}
        architecture: Any = network.architecture
        channels = tuple({**dict(architecture.channels), **shapes}.items())
        removed = sum(network.state[n].numel() - v.numel() for n, v in changed.items())
        weights = sum(p.numel() for p in module.parameters())
        facts = {
            "share": self.share,
            "weights_before": weights,
            "weights_after": weights - removed,
            "heads": {b.name: state[f"{b.reading[0]}.weight"].shape[0] // b.head_size for b in blocks},
            "feedforward": {b.name: state[f"{b.expand}.weight"].shape[0] for b in blocks},
        }
        return replace(
            network,
            architecture=architecture.model_copy(update={"channels": channels}),
            state=state,
            details={**network.details, "heads": facts},
        )

    def _importance(
        self, module: nn.Module, names: Sequence[str], network: TrainedNetwork, dataset: Dataset, seed: int
    ) -> tuple[Mapping[str, Tensor], Keep]:
        """Return the importance of weights [groups, out, in], and the function that chooses by it."""
        from fairpress.compression.pruning.heads import keep_for_groups, keep_most_important, squared
        from fairpress.compression.steps.prune import measured_importance
        from fairpress.training.data import tensors

        if self.importance == "magnitude":
            return squared(network.state, names), keep_most_important
        parameters = dict(module.named_parameters())
        rows = [tensors(dataset, "train", network.class_weights)]
        context = TrainingContext(lambda x: module(x[0])[None], parameters, rows, [dataset], [seed])
        measured = measured_importance(self, self.importance, context)
        values = measured.compute({name: parameters[name].detach()[None] for name in names})
        return {name: value[:, 0] for name, value in values.items()}, keep_for_groups(measured.active)
