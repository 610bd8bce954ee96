"""A network for texts from data to artifact, and what is refused on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Task
from fairpress.models import registry
from fairpress.models.initialize import initialize
from fairpress.models.text_encoder import TextEncoder
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.tokenization.byte_pair import train_byte_pair
from fairpress.tokenization.encoded_dataset import encode_dataset
from fairpress.tokenization.tokenizer import TextTokenizer
from fairpress.training import fit_text, training_format
from fairpress.training.config import FitConfig, ImageFitConfig, TextFitConfig, training_config
from fairpress.training.fit import fit
from fairpress.training.precision import FORMATS, format_by_processor
from fairpress.training.replay import replay_to_epoch
from fairpress.training.trainer import train_module
from learnable_texts import learnable_texts
from made_dataset import make_dataset

SIZES = {
    "layers": 1,
    "width": 32,
    "heads": 2,
    "feedforward": 64,
    "vocabulary": 400,
    "max_length": 48,
}
QUICK = {"max_epochs": 6, "batch_size": 16, "learning_rate": 5e-3, "way": "fp32"}


def train(dataset: Dataset, seed: int = 0, *, training: Mapping[str, Any] = QUICK, **more: Any) -> Artifact:
    return fp.train("text", dataset, seed=seed, options=SIZES, training=training, device="cpu", **more)


@pytest.fixture(scope="module")
def texts() -> Dataset:
    return learnable_texts()


@pytest.fixture(scope="module")
def base(texts: Dataset) -> Artifact:
    return train(texts)


def logits_of(artifact: Artifact, texts: np.ndarray) -> np.ndarray:
    """Logits [rows, classes] by the libraries themselves, one text after another, without padding."""
    assert artifact.tokenizer is not None
    tokenizer = Tokenizer.from_str(artifact.tokenizer.decode())
    tokenizer.enable_truncation(artifact.card.inputs["max_length"])
    session = onnxruntime.InferenceSession(artifact.onnx)
    rows = [np.array([tokenizer.encode(text).ids], dtype=np.int64) for text in texts]
    return np.concatenate([session.run(None, {"input_ids": ids})[0] for ids in rows])


def test_the_file_has_learned_what_words_say(texts: Dataset, base: Artifact) -> None:
    test = texts.index("test")
    assert texts.texts is not None
    right = logits_of(base, texts.texts[test]).argmax(1) == texts.labels[test]
    assert right.mean() > 0.95  # chance: a third


def test_the_validation_accuracy_on_the_card_is_that_of_the_file(texts: Dataset, base: Artifact) -> None:
    rows = texts.index("validation")
    assert texts.texts is not None
    right = logits_of(base, texts.texts[rows]).argmax(1) == texts.labels[rows]
    assert base.card.provenance["validation_accuracy"] == pytest.approx(right.mean(), abs=1e-6)


def test_padding_row_order_and_batches_change_no_answer(texts: Dataset, base: Artifact) -> None:
    assert texts.texts is not None
    alone = logits_of(base, texts.texts[:60])
    assert base.text_tokenizer is not None
    ids = base.text_tokenizer.encode(texts.texts[:60]).ids.astype(
        np.int64
    )  # all padded to the maximum length
    session = onnxruntime.InferenceSession(base.onnx)
    order = np.random.default_rng(0).permutation(60)
    together = session.run(None, {"input_ids": ids[order]})[0]
    np.testing.assert_allclose(together, alone[order], atol=1e-5)


def test_the_tokenizer_is_trained_on_training_rows_alone(texts: Dataset, base: Artifact) -> None:
    assert texts.texts is not None
    expected = train_byte_pair(texts.texts[texts.index("train")], SIZES["vocabulary"], SIZES["max_length"])
    assert base.tokenizer == expected.data
    others = texts.texts.copy()
    for part in ("calibration", "validation", "test"):
        others[texts.index(part)] = "zzzzzz qqqqqq"
    assert fit_text.tokenizer_for(TextEncoder(**SIZES), replace(texts, texts=others)) == expected


def test_the_card_describes_the_inputs(base: Artifact) -> None:
    inputs = base.card.inputs
    assert base.text_tokenizer is not None
    assert inputs["name"] == onnxruntime.InferenceSession(base.onnx).get_inputs()[0].name == "input_ids"
    assert (inputs["kind"], inputs["shape"], inputs["dtype"], inputs["columns"]) == (
        "text",
        [48],
        "int32",
        [],
    )
    assert (inputs["max_length"], inputs["pad_id"], inputs["truncated"]) == (48, 0, 0.0)
    assert base.card.architecture["vocabulary"] == base.text_tokenizer.size
    origin = base.card.provenance
    assert origin["way"] == "fp32"
    assert 0 < origin["padding"] < 0.3
    assert origin["tokens_per_second"] > origin["rows_per_second"]


def test_texts_that_lose_their_end_are_counted(texts: Dataset) -> None:
    artifact = fp.train(
        "text",
        texts,
        options={**SIZES, "max_length": 12},
        training={**QUICK, "max_epochs": 1},
        device="cpu",
    )
    assert artifact.tokenizer is not None
    assert texts.texts is not None
    tokenizer = Tokenizer.from_str(artifact.tokenizer.decode())
    lengths = [len(tokenizer.encode(text).ids) for text in texts.texts[texts.index("train")]]
    assert 0 < artifact.card.inputs["truncated"] == np.mean([n > 12 for n in lengths]) < 1


def test_equal_arguments_give_equal_artifacts(texts: Dataset, base: Artifact) -> None:
    again, other = train(texts), train(texts, seed=1)
    assert again.onnx == base.onnx
    assert again.weights == base.weights
    assert other.weights != base.weights
    assert other.tokenizer == base.tokenizer


def test_networks_of_one_call_are_those_of_single_calls(texts: Dataset, base: Artifact) -> None:
    config = training_config(TextEncoder(**SIZES), QUICK)
    messages: list[str] = []
    both = fit(TextEncoder(**SIZES), [texts, texts], [0, 1], config, messages.append)
    assert both[0].weights == base.weights
    assert sum("encoding" in m for m in messages) == 1  # one tokenizer for both


def test_an_interrupted_training_ends_as_one_that_was_not(
    texts: Dataset, base: Artifact, tmp_path, monkeypatch
):
    class Killed(Exception):
        pass

    def killed_after_two(*arguments: Any, **options: Any) -> Any:
        def on_epoch(epoch: Any) -> None:
            if epoch.number == 2:
                raise Killed

        return train_module(*arguments, **options, on_epoch=on_epoch)

    with monkeypatch.context() as patch:
        patch.setattr(fit_text, "train_module", killed_after_two)
        with pytest.raises(Killed):
            train(texts, checkpoints=tmp_path / "unfinished")
    messages: list[str] = []
    resumed = train(texts, checkpoints=tmp_path / "unfinished", on_message=messages.append)
    assert any("resuming after epoch 2" in m for m in messages)
    assert resumed.card.provenance["resumed_after"] == 2
    assert resumed.weights == base.weights


def test_a_checkpoint_of_another_tokenizer_is_not_resumed(texts: Dataset, tmp_path) -> None:
    short = {**QUICK, "max_epochs": 1}
    train(texts, training=short, checkpoints=tmp_path)
    assert texts.texts is not None
    others = np.array([f"{text} more" for text in texts.texts], dtype=object)
    messages: list[str] = []
    train(
        replace(texts, texts=others, inputs=others),
        training=short,
        checkpoints=tmp_path,
        on_message=messages.append,
    )
    assert any("had other data or options" in m for m in messages)


def test_an_epoch_of_the_training_can_be_repeated(texts: Dataset, base: Artifact) -> None:
    from fairpress.training.data import tensors

    assert base.text_tokenizer is not None
    encoded = encode_dataset(texts, base.text_tokenizer)
    architecture = registry.get(**base.card.architecture)
    last = base.card.provenance["epochs"]
    assert base.card.provenance["best_epoch"] == last
    rows = tensors(encoded, "train")
    state = replay_to_epoch(architecture, rows, encoded, 0, base.card.provenance, last)
    assert base.weights is not None
    saved = from_bytes(base.weights, "the weights")
    assert all(torch.equal(state[name], value) for name, value in saved.items())


def test_early_stopping_keeps_the_best_epoch(texts: Dataset) -> None:
    shuffled = replace(texts, labels=np.random.default_rng(99).integers(0, 3, len(texts)))
    artifact = train(shuffled, training={**QUICK, "max_epochs": 30, "patience": 2, "schedule": "constant"})
    origin = artifact.card.provenance
    losses = [losses[1] for losses in origin["curve"]]
    assert origin["best_epoch"] == 1 + int(np.argmin(losses))
    assert origin["epochs"] == origin["best_epoch"] + 2
    assert artifact.weights is not None


def test_class_weights_and_constraints_apply(texts: Dataset) -> None:
    two = replace(
        texts,
        task=Task("tone", ("other", "positive"), "positive"),
        labels=(texts.labels == 2).astype(np.int64),
    )
    artifact = train(
        two,
        training={
            **QUICK,
            "max_epochs": 2,
            "class_weights": "balanced",
            "method": "penalty",
            "constraint": "demographic_parity",
            "by": "language",
            "strength": 10.0,
        },
    )
    origin = artifact.card.provenance
    assert origin["training"]["class_weights"] == "balanced"
    assert origin["fairness"]["constraint"] == "demographic_parity"


class Brought(TextEncoder):
    """An encoder that brings its tokenizer and its weights."""

    def tokenizer(self) -> TextTokenizer:
        return train_byte_pair(["kola mirat suvo " * 9], 300, self.max_length)

    def start(self, network: torch.nn.Module) -> dict[str, Any]:
        with torch.no_grad():
            network.get_parameter("classify.bias").fill_(7.0)
        return {"file": "brought"}


def test_an_architecture_may_bring_tokenizer_and_weights(texts: Dataset) -> None:
    architecture = Brought(**SIZES)
    config = training_config(architecture, {**QUICK, "max_epochs": 1, "learning_rate": 1e-7})
    (artifact,) = fit(architecture, [texts], [0], config)
    assert artifact.tokenizer == architecture.tokenizer().data
    assert artifact.card.provenance["started_from"] == {"file": "brought"}
    assert artifact.weights is not None
    bias = from_bytes(artifact.weights, "the weights")["classify.bias"]
    np.testing.assert_allclose(bias.numpy(), 7.0, atol=1e-3)


def test_the_network_of_the_card_has_the_weights_that_are_stored(texts: Dataset, base: Artifact) -> None:
    architecture = registry.get(**base.card.architecture)
    assert base.text_tokenizer is not None
    module = initialize(architecture, encode_dataset(texts, base.text_tokenizer)).eval()
    assert base.weights is not None
    module.load_state_dict(from_bytes(base.weights, "the weights"))
    assert texts.texts is not None
    ids = torch.from_numpy(base.text_tokenizer.encode(texts.texts[:20]).ids).long()
    with torch.no_grad():
        np.testing.assert_allclose(module(ids).numpy(), logits_of(base, texts.texts[:20]), atol=1e-5)


def test_what_does_not_fit_is_refused_in_a_sentence(texts: Dataset) -> None:
    with pytest.raises(UserError, match=r"text reads texts and .* is a table"):
        fp.train("text", make_dataset())
    with pytest.raises(UserError, match=r"mlp reads tables and 'learnable-texts' is text; take .*text"):
        fp.train("mlp", texts)
    with pytest.raises(UserError, match="not a multiple of 3 heads"):
        fp.train("text", texts, options={**SIZES, "heads": 3})
    with pytest.raises(UserError, match="start is for tables"):
        fp.train("text", texts, training={"start": "linear"})
    with pytest.raises(UserError, match="unknown key 'flip'"):
        fp.train("text", texts, training={"flip": True})
    with pytest.raises(UserError, match="diverged"):
        train(texts, training={**QUICK, "learning_rate": 1000.0, "schedule": "constant"})
    with pytest.raises(TypeError, match="TextFitConfig"):
        fit(TextEncoder(**SIZES), [texts], [0], FitConfig())


def test_each_kind_of_network_has_its_options() -> None:
    assert type(training_config(TextEncoder())) is TextFitConfig
    assert type(training_config(registry.get("resnet18"))) is ImageFitConfig
    assert type(training_config(registry.get("mlp"))) is FitConfig


def test_the_format_does_not_depend_on_how_busy_the_machine_is(monkeypatch) -> None:
    assert TextFitConfig().way == "fp32"
    assert ImageFitConfig().way == "fp32-channels-last"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for has_instructions, name in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda value=has_instructions: value)
        assert format_by_processor(torch.device("cpu")).name == name
        assert format_by_processor(torch.device("cpu"), images=True).name == f"{name}-channels-last"


def test_cards_of_earlier_releases_keep_what_auto_meant() -> None:
    assert training_config(TextEncoder(), {"way": "auto"}).way == "processor"  # type: ignore[attr-defined]
    assert training_config(registry.get("resnet18"), {"way": "auto"}).way == "fastest"  # type: ignore[attr-defined]


def test_a_resumed_training_keeps_the_precision_of_its_first_run(
    texts: Dataset, tmp_path, monkeypatch
) -> None:
    """Another run would find another way fastest; a state of half the training is not continued in it."""
    fastest_now = "bf16"
    monkeypatch.setattr(
        training_format, "fastest", lambda *_: (FORMATS[fastest_now], {"fp32": 1.0, fastest_now: 2.0})
    )
    monkeypatch.setattr(fit_text, "check_export", interrupted)
    asked = {**QUICK, "max_epochs": 2, "way": "fastest"}
    with pytest.raises(KeyboardInterrupt):
        train(texts, training=asked, checkpoints=tmp_path)
    fastest_now = "fp32"
    monkeypatch.setattr(fit_text, "check_export", lambda *_: None)
    facts = train(texts, training=asked, checkpoints=tmp_path).card.provenance
    assert (facts["way"], facts["resumed_after"]) == ("bf16", 2)
    assert facts["rows_per_second_tried"] == {"fp32": 1.0, "bf16": 2.0}
    assert train(texts, training=asked).card.provenance["way"] == "fp32"


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_threads_are_those_of_the_call_and_on_the_card(texts: Dataset) -> None:
    before = torch.get_num_threads()
    artifact = train(texts, training={**QUICK, "max_epochs": 1}, threads=before + 1)
    assert artifact.card.provenance["threads"] == before + 1
    small = fp.compress(artifact, "w8", data=texts, threads=before + 2)
    assert small.card.provenance["threads"] == before + 2
    assert torch.get_num_threads() == before
    with pytest.raises(UserError, match="`threads=0` is too small"):
        train(texts, threads=0)
