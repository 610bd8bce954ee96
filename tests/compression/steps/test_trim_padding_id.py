"""Vocabularies in which the padding id is not the first: trimming renumbers it."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from fairpress.compression.apply import apply_steps, artifact
from fairpress.compression.recipes import parse
from fairpress.compression.step import TrainedNetwork
from fairpress.core.card import ModelCard
from fairpress.models.text_encoder import TextEncoder
from fairpress.tokenization.encoded_dataset import encode_dataset
from fairpress.tokenization.model_inputs import model_inputs
from fairpress.tokenization.tokenizer import TextTokenizer
from helpers.learnable_texts import learnable_texts


def padding_last(texts: np.ndarray) -> TextTokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["[CLS]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(texts), trainer)
    tokenizer.add_special_tokens(["[PAD]"])
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 0)])
    return TextTokenizer(tokenizer.to_str().encode(), 16, tokenizer.token_to_id("[PAD]"))


def test_trimming_renumbers_the_padding_id_on_the_card_and_in_the_validation():
    dataset = learnable_texts(120).development()
    tokens = padding_last(dataset.texts)
    assert tokens.pad_id == tokens.size - 1
    torch.manual_seed(0)
    architecture = TextEncoder(layers=1, width=16, heads=2, feedforward=16).sized(tokens)
    network = architecture.build((16,), 3).eval()
    encoded = encode_dataset(dataset, tokens)
    card = ModelCard(
        "tone",
        dataset.task.classes,
        None,
        {"name": "text", **architecture.model_dump()},
        model_inputs(tokens, 0.0),
    )
    recipe = parse("trim-vocabulary-10")
    (trimmed,) = apply_steps(
        [TrainedNetwork(architecture, network.state_dict(), tokenizer=tokens)], recipe, [encoded], [0]
    )
    made = artifact(card, None, recipe, trimmed, encoded, 0)

    smaller = made.text_tokenizer
    assert smaller.pad_id == smaller.size - 1 == made.card.inputs["pad_id"] < tokens.pad_id
    assert f"filled up with {smaller.pad_id} " in made.card.inputs["preparation"]
    rows = encoded.index("validation")
    built = trimmed.architecture.build((16,), 3).eval()
    built.load_state_dict(dict(trimmed.state))
    right = 0
    for row in rows:
        ids = torch.from_numpy(smaller.encode([dataset.texts[row]]).ids).long()
        with torch.no_grad():
            right += int(built(ids).argmax()) == dataset.labels[row]
    assert made.card.provenance["details"]["validation"]["accuracy"] == right / len(rows)
