"""Text encoders with integer weights: the embedding table too, no padding in any range, the same answers in any batch."""

from __future__ import annotations

from dataclasses import replace
from importlib import util

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from fairpress.compression.apply import compress
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.prepare import prepare
from fairpress.compression.quantized_graph.row_chunks import by_chunk, chunks, positions_of_chunks
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.compression.rounding.blocks import residual_blocks
from fairpress.compression.rounding.compensate import rows_of_one_shape
from fairpress.compression.verification.checks import optimized_graph, stored_weights
from fairpress.core.errors import UserError
from fairpress.models.registry import build
from fairpress.models.tracing import trace
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import open_session
from fairpress.training.token_rows import TokenRows
from tiny_encoders import MAX_LENGTH, architecture, dataset, encoder
from tiny_networks import images
from tiny_texts import CLASSES, tokenizer

TABLES = ("embedding", "positions")


def compressed(recipe, data=None):
    (artifact,) = compress([encoder()], parse(recipe), [data or dataset()], [0])
    return artifact


def token_rows(part="test"):
    ids = tokenizer(MAX_LENGTH).encode(dataset().texts).ids
    return TokenRows(ids, dataset().parts[part], 0)


def run(data, ids):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": np.asarray(ids, np.int64)})[0]


def one_by_one(data, rows):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input_ids": rows[[i]].numpy()})[0] for i in range(len(rows))])


def module_with(weights):
    """The network of the encoder itself, with these tensors in place of its own."""
    module = build(architecture(), (MAX_LENGTH,), len(CLASSES)).eval()
    module.load_state_dict({**from_bytes(encoder().weights), **weights})
    return module


def integers_and_scales(artifact):
    """Integers of all weights in the order of the card, by layer, and every vector of floats in the file."""
    model = onnx.load_from_string(artifact.onnx)
    names = list(artifact.card.provenance["details"]["bits"])
    floats = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    return dict(zip(names, (w.values for w in stored_weights(model)), strict=True)), floats


@pytest.mark.parametrize(("recipe", "bits"), [("w8", 8), ("w4", 4), ("w3", 3), ("w2", 2)])
def test_a_file_computes_what_the_network_computes_with_its_integers(recipe, bits):
    artifact = compressed(recipe)
    widths = artifact.card.provenance["details"]["bits"]
    assert widths == {**dict.fromkeys(widths, bits), "positions": 8}
    integers, floats = integers_and_scales(artifact)
    state = from_bytes(encoder().weights)
    weights = {}
    for layer, q in integers.items():
        weight = state[f"{layer}.weight"].numpy()
        # The scale of each channel is the one in the file that fits its weights best.
        fitting = [s for s in floats if s.shape == (len(q),)]
        errors = [np.square(weight - q * s[:, None]).sum() for s in fitting]
        weights[f"{layer}.weight"] = torch.from_numpy(q * fitting[int(np.argmin(errors))][:, None])
        top = 2 ** (widths[layer] - 1) - 1
        assert q.min() >= -top
        assert q.max() <= top
        assert min(errors) < 0.5 * np.square(weight).sum()
    rows = token_rows()[:]
    with torch.no_grad():
        expected = module_with(weights)(rows).numpy()
    np.testing.assert_allclose(run(artifact.onnx, rows), expected, atol=1e-4)


def test_the_table_stays_integers_while_the_file_runs():
    for recipe, layers in (("w4", 0), ("int8", 13)):
        artifact = compressed(recipe)
        graph = optimized_graph(artifact.onnx).graph
        stored = {t.name: t for t in graph.initializer}
        shape = (tokenizer(MAX_LENGTH).size, architecture().width)
        tables = [t for t in graph.initializer if tuple(t.dims) == shape]
        assert [t.data_type for t in tables] == [TensorProto.INT8]
        assert any(n.op_type == "Gather" and n.input[0] == tables[0].name for n in graph.node)
        assert not any(n.op_type == "DequantizeLinear" and n.input[0] in stored for n in graph.node)
        assert artifact.card.provenance["details"]["integer_kernels"] == layers


def test_shares_on_the_card_are_those_of_the_file():
    artifact = compressed("w4")
    shares = artifact.card.provenance["details"]["shares_at_bits"]
    integers, _ = integers_and_scales(artifact)
    total = sum(value.numel() for value in from_bytes(encoder().weights).values())
    at_four = sum(q.size for layer, q in integers.items() if layer != "positions")
    assert sum(s["count"] for s in shares.values()) == total
    assert shares["4"]["count"] == at_four
    assert shares["8"]["count"] == integers["positions"].size
    assert sum(s["parameters"] for s in shares.values()) == pytest.approx(1)
    assert sum(s["bytes"] for s in shares.values()) == pytest.approx(1)
    stored = sum(
        len(t.raw_data) for t in onnx.load_from_string(artifact.onnx).graph.initializer if len(t.dims) >= 2
    )
    packed = at_four / 2 + integers["positions"].size
    assert stored == packed
    scales = sum(len(q) for q in integers.values())
    floats = total - sum(q.size for q in integers.values())
    assert shares["4"]["bytes"] == pytest.approx(at_four / 2 / (packed + 4 * (scales + floats)))


@pytest.mark.parametrize("recipe", ["int8", "w4", "int4(preserve=0.1)"])
def test_padding_and_the_other_rows_of_a_batch_change_no_answer(recipe):
    data, rows = compressed(recipe).onnx, token_rows()
    alone = one_by_one(data, rows)
    padded = np.zeros((len(rows), MAX_LENGTH), np.int64)
    padded[:, : rows[:].shape[1]] = rows[:]
    together, reversed_rows = run(data, padded), run(data, padded[::-1])[::-1]
    # A value at the border of two integers may be rounded to either, so scores agree to about a step.
    np.testing.assert_allclose(together, alone, atol=0.02)
    np.testing.assert_allclose(reversed_rows, together, atol=1e-5)
    assert (together.argmax(1) == alone.argmax(1)).all()


@pytest.mark.skipif(util.find_spec("openvino") is None, reason="the extra openvino is not installed")
@pytest.mark.parametrize("recipe", ["int8", "w4"])
def test_openvino_reads_packed_tables(recipe):
    data, rows = compressed(recipe).onnx, token_rows()[:]
    scores = open_session(data, Backend("openvino")).run(rows.numpy())
    np.testing.assert_allclose(scores, run(data, rows), atol=0.05)


def test_bit_widths_of_tables_are_chosen_like_those_of_layers():
    def widths(recipe):
        found = compressed(recipe).card.provenance["details"]["bits"]
        return found["embedding"], found["positions"], found["classify"]

    assert widths("w4(bits=first:8)") == (8, 8, 4)
    assert widths("w4(bits=positions:4|last:8)") == (4, 4, 8)
    assert widths("w4(keep=embedding)") == (32, 8, 4)
    with pytest.raises(
        UserError, match=r"there is no layer 'embeddings' to quantize.*Did you mean .embedding.?"
    ):
        compressed("w4(keep=embeddings)")


def test_texts_are_calibrated_without_padding():
    """A network whose outputs for padding are enormous has the same ranges as one without."""
    scales = []
    for size in (1.0, 1e4):
        module = module_with({})
        with torch.no_grad():
            module.embedding.weight[0] = size
        rows = token_rows("calibration")
        assert len(set(rows.lengths.tolist())) > 2
        engine = BatchQuantizer.from_module(module, rows[:2])
        (quantized,) = quantize_many(engine, [module.state_dict()], [rows], weights="minmax")
        names = quantized.prepared.activations
        scales.append([float(quantized.state[f"{name}.scale"]) for name in names])
    assert scales[0] == scales[1]


def test_chunks_of_texts_have_one_length_and_results_their_order():
    rows = token_rows()
    positions = positions_of_chunks(rows, 3)
    assert sorted(torch.cat(positions).tolist()) == list(range(len(rows)))
    for part in positions:
        assert len(part) <= 3
        assert len(rows.lengths[part].unique()) == 1
        assert (rows[part] != 0).all()
    lengths = by_chunk(lambda ids: torch.full((len(ids),), ids.shape[1]), rows)
    assert torch.equal(lengths, rows.lengths)
    numbers = torch.rand(5, 2**19)
    assert [len(c) for c in chunks(numbers)] == [2, 2, 1]
    assert torch.equal(torch.cat(list(chunks(numbers))), numbers)


def test_attention_is_left_in_float():
    engine = BatchQuantizer.from_module(module_with({}), token_rows()[:2])
    prepared = engine.prepare(Scheme())
    # queries, keys and values read one value; output, both feed-forward layers, and the classes
    assert len(prepared.activations) == 2 * 4 + 1
    assert [layer.name for layer in prepared.layers if layer.table] == list(TABLES)


def test_a_table_that_a_layer_shares_stays_in_float():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.classes = nn.Embedding(50, 8), nn.Linear(8, 50)
            self.classes.weight = self.embedding.weight

        def forward(self, ids):
            return self.classes(self.embedding(ids).mean(1))

    torch.manual_seed(0)
    ids = torch.randint(0, 50, (64, 6))
    module = Tied()
    engine = BatchQuantizer.from_module(module, ids)
    (quantized,) = quantize_many(engine, [module.state_dict()], [ids], Scheme(8, activations=False))
    with torch.no_grad():
        np.testing.assert_allclose(run(quantized.onnx, ids), module(ids), atol=0.05)


def test_blocks_of_an_encoder_are_its_attentions_and_feed_forward_layers():
    graph = trace(module_with({}), token_rows()[:2])
    blocks = residual_blocks(prepare(graph, Scheme(4, activations=False)))
    assert [[layer.name.rpartition(".")[2] for layer in block.layers.values()] for block in blocks] == [
        *[["query", "key", "value", "output"], ["expand", "contract"]] * 2,
        ["classify"],
    ]


def test_rounding_is_learned_from_the_shorter_texts_and_not_from_padding():
    rows = token_rows("calibration")
    prepared = prepare(trace(module_with({}), rows[:2]), Scheme(4, activations=False))
    pieces, present = rows_of_one_shape(prepared, from_bytes(encoder().weights), rows)
    joined = torch.cat(list(pieces))
    assert 0.85 * len(rows) <= len(joined) <= len(rows)
    assert torch.equal(present, joined != 0)
    assert present[:, 0].all()
    assert not present.all()


@pytest.mark.parametrize(
    "recipe",
    [
        "int8(bias_correction=true)",
        "int8(ranges=auto)",
        "w4(rounding=gptq)",
        "w4(rounding=gptq,moments=minimax,by=language)",
        "w3(rounding=brecq)",
        "int4(preserve=0.1)",
        "qat-int4(epochs=1)",
        "qat-int8(epochs=1,towards=baseline)",
        "mixed(budget=24%,sensitivity=gradient,rounding=gptq)",
        "mixed(budget=24%,protect=language)",
    ],
)
def test_recipes_change_few_answers_of_an_encoder(recipe):
    artifact, rows = compressed(recipe), token_rows()
    before, after = one_by_one(encoder().onnx, rows), one_by_one(artifact.onnx, rows)
    assert (before.argmax(1) != after.argmax(1)).mean() <= 0.15
    assert not np.allclose(before, after, atol=1e-6)
    assert len(artifact.onnx) < 0.45 * len(encoder().onnx)
    assert artifact.tokenizer == encoder().tokenizer
    assert artifact.card.inputs == encoder().card.inputs


def test_wrong_data_and_recipes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="the model reads texts, and 'two blobs' has none"):
        compressed("w4", replace(images(np.zeros((8, 3, 8, 8), np.uint8)), name="two blobs"))
    with pytest.raises(UserError, match="equalize finds no two layers"):
        compressed("equalize+int8")
