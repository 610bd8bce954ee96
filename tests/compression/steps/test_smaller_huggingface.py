"""Smaller shapes of Hugging Face models, against transformers and ONNX Runtime themselves."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.models.huggingface.artifact import artifact_of_folder
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from learnable_texts import CLASSES, learnable_texts

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@pytest.fixture(scope="module")
def texts():
    return learnable_texts(160)


@pytest.fixture(scope="module")
def folder(texts, tmp_path_factory):
    """A BERT of three layers that was not trained, and a WordPiece tokenizer of the texts, as transformers saves them."""
    path = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(list(texts.texts), trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=40,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True)),
    )
    fast.save_pretrained(path)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: i for i, name in enumerate(CLASSES)},
    )
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def base(folder, texts):
    return artifact_of_folder(folder, texts.development())


def compressed(base, recipe, texts, path):
    (small,) = compress([base], parse(recipe), [texts.development()], [0])
    return Artifact.load(small.save(path / "small"))


def logits(artifact, texts):
    tokenizer = artifact.text_tokenizer
    ids = tokenizer.encode(texts).ids.astype(np.int64)
    session = onnxruntime.InferenceSession(artifact.onnx, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids})[0]


def in_transformers(folder, state, texts, tokenizer, **sizes):
    """Return the logits of transformers' own model with this state and these sizes, with its own mask."""
    config = transformers.BertConfig.from_dict({**json.loads((folder / "config.json").read_text()), **sizes})
    model = transformers.BertForSequenceClassification(config).eval()
    model.load_state_dict(state)
    ids = torch.from_numpy(tokenizer.encode(texts).ids).long()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=(ids != 0).long()).logits.numpy()


def test_a_trimmed_vocabulary(base, folder, texts, tmp_path):
    small = compressed(base, "trim-vocabulary-40", texts, tmp_path)
    tokenizer = small.text_tokenizer
    assert (
        tokenizer.size
        == round(0.6 * base.text_tokenizer.size)
        == small.card.architecture["config"]["vocab_size"]
    )
    state = from_bytes(small.weights)
    assert state["bert.embeddings.word_embeddings.weight"].shape == (tokenizer.size, 32)
    encoded = Tokenizer.from_str(small.tokenizer.decode()).encode_batch(list(texts.texts))
    assert not any("[UNK]" in e.tokens for e in encoded)
    expected = in_transformers(folder, state, texts.texts[:9], tokenizer, vocab_size=tokenizer.size)
    np.testing.assert_allclose(logits(small, texts.texts[:9]), expected, atol=1e-5)


def test_fewer_layers_that_begin_with_the_teachers(base, folder, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "fairpress.compression.finetuning.train_alone", lambda module, *a, **k: module.state_dict()
    )
    student = compressed(base, "distill(layers=2)", texts, tmp_path)
    state, teacher = from_bytes(student.weights), from_bytes(base.weights)
    assert student.card.provenance["details"]["distilled"]["blocks_of_teacher"] == [0, 2]
    for name, value in state.items():
        assert torch.equal(value, teacher[name.replace("layer.1.", "layer.2.")])
    expected = in_transformers(folder, state, texts.texts[:9], student.text_tokenizer, num_hidden_layers=2)
    np.testing.assert_allclose(logits(student, texts.texts[:9]), expected, atol=1e-5)


def test_an_encoder_from_scratch_as_the_student(base, texts, tmp_path):
    student = compressed(base, "distill(into=text,layers=1,width=32,epochs=1)+w8", texts, tmp_path)
    assert student.card.architecture["name"] == "text"
    assert student.tokenizer == base.tokenizer
    assert student.card.architecture["vocabulary"] == base.text_tokenizer.size
    assert logits(student, texts.texts[:3]).shape == (3, 3)


def test_pruned_heads(base, texts, tmp_path):
    small = compressed(base, "prune-heads-50(epochs=1)", texts, tmp_path)
    state = from_bytes(small.weights)
    assert state["bert.encoder.layer.1.attention.self.value.weight"].shape == (16, 32)
    assert state["bert.encoder.layer.2.output.dense.weight"].shape == (32, 24)
    assert set(small.card.provenance["details"]["heads"]["heads"].values()) == {2}
    further = compressed(small, "int8", texts, tmp_path / "further")
    assert further.card.recipe == "prune-heads-50(epochs=1)+int8"
    agree = logits(further, texts.texts[:60]).argmax(1) == logits(small, texts.texts[:60]).argmax(1)
    assert agree.mean() > 0.8
