"""Small classifiers of transformers with random weights, saved with their tokenizer as a user would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fairpress.datasets.dataset import Dataset, Task

WORDS = [
    "the",
    "a",
    "good",
    "bad",
    "film",
    "was",
    "seen",
    "by",
    "two",
    "people",
    "who",
    "liked",
    "it",
    "not",
    "very",
    "much",
    "at",
    "all",
    "today",
]
CLASSES = ("against", "for")
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
SIZES: dict[str, dict[str, Any]] = {
    "bert": BERT,
    "roberta": BERT,
    "electra": {**BERT, "embedding_size": 16},
    "albert": {**BERT, "embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64},
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
}


def reviews(rows: int = 160, classes: tuple[str, ...] = CLASSES) -> Dataset:
    """A dataset of short reviews in two groups, with all four parts."""
    rng = np.random.default_rng(0)
    texts = np.array([" ".join(rng.choice(WORDS, rng.integers(1, 25))) for _ in range(rows)], dtype=object)
    index = np.arange(rows)
    return Dataset(
        "reviews",
        Task("opinion", classes, classes[-1] if len(classes) == 2 else None),
        texts,
        (),
        rng.integers(0, len(classes), rows),
        {"group": np.where(index % 3 == 0, "x", "y")},
        index.astype(str),
        index.astype(str),
        {
            name: index[index % 4 == i]  # type: ignore[misc]
            for i, name in enumerate(("train", "calibration", "validation", "test"))
        },
        "made",
        texts=texts,
    )


def word_tokenizer(model_max_length: int = 40, **special: str) -> Any:
    """A fast tokenizer of whole words, ``[CLS] … [SEP]``, padding id 0."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*names, *WORDS])}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(names)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    given = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        **special,
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=model_max_length, **given)


def tiny_model(
    kind: str = "bert", names: tuple[str, ...] | None = CLASSES, head: str = "classifier", **config: Any
) -> Any:
    """A transformers model in evaluation mode; `head` is classifier, encoder, or causal."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    options = {"vocab_size": 4 + len(WORDS), "pad_token_id": 0, **SIZES[kind], **config}
    if names is not None:
        options |= {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    auto = {
        "classifier": AutoModelForSequenceClassification,
        "encoder": AutoModel,
        "causal": AutoModelForCausalLM,
    }[head]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(AutoConfig.for_model(kind, **options))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def save_folder(folder: Path, kind: str = "bert", *, tokenizer: Any = None, **options: Any) -> Any:
    """Save a model and its tokenizer into a folder, and return the model."""
    model = tiny_model(kind, **options)
    model.save_pretrained(folder)
    (word_tokenizer() if tokenizer is None else tokenizer).save_pretrained(folder)
    return model


def logits_of(model: Any, tokenizer: Any, texts: np.ndarray) -> np.ndarray:
    """Return the logits [rows, outputs] of texts by transformers itself, one text at a time."""
    import torch

    rows = []
    with torch.no_grad():
        for text in texts:
            encoded = tokenizer([text], truncation=True, return_tensors="pt")
            rows.append(
                model(**{k: v for k, v in encoded.items() if k != "token_type_ids"}).logits[0].numpy()
            )
    return np.stack(rows)
