"""Text and sound classifiers of transformers, built from small configurations without a download."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import transformers
from torch import nn

CLASSES, PIECES, LENGTH, PAD = 5, 200, 12, 0
SMALL = {
    "vocab_size": PIECES,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 40,
    "pad_token_id": PAD,
    "initializer_range": 0.2,
}
# Class of the configuration → what differs from SMALL.
CONFIGURATIONS: dict[str, dict[str, object]] = {
    "Bert": {},
    "Roberta": {},
    "Electra": {"embedding_size": 24},
    "Albert": {"embedding_size": 24},
    "DebertaV2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "MobileBert": {"embedding_size": 24, "intra_bottleneck_size": 24, "true_hidden_size": 24},
    "MPNet": {},
    "ConvBert": {"embedding_size": 24, "conv_kernel_size": 3, "head_ratio": 2},
    "SqueezeBert": {"embedding_size": 48},
    "ModernBert": {"global_attn_every_n_layers": 2, "local_attention": 8},
}


def _config(kind: str, options: dict[str, object]) -> transformers.PretrainedConfig:
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **options})
    config.num_labels = CLASSES
    return config


def _encoder(kind: str, options: dict[str, object]) -> nn.Module:
    config = _config(kind, options)
    return transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")


def _distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=PIECES, dim=48, hidden_dim=96, n_layers=2, n_heads=4, max_position_embeddings=40
    )
    config.num_labels = CLASSES
    return transformers.DistilBertForSequenceClassification(config)


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=PIECES, n_embd=48, n_layer=2, n_head=4, n_positions=40, initializer_range=0.2
    )

    class LastToken(nn.Module):
        """GPT-2, whose weights are read by addmm, with a head on the last token."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = transformers.GPT2Model(config), nn.Linear(48, CLASSES)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(input_ids=input_ids, use_cache=False).last_hidden_state[:, -1])

    return LastToken()


def _wav2vec2() -> nn.Module:
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16),
        conv_stride=(5, 4),
        conv_kernel=(10, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
        initializer_range=0.2,
    )
    config.num_labels = CLASSES
    return transformers.Wav2Vec2ForSequenceClassification(config)


def all_networks() -> dict[str, tuple[Callable[[], nn.Module], Callable[[int, torch.Generator], dict]]]:
    """Return name → (what builds it, what makes its inputs)."""
    encoders = {
        f"transformers {kind}": (partial(_encoder, kind, options), token_rows)
        for kind, options in CONFIGURATIONS.items()
    }
    return {
        **encoders,
        "transformers DistilBert": (_distilbert, token_rows),
        "transformers GPT2": (_gpt2, ids_alone),
        "transformers Wav2Vec2": (_wav2vec2, sounds),
    }


def token_rows(rows: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return token ids with their mask, a third of the rows shorter than the others."""
    ids = torch.randint(3, PIECES, (rows, LENGTH), generator=generator)
    ids[::3, LENGTH // 2 :] = PAD
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def ids_alone(rows: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return token ids of one length."""
    return {"input_ids": torch.randint(3, PIECES, (rows, LENGTH), generator=generator)}


def sounds(rows: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return waves [rows, samples] of a random frequency, with noise."""
    frequency = 0.02 + 0.2 * torch.rand(rows, 1, generator=generator)
    wave = torch.sin(frequency * torch.arange(800.0))
    return {"input_values": wave + 0.1 * torch.randn(rows, 800, generator=generator)}
