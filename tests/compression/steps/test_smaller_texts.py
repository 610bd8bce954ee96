"""Smaller networks of texts: trimmed vocabularies, and students with fewer layers or a smaller width."""

import numpy as np
import onnxruntime
import pytest
import torch

from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models import registry
from fairpress.models.registry import build
from fairpress.models.smaller_texts import smaller
from fairpress.models.text_encoder import TextEncoder
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.tokenization.tokenizer import TextTokenizer
from fairpress.training.config import TextFitConfig
from fairpress.training.fit import fit
from learnable_texts import learnable_texts

LENGTH = 32
SMALL = TextEncoder(layers=3, width=16, heads=2, feedforward=32, vocabulary=330, max_length=LENGTH)


@pytest.fixture(scope="module")
def texts():
    return learnable_texts(200)


@pytest.fixture(scope="module")
def base(texts):
    config = TextFitConfig(max_epochs=1, batch_size=16, way="fp32")
    return fit(SMALL, [texts.development()], [0], config)[0]


def compressed(base, recipe, dataset):
    return compress([base], parse(recipe), [dataset], [0])[0]


def logits(artifact, ids):
    session = onnxruntime.InferenceSession(artifact.onnx, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids.astype(np.int64)})[0]


def module_of(artifact):
    parameters = {k: v for k, v in artifact.card.architecture.items() if k != "name"}
    module = build(registry.get(artifact.card.architecture["name"], **parameters), (LENGTH,), 3).eval()
    module.load_state_dict(from_bytes(artifact.weights))
    return module


def test_a_trimmed_network_computes_what_the_baseline_computes_from_the_same_pieces(base, texts, tmp_path):
    small = Artifact.load(compressed(base, "trim-vocabulary-10", texts).save(tmp_path / "small"))
    tokens, before = small.text_tokenizer, base.text_tokenizer
    assert tokens.size == round(0.9 * before.size) == small.card.architecture["vocabulary"]
    ids = tokens.encode(texts.texts[:40]).ids
    names = {before._tokenizer.id_to_token(i): i for i in range(before.size)}
    old = np.array([names[tokens._tokenizer.id_to_token(i)] for i in range(tokens.size)])
    np.testing.assert_allclose(logits(small, ids), logits(base, old[ids]), atol=1e-5)
    assert len(base.onnx) - len(small.onnx) == pytest.approx((before.size - tokens.size) * 16 * 4, abs=400)


def test_the_card_tells_how_the_texts_of_each_group_grow(base, texts):
    small = compressed(base, "trim-vocabulary-10", texts)
    facts = small.card.provenance["details"]["vocabulary"]
    index = texts.index("train")
    for when, artifact in (("before", base), ("after", small)):
        tokenizer = artifact.text_tokenizer
        encoded = tokenizer.encode(texts.texts[index])
        assert facts["pieces"][when] == tokenizer.size
        assert facts["tokens_per_text"][when] == pytest.approx(encoded.lengths.mean())
        assert facts["truncated"][when] == pytest.approx(encoded.truncated.mean())
        for group, values in facts["groups"]["language"].items():
            rows = texts.attributes["language"][index] == group
            assert values["rows"] == rows.sum()
            assert values["tokens_per_text"][when] == pytest.approx(encoded.lengths[rows].mean())
    assert small.card.inputs["truncated"] == facts["truncated"]["after"]
    assert facts["tokens_per_text"]["after"] > facts["tokens_per_text"]["before"]


def test_weighing_groups_spares_the_language_that_would_pay_most(base, texts):
    grown = {}
    for recipe in ("trim-vocabulary-7", "trim-vocabulary-7(by=language,least=20)"):
        facts = compressed(base, recipe, texts).card.provenance["details"]["vocabulary"]["groups"]["language"]
        grown[recipe] = [
            v["tokens_per_text"]["after"] / v["tokens_per_text"]["before"] for v in facts.values()
        ]
    pooled, weighed = grown.values()
    assert max(weighed) < max(pooled)
    assert parse("trim-vocabulary-10(by=language)").plain() == parse("trim-vocabulary-10")


def test_a_trimmed_vocabulary_is_quantized_and_distilled(base, texts):
    small = compressed(base, "trim-vocabulary-10+distill(layers=1,epochs=1)+w4", texts)
    assert small.card.provenance["details"]["bits"]["embedding"] == 4
    assert small.card.architecture["vocabulary"] == small.text_tokenizer.size < base.text_tokenizer.size
    assert logits(small, small.text_tokenizer.encode(texts.texts[:3]).ids).shape == (3, 3)


def test_steps_go_on_from_a_trimmed_artifact_as_from_its_recipe(base, texts):
    small = compressed(base, "trim-vocabulary-10", texts)
    after = compressed(small, "w4", texts)
    at_once = compressed(base, "trim-vocabulary-10+w4", texts)
    assert after.onnx == at_once.onnx
    assert after.tokenizer == at_once.tokenizer
    assert after.card.recipe == at_once.card.recipe == "trim-vocabulary-10+w4"


def test_a_teacher_of_one_layer_is_told_a_smaller_width(base):
    one = SMALL.model_copy(update={"layers": 1})
    with pytest.raises(UserError, match=r"of 3 layers and width 16 .* \(1 layer, width 16\); .* width=8\."):
        smaller(one, base.text_tokenizer, layers=3)
    assert smaller(one, base.text_tokenizer, width=8).width == 8


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("trim-vocabulary-90", "stay; drop at most"),
        ("trim-vocabulary-10(by=region)", "no sensitive attribute 'region'"),
        ("trim-vocabulary-10(by=language,least=70)", "fewer than two groups of 70 training rows"),
        ("trim-vocabulary-10+finetune(towards=baseline)", "trim-vocabulary changes that"),
        ("trim-vocabulary-10(least=3)", "least applies to groups; add by"),
        ("distill(layers=3)", "a student of 3 layers and width 16 is not smaller .* layers=1"),
        ("distill(into=text,layers=4,width=8)", "not smaller"),
        ("distill(width=12)", "heads have 8 units.* take width=16"),
        ("distill(widths=8)", "widths is for an mlp, and the teacher is text; take layers and width"),
        ("distill(into=mlp)", "a student of text is of architecture text, not mlp"),
        (
            "distill(width=8,start=teacher)",
            "start=teacher needs a student of the teacher's architecture and width",
        ),
        ("distill(widths=8,layers=1)", "leave out one"),
        ("prune-channels-50", "text reads texts; take prune-heads-50"),
    ],
)
def test_what_does_not_fit_is_refused(base, texts, recipe, message):
    with pytest.raises(UserError, match=message):
        compressed(base, recipe, texts)


def test_a_student_begins_with_evenly_spaced_blocks_of_its_teacher(base, texts, monkeypatch):
    """Without a step of training, the student has the teacher's tensors."""
    monkeypatch.setattr(
        "fairpress.compression.finetuning.train_alone", lambda module, *a, **k: module.state_dict()
    )
    student = compressed(base, "distill(layers=2)", texts)
    state, teacher = from_bytes(student.weights), from_bytes(base.weights)
    assert student.card.provenance["details"]["distilled"]["blocks_of_teacher"] == [0, 2]
    for name, value in state.items():
        assert torch.equal(value, teacher[name.replace("blocks.1.", "blocks.2.")])
    drawn = from_bytes(compressed(base, "distill(layers=2,start=random)", texts).weights)
    assert not torch.equal(drawn["embedding.weight"], teacher["embedding.weight"])


def test_a_student_of_another_width_reads_with_the_tokenizer_of_its_teacher(base, texts, tmp_path):
    student = compressed(base, "distill(into=text,layers=1,width=8,epochs=1)", texts)
    loaded = Artifact.load(student.save(tmp_path / "student"))
    assert loaded.tokenizer == base.tokenizer
    sizes = {
        k: loaded.card.architecture[k] for k in ("layers", "width", "heads", "feedforward", "vocabulary")
    }
    assert sizes == {
        "layers": 1,
        "width": 8,
        "heads": 1,
        "feedforward": 16,
        "vocabulary": base.text_tokenizer.size,
    }
    ids = loaded.text_tokenizer.encode(texts.texts[:5]).ids
    with torch.no_grad():
        expected = module_of(loaded)(torch.from_numpy(ids).long()).numpy()
    np.testing.assert_allclose(logits(loaded, ids), expected, atol=1e-5)


def test_vocabularies_are_of_texts_alone():
    from fairpress.compression.step import TrainedNetwork
    from fairpress.compression.steps.trim_vocabulary import TrimVocabulary

    network = TrainedNetwork(registry.get("mlp"), {})
    with pytest.raises(
        UserError, match="trim-vocabulary is for models that read texts, and mlp reads other data"
    ):
        TrimVocabulary(share=0.5).apply([network], [learnable_texts(20)], [0])


def test_a_tokenizer_is_the_same_after_being_shipped(base, texts):
    small = compressed(base, "trim-vocabulary-10", texts)
    shipped = TextTokenizer.from_facts(small.tokenizer, small.card.inputs)
    assert shipped == small.text_tokenizer
