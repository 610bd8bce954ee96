"""A BERT of transformers, exported with its three inputs, predicts what transformers itself computes."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from fairpress.runtime.external.model import open_external
from tiny_texts import CLASSES, text_dataset, tokenizer

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
transformers = pytest.importorskip("transformers", reason="the extra text is not installed")


@pytest.mark.slow
def test_an_exported_bert_predicts_as_transformers_does(tmp_path):
    torch.manual_seed(0)
    labels = ("Positive", "Negative", "Neutral")
    config = transformers.BertConfig(
        vocab_size=tokenizer().size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
        initializer_range=0.5,
        attn_implementation="eager",
    )
    model = transformers.BertForSequenceClassification(config).eval()
    names = ("input_ids", "attention_mask", "token_type_ids")

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids, attention_mask, token_type_ids).logits

    example = tuple(torch.ones(2, 7, dtype=torch.long) for _ in names)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter: axes of one size share a name
        program = torch.onnx.export(
            Logits().eval(),
            example,
            dynamo=True,
            dynamic_shapes=tuple({0: batch, 1: length} for _ in names),
            input_names=list(names),
            output_names=["logits"],
            verbose=False,
        )
    program.save(str(tmp_path / "model.onnx"), external_data=False)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    (tmp_path / "tokenizer.json").write_bytes(tokenizer().data)
    (tmp_path / "model.model.yaml").write_text("max_length: 16")

    dataset = text_dataset(60)
    opened = open_external(tmp_path / "model.onnx", dataset)
    scores = opened.scores(dataset, np.arange(60))
    expected = np.empty((60, 3))
    with torch.no_grad():
        for row, text in enumerate(dataset.texts):
            encoded = tokenizer().encode([text])
            ids = torch.from_numpy(encoded.ids[:, : encoded.lengths[0]]).long()
            expected[row] = model(ids).logits.softmax(1)[0]
    order = [labels.index(name.capitalize()) for name in CLASSES]
    np.testing.assert_allclose(scores, expected[:, order], atol=1e-5)
    assert len(set(scores.argmax(1))) > 1
