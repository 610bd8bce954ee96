"""Widths chosen layer by layer within a budget of bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
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


def test_it_answers_as_the_float_network_does_more_often_than_the_same_bytes_of_four_bits():
    """Two wide layers of a deep network to spare: eight bits where four hurt most."""
    data, bases = hard()
    four, eight = made("int4"), made("int8")
    mixed = made(f"mixed(budget={(four.size + eight.size) // 2})")
    x = data[0].part("test").inputs
    wanted = run(bases[0].onnx, x).argmax(1)
    flips = {a.card.recipe: (run(a.onnx, x).argmax(1) != wanted).mean() for a in (four, mixed)}
    assert flips[mixed.card.recipe] < flips["int4"]


def test_widths_by_hand_are_kept_and_budgets_have_units():
    artifact = made("mixed(budget=2KB,bits=1:8)", easy)
    assert artifact.card.provenance["details"]["bits"]["1"] == 8
    assert parse("mixed(budget=6.3MB)").steps[0].budget == 6_300_000
    with pytest.raises(
        UserError, match=r"no widths make a file of 300 bytes: the smallest has about .* raise the budget"
    ):
        made("mixed(budget=300)", easy)
    with pytest.raises(UserError, match="budget"):
        parse("mixed")
    with pytest.raises(UserError, match="no layer '9'"):
        made("mixed(budget=2KB,bits=9:8)", easy)
