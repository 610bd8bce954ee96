"""Networks of the user's own that read integers or several inputs, or return more than logits."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.core.errors import UserError

ROWS = 160
GENERATOR = torch.Generator().manual_seed(0)
CODES = torch.randint(0, 10, (ROWS, 1), generator=GENERATOR)
WORDS = torch.randint(0, 20, (ROWS, 6), generator=GENERATOR)
NUMBERS = torch.randn(ROWS, 3, generator=GENERATOR)
Y = torch.arange(ROWS) % 2


class OfCodes(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, words):
        return self.last(self.table(words).mean(1))


class Mixed(nn.Module):
    """Reads categories and numbers; `shape` makes its output of its hidden features and its logits."""

    def __init__(self, shape=lambda h, z: z):
        super().__init__()
        self.table, self.last, self.shape = nn.Embedding(10, 4), nn.Linear(7, 2), shape

    def forward(self, codes, numbers):
        hidden = torch.cat([self.table(codes).squeeze(1), numbers], 1)
        return self.shape(hidden, self.last(hidden))


@dataclass
class Answer:
    hidden: torch.Tensor
    logits: torch.Tensor


def created(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def run(artifact, rows):
    session = onnxruntime.InferenceSession(artifact.onnx, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == artifact.card.inputs["name"]
    return session.run(None, {given.name: rows.numpy()})[0]


def logits(net, *inputs, **named):
    with torch.no_grad():
        return net(*inputs, **named).numpy()


@pytest.mark.parametrize("recipe", ["fp32", "int8"])
@pytest.mark.parametrize("words", [WORDS, WORDS.float()])
def test_network_of_integers_reads_integers(recipe, words):
    net = created(OfCodes)
    artifact = fp.compress(net, recipe, data=[(words, Y)])
    expected = logits(net, WORDS)
    tolerance = 1e-5 if recipe == "fp32" else 0.2 * np.abs(expected).max()
    np.testing.assert_allclose(run(artifact, WORDS), expected, atol=tolerance)
    assert artifact.card.inputs["dtype"] == "int64"


def test_fractions_are_not_made_integers():
    with pytest.raises(UserError, match="batches have numbers that are not whole"):
        fp.compress(created(OfCodes), "fp32", data=[(torch.cat([WORDS[:40].float(), WORDS[40:] + 0.5]), Y)])


@pytest.mark.parametrize(
    "batch",
    [
        ((CODES, NUMBERS), Y),
        ({"numbers": NUMBERS, "codes": CODES}, Y),
        {"codes": CODES, "numbers": NUMBERS, "labels": Y, "group": ["a", "b"] * (ROWS // 2)},
    ],
    ids=["tuple", "named", "labels"],
)
def test_several_inputs_are_columns_of_one(batch):
    net = created(Mixed)
    with pytest.warns(UserWarning, match=r"one input, x \[rows, 4\], with the inputs side by side: "):
        artifact = fp.compress(net, "fp32", data=[batch])
    first = [CODES.float(), NUMBERS]
    if isinstance(batch, tuple) and isinstance(batch[0], dict):
        first.reverse()
    np.testing.assert_allclose(run(artifact, torch.cat(first, 1)), logits(net, CODES, NUMBERS), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "chosen"),
    [
        (lambda h, z: {"hidden": h, "logits": z}, "logits"),
        (lambda h, z: Answer(h, z), "logits"),
        (lambda h, z: (z, h.unsqueeze(2)), "0"),
    ],
    ids=["dictionary", "data class", "the only matrix of a tuple"],
)
def test_logits_are_found_among_outputs(shape, chosen):
    net = created(lambda: Mixed(shape))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        artifact = fp.compress(net, "fp32", data=[((CODES, NUMBERS), Y)])
    assert any(f"the file returns {chosen}" in str(w.message) for w in caught)
    expected = logits(created(Mixed), CODES, NUMBERS)
    np.testing.assert_allclose(run(artifact, torch.cat([CODES.float(), NUMBERS], 1)), expected, atol=1e-5)


def test_one_logit_is_the_second_of_two():
    net = created(lambda: nn.Linear(3, 1))
    expected = logits(net, NUMBERS)
    outputs = run(fp.compress(net, "fp32", data=[(NUMBERS, Y)]), NUMBERS)
    np.testing.assert_allclose(outputs, np.concatenate([0 * expected, expected], 1), atol=1e-6)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (((CODES,), Y), r"forward takes 2 inputs \(codes, numbers\), and the batches have one"),
        (({"codes": CODES}, Y), "also needs numbers"),
        (({"codes": CODES, "numbers": NUMBERS, "more": CODES}, Y), "does not take more"),
        (((CODES, NUMBERS[:9]), Y), "inputs of different numbers of rows"),
        (((CODES + 2**30, NUMBERS), Y), "integers above 16,777,216"),
        (((CODES, NUMBERS * torch.nan), Y), "missing or infinite"),
        ({"codes": CODES, "numbers": NUMBERS}, "holds its labels under one of these keys"),
        ((CODES, Y), r"forward takes 2 inputs \(codes, numbers\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_a_sentence(batch, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        fp.compress(created(Mixed), "fp32", data=[batch])
    assert "\n" not in str(caught.value)


class Masked(nn.Module):
    """Reads token ids and their mask as models of transformers do."""

    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        mask = attention_mask.unsqueeze(2).float()
        mean = (self.table(input_ids) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return {"logits": self.last(mean)}


def padded_batches(pad: int = 3):
    """Batches of different lengths, rows filled up on the right."""
    for start, length in ((0, 5), (64, 9), (128, 7)):
        ids = WORDS[start : start + 64, :1].repeat(1, length).clamp(min=4)
        ids[::2, length // 2 :] = pad
        yield {"input_ids": ids, "attention_mask": (ids != pad).long(), "labels": Y[start : start + 64]}


def test_mask_is_computed_in_the_file():
    net = created(Masked)
    artifact = fp.compress(net, "fp32", data=list(padded_batches()))
    for batch in padded_batches():
        with torch.no_grad():
            expected = net(batch["input_ids"], batch["attention_mask"])["logits"].numpy()
        np.testing.assert_allclose(run(artifact, batch["input_ids"]), expected, atol=1e-5)
    assert artifact.card.inputs["name"] == "input_ids"


def predicted(artifact, batches):
    return np.array([int(v) for v in fp.predict({"m": artifact}, batches)["m"].to_pylist()])


def test_named_inputs_are_read_by_name_in_any_order():
    net = created(Mixed)
    with pytest.warns(UserWarning, match="side by side: codes .*, numbers"):
        artifact = fp.compress(net, "fp32", data=[({"codes": CODES, "numbers": NUMBERS}, Y)])
    expected = logits(net, CODES, NUMBERS).argmax(1)
    half = ROWS // 2
    mixed = [
        ({"numbers": NUMBERS[:half], "codes": CODES[:half]}, Y[:half]),
        {"labels": Y[half:], "codes": CODES[half:], "numbers": NUMBERS[half:]},
    ]
    np.testing.assert_array_equal(predicted(artifact, mixed), expected)
    with pytest.raises(UserError, match="reads codes, numbers, and the batches have input 1, input 2"):
        fp.predict({"m": artifact}, [((CODES, NUMBERS), Y)])
    with pytest.raises(UserError, match="reads codes, numbers, and the batches have one input"):
        fp.predict({"m": artifact}, [(torch.cat([CODES.float(), NUMBERS], 1), Y)])


def test_rows_that_are_padded_otherwise_are_refused_and_shorter_ones_filled_up():
    net, whole = created(Masked), WORDS.clamp(min=4)
    mask = torch.ones_like(whole)
    with pytest.warns(UserWarning, match="no row of the batches is padded"):
        unpadded = fp.compress(net, "fp32", data=[{"input_ids": whole, "attention_mask": mask, "labels": Y}])
    (first, *_), batches = padded_batches(), list(padded_batches())
    with pytest.raises(
        UserError, match="padded with the id 3, and the model was compressed with rows that were not"
    ):
        fp.predict({"m": unpadded}, [first])
    artifact = fp.compress(net, "fp32", data=batches)  # rows of nine ids
    with torch.no_grad():
        expected = net(first["input_ids"], first["attention_mask"])["logits"].numpy().argmax(1)
    np.testing.assert_array_equal(predicted(artifact, [first]), expected)
    with pytest.raises(UserError, match="not the padding id 3"):
        fp.predict({"m": artifact}, list(padded_batches(pad=2)))
    longer = {k: v.repeat(1, 3) if v.ndim == 2 else v for k, v in first.items()}
    with pytest.raises(UserError, match="rows of 15 token ids, and the model reads 9 at most"):
        fp.predict({"m": artifact}, [longer])


def test_the_loader_of_a_network_of_integers_can_be_predicted():
    net = created(OfCodes)
    artifact = fp.compress(net, "fp32", data=[(WORDS.float(), Y)])
    np.testing.assert_array_equal(predicted(artifact, [(WORDS.float(), Y)]), logits(net, WORDS).argmax(1))
    with pytest.raises(UserError, match="batches have numbers that are not whole"):
        fp.predict({"m": artifact}, [(WORDS + 0.5, Y)])
    with pytest.raises(UserError, match="outside of the table in which it is looked up: pass ids from 0"):
        fp.predict({"m": artifact}, [(WORDS + 20, Y)])


def test_masks_and_types_that_do_not_follow_from_the_ids_are_refused():
    batches = list(padded_batches())
    batches[1]["attention_mask"][3, 0] = 0
    with pytest.raises(UserError, match="batch 2 has an attention_mask that is not 1 exactly where"):
        fp.compress(created(Masked), "fp32", data=batches)
    typed = [{**b, "token_type_ids": torch.ones_like(b["input_ids"])} for b in padded_batches()]
    with pytest.raises(UserError, match="batch 1 has token types other than 0"):
        fp.compress(created(Masked), "fp32", data=typed)
    unmasked = [{k: v for k, v in b.items() if k != "attention_mask"} for b in padded_batches()]
    with pytest.raises(UserError, match="token ids of different lengths and no padding id"):
        fp.compress(created(Masked), "fp32", data=unmasked)


class OfTruth(nn.Module):
    """Reads truth values, which alone can choose."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, flags):
        return self.last(torch.where(flags, 1.0, -1.0))


def test_truth_values_are_numbers_in_the_file_and_truth_values_in_the_network():
    net, flags = created(OfTruth), NUMBERS > 0
    artifact = fp.compress(net, "fp32", data=[(flags, Y)])
    np.testing.assert_allclose(run(artifact, flags.float()), logits(net, flags), atol=1e-5)


class OfPixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, *, pixel_values):
        return self.last(torch.relu(self.conv(pixel_values)).mean((2, 3)))


@pytest.mark.parametrize("labels_apart", [True, False])
def test_a_dictionary_of_one_tensor_keeps_its_shape(labels_apart):
    net = created(OfPixels)
    pixels = torch.rand(ROWS, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = ({"pixel_values": pixels}, Y) if labels_apart else {"pixel_values": pixels, "labels": Y}
    artifact = fp.compress(net, "fp32", data=[batch])
    assert artifact.card.inputs["shape"] == [3, 8, 8]
    np.testing.assert_allclose(run(artifact, pixels), logits(net, pixel_values=pixels), atol=1e-5)


def test_a_batch_encoding_is_a_dictionary_of_token_ids():
    transformers = pytest.importorskip("transformers", reason="the extra text is not installed")
    ids = torch.cat([WORDS + 1, torch.zeros(ROWS, 2, dtype=torch.long)], 1)
    batch = transformers.BatchEncoding({"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": Y})

    class OfTokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.last = nn.Embedding(22, 8), nn.Linear(8, 2)

        def forward(self, input_ids, attention_mask):
            kept = self.table(input_ids) * attention_mask[..., None]
            return self.last(kept.sum(1) / attention_mask.sum(1, keepdim=True))

    net = created(OfTokens)
    artifact = fp.compress(net, "fp32", data=[batch])
    expected = logits(net, ids, (ids != 0).long())
    np.testing.assert_allclose(run(artifact, ids), expected, atol=1e-5)


def test_a_recurrent_network_says_which_length_its_file_reads():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.last = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x):
            return self.last(self.cell(x)[0][:, -1])

    messages = []
    sequences = torch.randn(ROWS, 5, 3, generator=torch.Generator().manual_seed(0))
    fp.compress(created(Recurrent), "fp32", data=[(sequences, Y)], on_message=messages.append)
    assert any("reads sequences of 5 steps" in m and "no other length" in m for m in messages)
    with pytest.raises(UserError, match="pad the sequences to one length"):
        fp.compress(created(Recurrent), "fp32", data=[(sequences[:80], Y[:80]), (sequences[80:, :4], Y[80:])])


def test_a_forward_that_converts_to_half_precision_is_refused_with_what_to_leave_out():
    class Converting(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 2).bfloat16()

        def forward(self, x):
            return self.last(x.bfloat16()).float()

    with pytest.raises(
        UserError, match=r"at layer 'last' its forward converts to bfloat16 by itself; leave out"
    ):
        fp.compress(created(Converting), "fp32", data=[(NUMBERS, Y)])


def test_a_forward_in_autocast_is_refused_with_what_to_leave_out():
    class Automatic(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 2)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.last(x).float()

    with pytest.raises(UserError, match=r"computes in bfloat16 \(autocast, or .bfloat16\(\)\)"):
        fp.compress(created(Automatic), "int8", data=[(NUMBERS, Y)])
