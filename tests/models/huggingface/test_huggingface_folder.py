"""Hugging Face folders as artifacts: the exported file against transformers itself, and folders that are refused."""

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Task
from fairpress.models import registry
from fairpress.models.huggingface.architecture import HuggingFace
from fairpress.models.huggingface.artifact import artifact_of_folder, artifact_of_model
from fairpress.models.huggingface.folder import open_classifier, open_folder
from fairpress.models.huggingface.labels import match_outputs
from fairpress.models.weights_io import from_bytes, to_bytes
from fairpress.runtime.predict import notes_of, predictions
from fairpress.runtime.text_predictions import UNKNOWN_TRAINING_ROWS
from tiny_transformers import SIZES, logits_of, reviews, save_folder, tiny_model, word_tokenizer

DATA = reviews()
TEXTS = DATA.texts[DATA.parts["test"]]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return folder, save_folder(folder)


@pytest.fixture
def copied(bert, tmp_path):
    """A folder that a test may damage."""
    shutil.copytree(bert[0], tmp_path / "m")
    return tmp_path / "m"


def set_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config |= changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def outputs_of(artifact, texts):
    """Run the file directly, all texts in one padded batch."""
    ids = artifact.text_tokenizer.encode(texts).ids.astype(np.int64)
    session = onnxruntime.InferenceSession(artifact.onnx, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("input_ids", "tensor(int64)")
    return session.run(None, {"input_ids": ids})[0]


@pytest.mark.parametrize(
    "kind",
    ["bert", *(pytest.param(k, marks=pytest.mark.slow) for k in SIZES if k != "bert")],
)
def test_file_gives_the_logits_of_transformers(kind, tmp_path):
    model = save_folder(tmp_path / "m", kind)
    artifact = artifact_of_folder(tmp_path / "m", DATA)
    expected = logits_of(model, word_tokenizer(), TEXTS)
    assert expected.std() > 0.1
    np.testing.assert_allclose(outputs_of(artifact, TEXTS), expected, atol=1e-4)
    assert set(from_bytes(artifact.weights)) >= {name for name, _ in model.named_parameters()}
    assert artifact.card.inputs["max_length"] == 40


@pytest.mark.slow
def test_outputs_in_another_order_are_sorted_by_name(copied):
    set_config(copied, id2label={"0": "FOR", "1": "Against"})
    model = tiny_model()
    artifact = artifact_of_folder(copied, DATA)
    expected = logits_of(model, word_tokenizer(), TEXTS)[:, ::-1]
    np.testing.assert_allclose(outputs_of(artifact, TEXTS), expected, atol=1e-4)
    card = artifact.card.architecture
    again = registry.get(card["name"], **{k: v for k, v in card.items() if k != "name"})
    module = registry.build(again, 40, 2)
    module.load_state_dict(from_bytes(artifact.weights))
    ids = torch.from_numpy(artifact.text_tokenizer.encode(TEXTS).ids.astype(np.int64))
    with torch.no_grad():
        np.testing.assert_allclose(module.eval()(ids).numpy(), expected, atol=1e-4)


@pytest.mark.slow
def test_one_logit_becomes_two(tmp_path):
    model = save_folder(tmp_path / "m", names=("for",))
    (logit,) = logits_of(model, word_tokenizer(), TEXTS).T
    outputs = outputs_of(artifact_of_folder(tmp_path / "m", DATA), TEXTS)
    np.testing.assert_allclose(outputs, np.stack([0 * logit, logit], 1), atol=1e-4)


def test_position_limit_of_roberta_leaves_its_offset_out(tmp_path):
    save_folder(tmp_path / "m", "roberta", tokenizer=word_tokenizer(512))
    assert open_classifier(tmp_path / "m").tokenizer.max_length == 64 - 0 - 1
    with pytest.raises(UserError, match="the maximum length 64 is more than the 63 positions"):
        open_classifier(tmp_path / "m", 64)


def test_nothing_is_asked_of_the_network(bert, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    opened = HuggingFace(folder=str(bert[0]))
    network = registry.build(opened, 40, 2)
    assert opened.start(network)["drawn_anew"] == []


def test_folder_of_a_slow_tokenizer_is_converted(tmp_path):
    save_folder(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").unlink()
    (tmp_path / "m" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "model_max_length": 40})
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "film"]
    (tmp_path / "m" / "vocab.txt").write_text("\n".join(words) + "\n")
    ids = open_classifier(tmp_path / "m").tokenizer.encode(["good film"]).ids[0]
    assert ids[:4].tolist() == [2, 4, 5, 3]


def test_backbone_starts_with_its_weights_and_a_new_head(tmp_path):
    save_folder(tmp_path / "m", head="encoder", names=None)
    architecture = HuggingFace(folder=str(tmp_path / "m"), max_length=20)
    network = registry.build(architecture, 20, 3, seed=1)
    drawn = network.state_dict()["classifier.weight"].clone()
    facts = architecture.start(network)
    expected = tiny_model(head="encoder", names=None).state_dict()
    state = network.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(state[f"bert.{name}"], value)
    torch.testing.assert_close(state["classifier.weight"], drawn)
    assert facts["drawn_anew"] == ["classifier.bias", "classifier.weight"]
    assert architecture.tokenizer().max_length == 20


def test_model_and_tokenizer_in_memory_give_the_artifact_of_their_folder(bert):
    model = bert[1]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    kind = type(model)
    artifact = artifact_of_model(model, word_tokenizer(), DATA)
    np.testing.assert_allclose(
        outputs_of(artifact, TEXTS), logits_of(model, word_tokenizer(), TEXTS), atol=1e-4
    )
    assert type(model) is kind
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def refused(folder, match, data=DATA):
    with pytest.raises(UserError, match=match) as caught:
        artifact_of_folder(folder, data)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused_with_a_command_that_converts_them(copied, bert):
    torch.save(bert[1].state_dict(), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"pickle only \(pytorch_model.bin\)") as caught:
        artifact_of_folder(copied, DATA)
    command = shlex.split(str(caught.value).split("safetensors: ")[1])
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True)
    assert artifact_of_folder(copied, DATA).text_tokenizer is not None


def test_predictions_say_that_training_rows_are_unknown_also_of_compressed_files(bert):
    fp32 = artifact_of_folder(bert[0], DATA)
    w8 = fp.compress(fp32, "w8", data=DATA)
    notes = notes_of(predictions({"fp32": fp32, "w8": w8}, DATA))
    assert notes == {name: [UNKNOWN_TRAINING_ROWS] for name in ("fp32", "w8")}


def test_a_file_that_lost_what_an_imported_model_knew_is_not_blamed_on_the_model(bert):
    fp32 = artifact_of_folder(bert[0], DATA)
    weights = from_bytes(fp32.weights)
    weights["classifier.bias"] = torch.tensor([9.0, -9.0])
    constant = fp.compress(replace(fp32, weights=to_bytes(weights)), "w8", data=DATA)
    (warning,) = constant.card.provenance["warnings"]
    assert "it has lost what its baseline had learned" in warning


def test_folder_without_weights_is_refused(copied):
    (copied / "model.safetensors").unlink()
    refused(copied, "has no weights")


def test_damaged_weights_are_refused(copied):
    (copied / "model.safetensors").write_bytes(b"\x08" + b"\x00" * 30)
    refused(copied, "cannot be read")


def test_language_model_is_refused(tmp_path):
    save_folder(tmp_path / "m", "gpt2", head="causal", names=None)
    refused(tmp_path / "m", r"writes text \(GPT2LMHeadModel\)")
    with pytest.raises(UserError, match="writes text"):
        open_folder(tmp_path / "m")


def test_encoder_without_head_is_a_backbone_only(tmp_path):
    save_folder(tmp_path / "m", head="encoder", names=None)
    refused(tmp_path / "m", "has no classification head.*--backbone")


def test_tokenizer_larger_than_the_embedding_is_refused(tmp_path):
    save_folder(tmp_path / "m", vocab_size=12)
    refused(tmp_path / "m", "ids up to 22, and the embedding table 12 rows")


def test_tokenizer_that_pads_with_another_id_is_refused(tmp_path):
    save_folder(tmp_path / "m", tokenizer=word_tokenizer(pad_token="[UNK]"))
    refused(tmp_path / "m", "pads with id 1, and the model's pad_token_id is 0")


def test_tokenizer_that_pads_with_a_token_of_texts_is_refused(tmp_path):
    save_folder(tmp_path / "m", tokenizer=word_tokenizer(pad_token="[SEP]"), pad_token_id=3)
    refused(tmp_path / "m", "pads with a token that it also puts into texts")


def test_missing_tokenizer_is_refused(copied):
    for file in copied.glob("*token*"):
        file.unlink()
    refused(copied, r"has no tokenizer \(tokenizer.json\)")


def test_unnamed_outputs_are_refused_unless_labels_are_numbers(copied):
    set_config(copied, id2label=None, label2id=None)
    refused(copied, "does not name its outputs")
    assert match_outputs(["LABEL_0", "LABEL_1"], Task("y", ("0", "1"), "1"), "m") == (0, 1)
    assert match_outputs(["LABEL_0", "LABEL_1"], Task("y", ("1", "0"), "1"), "m") == (1, 0)


def test_outputs_that_are_no_classes_of_the_data_are_refused(copied):
    set_config(copied, id2label={"0": "against", "1": "neither"})
    refused(copied, "neither is not a class of 'opinion'; no output is named for")
    set_config(copied, id2label={"0": "against", "1": "neither", "2": "for"})
    refused(copied, "has 3 outputs .against, neither, for; id2label., and 'opinion' has 2 classes")
    set_config(copied, id2label={"0": "against", "1": "for"})
    refused(copied, "no output is named neither", reviews(classes=("against", "neither", "for")))


def test_models_of_other_answers_are_refused(copied):
    set_config(copied, problem_type="multi_label_classification")
    refused(copied, "decides several labels")
    set_config(copied, problem_type="regression")
    refused(copied, "predicts a number")


def test_unknown_models_and_code_of_their_own_are_refused(copied):
    set_config(copied, model_type="made-up", auto_map={"AutoConfig": "code.Config"})
    (copied / "code.py").write_text("raise SystemExit('run')")
    refused(copied, "'made-up' from code of its own, which fairpress never runs")


def test_quantized_model_is_refused(copied):
    set_config(copied, quantization_config={"quant_method": "bitsandbytes"})
    refused(copied, r"quantized already \(bitsandbytes\)")


def test_texts_are_needed(copied):
    from dataclasses import replace

    table = replace(DATA, texts=None, inputs=np.zeros((len(DATA), 3), np.float32))
    refused(copied, "reads texts", table)
