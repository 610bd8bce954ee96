"""Trim the vocabulary: drop pieces of the tokenizer that training texts need least, with their embeddings; no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, model_validator

from fairpress.compression.step import Step, TrainedNetwork
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np

    from fairpress.datasets.grouping import Key
    from fairpress.models.registry import Architecture
    from fairpress.tokenization.tokenizer import TextTokenizer

MAX_GROUPS = 100


class TrimVocabulary(Step):
    """Drop the pieces whose loss lengthens the training texts least; their embeddings go too.

    What a dropped piece wrote is written by shorter pieces. Special tokens and single characters (or bytes) stay, so that
    every text can still be written. How often a piece is used is counted on training rows, as they are cut at the maximum
    length; an encoder with merges counts what it merges further too (`tokenization.trimming`).

    Attributes
    ----------
    share
        Share of the pieces to drop.
    by
        A sensitive attribute, or an intersection such as ``"language*region"``: texts of the group that grows most are to
        grow as little as possible. By default texts are pooled, and small groups lose more.
    least
        Groups with fewer training rows have no say, and are named on the card.
    """

    changes_inputs: ClassVar[bool] = True

    share: float = Field(gt=0, lt=1)
    by: str | None = None
    least: int = Field(default=30, ge=1, le=10**9)

    @model_validator(mode="after")
    def _least_needs_groups(self) -> TrimVocabulary:
        if self.by is None and self.least != 30:
            raise ValueError("least applies to groups; add by, such as by=language")
        return self

    def plain(self) -> TrimVocabulary:
        """Return the same step for pooled texts."""
        return self.model_copy(update={"by": None, "least": 30})

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Trim each network's vocabulary. Raises UserError if it has none, or if too few pieces would be left."""
        trimmed = [self._trim(n, d) for n, d in zip(networks, datasets, strict=True)]
        if on_message is not None:
            facts = trimmed[0].details["vocabulary"]
            on_message(
                f"{facts['pieces']['before']:,} pieces trimmed to {facts['pieces']['after']:,}; training texts have "
                f"{facts['tokens_per_text']['before']:.1f} token ids before, {facts['tokens_per_text']['after']:.1f} after"
            )
        return trimmed

    def _trim(self, network: TrainedNetwork, dataset: Dataset) -> TrainedNetwork:
        import numpy as np
        import torch

        from fairpress.models.initialize import initialize
        from fairpress.models.token_embedding import token_embedding
        from fairpress.tokenization.tokenizer import TextTokenizer
        from fairpress.tokenization.trimming import (
            choose_pieces,
            keep_pieces,
            read_vocabulary,
            uses_with_merges,
        )

        tokenizer = network.tokenizer
        if tokenizer is None:
            raise UserError(
                f"trim-vocabulary is for models that read texts, and {network.architecture.name} reads other data; take "
                "prune-50."
            )
        vocabulary = read_vocabulary(tokenizer.data)
        before = len(vocabulary.pieces)
        n_kept = before - round(self.share * before)
        n_required = int(vocabulary.required.sum())
        if n_kept < n_required:
            raise UserError(
                f"trim-vocabulary: {n_required:,} of {before:,} pieces are special tokens or single characters, which "
                f"stay; drop at most {int(100 * (1 - n_required / before))} %."
            )
        table = token_embedding(initialize(network.architecture, dataset))
        index = dataset.index("train")
        codes, left_out = self._groups(dataset, index)
        counts = _counts(dataset.inputs[index], codes, len(vocabulary.required), tokenizer.pad_id)
        kept = choose_pieces(vocabulary, uses_with_merges(vocabulary, counts), counts.sum(axis=1), n_kept)
        pad_id = int(np.searchsorted(kept, tokenizer.pad_id))
        smaller = TextTokenizer(keep_pieces(vocabulary, kept), tokenizer.max_length, pad_id)
        rows = network.state[table][torch.from_numpy(kept)].clone()
        facts: dict[str, Any] = {
            "share": self.share,
            "pieces": {"before": before, "after": len(kept)},
            **_facts_of_lengths(dataset, index, tokenizer, smaller),
            **({} if self.by is None else {"by": self.by, "not_weighed": left_out}),
        }
        return replace(
            network,
            architecture=_sized(network.architecture, smaller),
            state={**network.state, table: rows},
            details={**network.details, "vocabulary": facts},
            tokenizer=smaller,
        )

    def _groups(self, dataset: Dataset, index: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """Return the group of each training row (−1: none), and the training rows of groups that are too small."""
        import numpy as np

        from fairpress.datasets.grouping import group_label, parse_by

        codes = np.zeros(len(index), dtype=np.int64)
        if self.by is None:
            return codes, {}
        by = parse_by(self.by)
        groups = _rows_by_group(dataset, by, index)
        large = {key: rows for key, rows in groups.items() if len(rows) >= self.least}
        if len(large) < 2:
            raise UserError(
                f"trim-vocabulary: by={self.by} has fewer than two groups of {self.least} training rows or more; leave "
                "out by, or lower least."
            )
        codes -= 1
        for code, rows in enumerate(large.values()):
            codes[rows] = code
        return codes, {group_label(by, k): len(rows) for k, rows in groups.items() if k not in large}


def _rows_by_group(dataset: Dataset, by: Sequence[str], index: np.ndarray) -> Mapping[Key, np.ndarray]:
    from fairpress.datasets.grouping import group_rows, keys_of_groups

    attributes = {name: values[index] for name, values in dataset.attributes.items()}
    return group_rows(keys_of_groups(attributes, by, dataset.name))


def _counts(ids: np.ndarray, codes: np.ndarray, size: int, pad_id: int) -> np.ndarray:
    """Return the occurrences of each id in rows [rows, length] of each group: int64 [groups, ids], without padding."""
    import numpy as np

    counts = np.stack(
        [np.bincount(ids[codes == code].ravel(), minlength=size) for code in range(int(codes.max()) + 1)]
    )
    counts[:, pad_id] = 0
    return counts


def _facts_of_lengths(
    dataset: Dataset, index: np.ndarray, before: TextTokenizer, after: TextTokenizer
) -> dict[str, Any]:
    """Return mean token ids of a training text and the share that is cut, before and after, in all and by group."""
    measured = {
        "before": _lengths_and_cuts(dataset, index, before),
        "after": _lengths_and_cuts(dataset, index, after),
    }

    def means(rows: slice | np.ndarray) -> dict[str, dict[str, float]]:
        return {
            "tokens_per_text": {k: float(lengths[rows].mean()) for k, (lengths, _) in measured.items()},
            "truncated": {k: float(cut[rows].mean()) for k, (_, cut) in measured.items()},
        }

    by_group, many = {}, {}
    for name in dataset.attributes:
        groups = _rows_by_group(dataset, (name,), index)
        if len(groups) > MAX_GROUPS:
            many[name] = len(groups)
        else:
            by_group[name] = {key[0]: {"rows": len(rows), **means(rows)} for key, rows in groups.items()}
    return {**means(slice(None)), "groups": by_group, **({"too_many_groups": many} if many else {})}


def _lengths_and_cuts(
    dataset: Dataset, index: np.ndarray, tokenizer: TextTokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of token ids of some rows, and whether their texts were cut at the maximum length."""
    from fairpress.tokenization.encoded_dataset import encode_dataset, truncated_rows
    from fairpress.tokenization.padding import text_lengths

    encoded = encode_dataset(dataset, tokenizer)
    return text_lengths(encoded.inputs[index], tokenizer.pad_id), truncated_rows(encoded, index, tokenizer)


def _sized(architecture: Architecture, tokenizer: TextTokenizer) -> Architecture:
    """Return the architecture for the ids of another tokenizer."""
    return cast("Architecture", cast("Any", architecture).sized(tokenizer))
