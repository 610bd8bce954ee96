"""Pairs of nearly equal texts against a comparison of all pairs."""

from __future__ import annotations

import itertools
import random

import pytest

from fairpress.datasets.texts.near_duplicates import jaccard, near_duplicates, normalized

LETTERS = "abcdefghijklmnopqrstuvwxyzሀለሐመሠረአبتث "


def changed(text: str, changes: int, draw: random.Random) -> str:
    characters = list(text)
    for position in draw.sample(range(len(text)), changes):
        characters[position] = draw.choice(LETTERS)
    return "".join(characters)


@pytest.fixture(scope="module")
def texts():
    draw = random.Random(3)
    originals = ["".join(draw.choices(LETTERS, k=draw.randint(5, 200))) for _ in range(300)]
    copies = [changed(text, draw.randint(0, 3), draw) for text in originals if len(text) > 40]
    return list(
        dict.fromkeys([*originals, *copies, *(f"{text} more" for text in originals[:40]), "abc", "abd", ""])
    )


def grams(text):
    return {text[i : i + 5] for i in range(len(text) - 4)}


def test_the_pairs_are_those_of_a_comparison_of_all_pairs(texts):
    sets = [grams(text) for text in texts]
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if sets[i] and sets[j] and len(sets[i] & sets[j]) >= 0.8 * len(sets[i] | sets[j])
    }
    assert len(expected) > 100
    assert {tuple(pair) for pair in near_duplicates(texts).tolist()} == expected


def test_texts_are_cut_into_chunks_without_a_difference(texts, monkeypatch):
    whole = near_duplicates(texts)
    monkeypatch.setattr("fairpress.datasets.texts.near_duplicates.CHUNK_CHARACTERS", 700)
    assert near_duplicates(texts).tolist() == whole.tolist()


def test_jaccard_is_the_share_of_common_5_grams():
    assert jaccard("abcdefg", "abcdefh") == pytest.approx(2 / 4)  # abcde, bcdef of abcde, bcdef, cdefg, cdefh


@pytest.mark.parametrize("texts", [[], ["a"], ["abcdefg"], ["abc", "abd"], ["", "abcdefg"]])
def test_too_few_or_too_short_texts_have_no_pair(texts):
    assert near_duplicates(texts).shape == (0, 2)


def test_case_blanks_and_compatibility_forms_do_not_count():
    assert normalized("  Ｈello\t WORLD\n") == "hello world"
    assert normalized("STRASSE") == normalized("Straße")
