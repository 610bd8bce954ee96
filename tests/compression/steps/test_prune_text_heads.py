"""Pruning of attention heads and feed-forward units of networks that read texts."""

import copy

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from fairpress.compression.apply import compress
from fairpress.compression.pruning.head_groups import text_block_groups
from fairpress.compression.pruning.units import (
    keep_for_groups,
    keep_most_important,
    n_retained,
    n_retained_heads,
    n_retained_units,
    squared,
    unit_importance,
    weights_of,
    without,
)
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models import registry
from fairpress.models.pruned_shapes import apply_pruned_shapes
from fairpress.models.registry import build
from fairpress.models.text_blocks import text_blocks
from fairpress.models.text_encoder import TextEncoder
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.training.config import TextFitConfig
from fairpress.training.fit import fit
from learnable_texts import learnable_texts

HEADS, SIZE, UNITS = 4, 8, 48
WIDTH = HEADS * SIZE
COMMON = {"vocab_size": 60, "pad_token_id": 0, "num_labels": 3}
BERT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": UNITS,
    **COMMON,
}


def encoder():
    sizes = {"layers": 2, "width": WIDTH, "heads": HEADS, "feedforward": UNITS, "vocabulary": 60}
    return build(TextEncoder(**sizes, max_length=16), (16,), 3)


def hugging_face(kind):
    config = {
        "bert": lambda: transformers.BertConfig(**BERT),
        "roberta": lambda: transformers.RobertaConfig(**BERT),
        "electra": lambda: transformers.ElectraConfig(embedding_size=WIDTH, **BERT),
        "distilbert": lambda: transformers.DistilBertConfig(
            dim=WIDTH, n_layers=2, n_heads=HEADS, hidden_dim=UNITS, **COMMON
        ),
    }[kind]()
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(config)


def answers(module, ids):
    with torch.no_grad():
        out = module.eval()(ids)
    return out if isinstance(out, torch.Tensor) else out.logits


@pytest.mark.parametrize("kind", ["text", "bert", "roberta", "electra", "distilbert"])
def test_a_pruned_network_is_the_whole_one_with_the_outputs_of_what_goes_set_to_zero(kind):
    whole = encoder() if kind == "text" else hugging_face(kind)
    blocks = text_blocks(whole)
    assert [b.head_size for b in blocks] == [SIZE] * 2
    left = [({0, 3}, range(0, UNITS, 2)), ({1, 2}, range(1, UNITS, 2))]
    masked = copy.deepcopy(whole)
    with torch.no_grad():
        for block, (heads, units) in zip(blocks, left, strict=True):
            for head in set(range(HEADS)) - heads:
                part = slice(head * SIZE, (head + 1) * SIZE)
                for network, factor in ((whole, 0.1), (masked, 0.0)):
                    for layer in block.reading:
                        network.get_submodule(layer).weight[part] *= 0.1
                    network.get_submodule(block.output).weight[:, part] *= factor
            gone = sorted(set(range(UNITS)) - set(units))
            for network, factor in ((whole, 0.1), (masked, 0.0)):
                network.get_submodule(block.expand).weight[gone] *= 0.1
                network.get_submodule(block.contract).weight[:, gone] *= factor
    state = whole.state_dict()
    groups = text_block_groups(whole, blocks)
    importance = squared(state, weights_of(groups, state))
    kept = [keep_most_important(unit_importance(g, importance), n_retained(g, 0.5, 8)) for g in groups]
    changed = without(groups, kept, state)
    pruned = copy.deepcopy(whole)
    apply_pruned_shapes(pruned, {name: tuple(value.shape) for name, value in changed.items()})
    pruned.load_state_dict({**state, **changed})
    ids = torch.randint(4, 60, (5, 12))
    torch.testing.assert_close(answers(pruned, ids), answers(masked, ids), atol=1e-5, rtol=1e-4)
    for block in blocks:
        assert pruned.get_submodule(block.reading[0]).out_features == WIDTH // 2
        assert pruned.get_submodule(block.contract).in_features == UNITS // 2


@pytest.mark.parametrize(
    ("heads", "share", "retained"), [(6, 0.5, 3), (6, 0.1, 6), (6, 0.99, 1), (1, 0.9, 1), (12, 0.34, 8)]
)
def test_heads_that_go_are_rounded_down(heads, share, retained):
    assert n_retained_heads(heads, share) == retained


@pytest.mark.parametrize(
    ("units", "share", "round_to", "retained"),
    [(768, 0.5, 8, 384), (20, 0.5, 8, 8), (12, 0.5, 8, 12), (20, 0.5, 1, 10)],
)
def test_units_that_stay_are_a_multiple(units, share, round_to, retained):
    assert n_retained_units(units, share, round_to) == retained


@pytest.fixture(scope="module")
def texts():
    return learnable_texts(200)


@pytest.fixture(scope="module")
def base(texts):
    architecture = TextEncoder(layers=2, width=32, heads=4, feedforward=48, vocabulary=330, max_length=32)
    config = TextFitConfig(max_epochs=1, batch_size=16, way="fp32")
    return fit(architecture, [texts.development()], [0], config)[0]


def test_the_recipe_writes_a_smaller_file_that_its_card_describes(base, texts, tmp_path):
    (small,) = compress([base], parse("prune-heads-50(epochs=1)"), [texts], [0])
    small = Artifact.load(small.save(tmp_path / "small"))
    facts = small.card.provenance["details"]["heads"]
    assert set(facts["heads"].values()) == {2}
    assert set(facts["feedforward"].values()) == {24}
    state = from_bytes(small.weights)
    assert facts["weights_after"] == sum(v.numel() for v in state.values())
    assert len(base.onnx) - len(small.onnx) > 4 * 0.9 * (facts["weights_before"] - facts["weights_after"])
    parameters = {k: v for k, v in small.card.architecture.items() if k != "name"}
    module = build(registry.get("text", **parameters), (32,), 3)
    module.load_state_dict(state)
    ids = small.text_tokenizer.encode(texts.texts[:7]).ids.astype(np.int64)
    session = onnxruntime.InferenceSession(small.onnx, providers=["CPUExecutionProvider"])
    computed = session.run(None, {"input_ids": ids})[0]
    np.testing.assert_allclose(computed, answers(module, torch.from_numpy(ids)).numpy(), atol=1e-5)
    (again,) = compress([small], parse("w8"), [texts], [0])
    assert again.card.recipe == "prune-heads-50(epochs=1)+w8"
    assert again.card.architecture["channels"] == small.card.architecture["channels"]


def test_a_head_that_one_group_needs_stays_when_groups_are_weighed():
    """Group 1, of little weight in the sum, depends on the heads that the pooled rows need least."""
    importance = torch.tensor([[100.0, 90, 80, 1], [0, 0, 1, 50.0]])
    assert keep_most_important(importance.sum(0, keepdim=True), 2).tolist() == [True, True, False, False]
    kept = keep_for_groups(torch.ones(1, 2, dtype=torch.bool))(importance, 2)
    assert kept.tolist() == [True, False, False, True]


@pytest.mark.parametrize("importance", ["gradient", "groups,by=language,least=10"])
def test_importance_by_gradients_prunes_as_much(base, texts, importance):
    recipe = parse(f"prune-heads-50(importance={importance},epochs=1)")
    (small,) = compress([base], recipe, [texts], [0])
    assert set(small.card.provenance["details"]["heads"]["heads"].values()) == {2}
    assert parse(str(recipe)) == recipe


def test_the_control_without_groups_and_the_placebo():
    recipe = parse("prune-heads-50(importance=groups,by=language)")
    assert str(recipe.plain()) == "prune-heads-50(importance=gradient)"
    assert str(recipe.placebo()) == "placebo"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("prune-heads-50(importance=groups)", "importance=groups needs a sensitive attribute"),
        ("prune-heads-50(method=ceag,by=language)", "prune-heads changes its layers"),
        ("prune-heads-5(round_to=64)", "no block has enough heads or units to remove 5%"),
    ],
)
def test_what_does_not_fit_is_refused(base, texts, recipe, message):
    with pytest.raises(UserError, match=message):
        compress([base], parse(recipe), [texts], [0])


def test_a_network_without_known_heads_is_refused():
    from fairpress.compression.step import TrainedNetwork
    from fairpress.compression.steps.prune_heads import PruneHeads

    architecture = registry.get("mlp", widths=(8,))
    module = build(architecture, (32,), 3)
    dataset = learnable_texts(20)
    dataset = type(dataset)(**{**dataset.__dict__, "inputs": np.zeros((20, 32), np.float32), "texts": None})
    with pytest.raises(UserError, match=r"Sequential \(mlp\) has no attention; take prune-neurons-50"):
        PruneHeads(share=0.5).apply([TrainedNetwork(architecture, module.state_dict())], [dataset], [0])
