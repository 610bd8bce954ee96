"""Which rows set the ranges, and whose error counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import fairpress as fp
from fairpress.compression.quantization.batch_quantizer import make_quantizer
from fairpress.compression.quantization.calibrate import _mean_or_worst_group, calibrate, logits_in_chunks
from fairpress.compression.quantization.calibration_sampling import sample_rows, validation_groups
from fairpress.compression.quantized_graph.range_estimators import RANGES
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models.weights_io import from_bytes
from made_dataset import make_dataset
from trained import DEEP, easy, hard


def _skewed():
    """A dataset whose calibration part has 90 women, 8 men and 2 others."""
    data = make_dataset(1000)
    sex = data.attributes["sex"].copy()
    sex[data.parts["calibration"]] = ["Female"] * 90 + ["Male"] * 8 + ["Other"] * 2
    return replace(data, attributes={"sex": sex})


def test_every_group_weighs_the_same_and_the_card_says_on_how_many_rows_that_rests():
    data = _skewed()
    which, reported = sample_rows(data, 60, "balanced", "sex", (0, 0))
    groups = data.attributes["sex"][data.parts["calibration"]][which]
    assert [int((groups == g).sum()) for g in ("Female", "Male", "Other")] == [20, 20, 20]
    assert reported["calibration"]["groups"] == {
        "Female": {"rows": 20, "different": 20},
        "Male": {"rows": 20, "different": 8},
        "Other": {"rows": 20, "different": 2},
    }
    assert len(set(which[groups == "Female"])) == 20
    assert sorted(np.unique(which[groups == "Male"], return_counts=True)[1]) == [2] * 4 + [3] * 4


def test_balanced_over_labels_too():
    data = make_dataset(2000)
    which, reported = sample_rows(data, 80, "balanced-label", "sex", (0, 0))
    index = data.parts["calibration"][which]
    for sex in ("Female", "Male"):
        for label in (0, 1):
            assert ((data.attributes["sex"][index] == sex) & (data.labels[index] == label)).sum() == 20
    assert set(reported["calibration"]["groups"]) == {"Female, no", "Female, yes", "Male, no", "Male, yes"}


def test_draws_repeat_and_differ():
    data = make_dataset()
    first, again, other, seed = (
        sample_rows(data, 30, "balanced", None, s)[0] for s in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, seed)
    assert len(set(sample_rows(data, 30, "random", None, (0, 0))[0])) == 30
    assert np.array_equal(sample_rows(data, 30, "first", None, (0, 0))[0], np.arange(30))


def test_more_groups_than_rows_is_refused():
    with pytest.raises(UserError, match="3 groups cannot share 2 calibration rows"):
        sample_rows(_skewed(), 2, "balanced", "sex", (0, 0))
    with pytest.raises(UserError, match="no sensitive attribute to balance by"):
        sample_rows(replace(make_dataset(), attributes={}), 20, "balanced", None, (0, 0))


def test_the_worst_group_decides_and_small_ones_do_not():
    loss, groups = torch.tensor([0.1, 0.1, 0.5, 9.0]), torch.tensor([0, 0, 1, -1])
    assert _mean_or_worst_group(loss, groups) == pytest.approx(0.5)
    assert _mean_or_worst_group(loss, None) == pytest.approx(9.7 / 4)
    data = make_dataset()
    sex = data.attributes["sex"].copy()
    sex[data.parts["validation"][:4]] = "Other"
    result = validation_groups(replace(data, attributes={"sex": sex}), "sex", 512)
    assert (result[:4] == -1).all()
    assert set(result) == {-1, 0, 1}
    with pytest.raises(UserError, match="fewer than two groups have 10 validation rows"):
        validation_groups(data, "sex", 12)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_every_width_takes_them(bits):
    data, bases = hard()
    plain = fp.compress(bases[0], f"int{bits}", data=data[0])
    for how in ("balanced", "balanced-label"):
        created = fp.compress(bases[0], f"int{bits}(calibration={how},by=sex,rows=64)", data=data[0])
        assert created.digest != plain.digest
        assert created.size == pytest.approx(plain.size, abs=200)
        assert created.card.provenance["details"]["calibration"]["how"] == how
        assert created.card.provenance["details"]["calibration_rows"] == 64


def test_ranges_may_be_chosen_for_the_worst_group():
    data, bases = easy()
    created = fp.compress(bases[0], "int4(ranges=auto,error=worst,by=sex)", data=data[0])
    assert created.card.recipe == "int4(error=worst,by=sex,ranges=auto)"
    trained = fp.compress(
        bases[0], "qat-int4(calibration=balanced,ranges=auto,error=worst,by=sex,epochs=1)", data=data[0]
    )
    assert trained.card.provenance["details"]["calibration"]["how"] == "balanced"


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("int8(by=sex)", "by needs calibration=balanced"),
        ("int8(draw=1)", "draw needs calibration=random"),
        ("int8(error=worst)", "it needs ranges=auto"),
        ("int8(calibration=balance)", "calibration: must be"),
    ],
)
def test_what_is_not_read_is_refused(recipe, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(recipe)


def test_what_is_chosen_for_the_worst_group_serves_it_best():
    data, bases = hard()
    engine = make_quantizer(DEEP, (4,), torch.float32, 2)
    prepared, state = engine.prepare(Scheme(4)), engine.fold(from_bytes(bases[0].weights))
    rows, held_out = (torch.from_numpy(data[0].part(p).inputs) for p in ("calibration", "validation"))
    groups = (held_out[:, 0] > 1).long() + 2 * (held_out[:, 1] > 1).long()

    def divergence(created):
        expected, logits = (
            logits_in_chunks(prepared, created.state, held_out, rounded=r).log_softmax(-1)
            for r in (False, True)
        )
        rows = torch.nn.functional.kl_div(logits, expected, reduction="none", log_target=True).sum(-1)
        return [float(rows[groups == g].mean()) for g in range(4)], float(rows.mean())

    created = {
        name: divergence(
            calibrate(
                prepared, state, rows, weights="auto", activations="auto", validation=held_out, groups=g
            )
        )
        for name, g in (("mean", None), ("worst", groups))
    }
    tried = [
        divergence(calibrate(prepared, state, rows, weights=w, activations=a)) for w in RANGES for a in RANGES
    ]
    assert max(created["worst"][0]) == pytest.approx(min(max(by_group) for by_group, _ in tried))
    assert created["mean"][1] == pytest.approx(min(mean for _, mean in tried))
