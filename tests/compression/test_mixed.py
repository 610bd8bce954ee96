"""Widths chosen layer by layer within a budget of bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp
from trained import easy, hard

from fairpress.compression.allocate import allocate
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.runtime.session import run


def made(recipe: str, which=hard):
    data, bases = which()
    return compress(bases[:1], parse(recipe), data[:1], [0])[0]


def test_the_choice_is_the_best_of_all_choices():
    rng = np.random.default_rng(0)
    layers = "abcdef"
    harm = {n: {8: 0.01 * rng.random(), 4: rng.random(), 2: 1 + rng.random()} for n in layers}
    cost = {
        n: {w: int(size * w) for w in (8, 4, 2)}
        for n, size in zip(layers, rng.integers(5, 90, 6), strict=True)
    }
    for budget in (600, 1100, 1700):
        fitting = [
            (sum(harm[n][w] for n, w in zip(layers, ws, strict=True)), ws)
            for ws in itertools.product((8, 4, 2), repeat=6)
            if sum(cost[n][w] for n, w in zip(layers, ws, strict=True)) <= budget
        ]
        found = allocate(harm, cost, budget)
        assert (found is None) == (not fitting)
        if found is not None:
            assert tuple(found[n] for n in layers) == min(fitting)[1]
    assert allocate(harm, cost, 10) is None


def test_the_file_keeps_the_budget_and_the_card_says_what_each_layer_would_lose():
    size = {b: made(f"int{b}").size for b in (8, 4)}
    budget = (size[8] + size[4]) // 2
    artifact = made(f"mixed(budget={budget})")
    assert size[4] < artifact.size <= budget
    details = artifact.card.provenance["details"]
    table = details["sensitivity"]
    assert {row["bits"] for row in table.values()} > {8}
    assert details["bits"] == {name: row["bits"] for name, row in table.items()}
    assert all(0 <= row["8"] < row["4"] < row["2"] for row in table.values())
    assert details["divergence"]["measured"] > 0
    assert str(parse(artifact.card.recipe)) == f"mixed(budget={budget})"


def test_chosen_widths_disturb_answers_less_than_the_opposite_choice_of_more_bytes():
    """On test rows, weights alone: 8 bits where 4 would have been chosen and the other way round."""
    data, bases = hard()
    x = data[0].part("test").inputs
    mixed = made("mixed(budget=3960,activation_bits=32)")
    bits = mixed.card.provenance["details"]["bits"]
    assert set(bits.values()) == {4, 8}
    opposite = made(f"w8(bits={'|'.join(f'{name}:{12 - width}' for name, width in bits.items())})")
    assert opposite.size > mixed.size
    wanted = log_probabilities(bases[0].onnx, x)

    def apart(artifact) -> float:
        return float((np.exp(wanted) * (wanted - log_probabilities(artifact.onnx, x))).sum(1).mean())

    assert apart(mixed) < 0.7 * apart(opposite)
    told = mixed.card.provenance["details"]["divergence"]
    assert 0.5 < told["measured"] / told["predicted"] < 2


def log_probabilities(onnx: bytes, x: np.ndarray) -> np.ndarray:
    logits = run(onnx, x).astype(float)
    return logits - logsumexp(logits, axis=1, keepdims=True)


def test_widths_by_hand_are_kept_and_budgets_have_units():
    artifact = made("mixed(budget=2.3KB,bits=1:8)", easy)
    assert artifact.card.provenance["details"]["bits"]["1"] == 8
    assert parse("mixed(budget=6.3MB)").steps[0].budget == 6_300_000
    with pytest.raises(
        UserError, match=r"no widths make a file of 300 bytes: the smallest has about .* raise the budget"
    ):
        made("mixed(budget=300)", easy)
    with pytest.raises(UserError, match="budget"):
        parse("mixed")
    with pytest.raises(UserError, match="no layer '9'"):
        made("mixed(budget=2.3KB,bits=9:8)", easy)
