"""Shares of people in sentences and tables."""

from __future__ import annotations

from fractions import Fraction

from fairpress.auditing.result import Flips
from fairpress.auditing.verdicts.wording import per_thousand, verdict_sentence


def test_rounding_errors_of_means_over_seeds_decide_no_half():
    for seeds, n in ((20, 100), (20, 300), (20, 700), (3, 1000)):
        for flips in range(seeds * n // 4):
            exact = Fraction(1000 * flips, seeds * n)
            assert f"{per_thousand(flips / seeds, n):.0f}" == str(round(exact))
            assert f"{per_thousand(flips * (1 / seeds), n):.0f}" == str(round(exact))


def test_a_sentence_names_whole_people():
    sentence = verdict_sentence({}, Flips(100.0, 161 / 20, 1.0, 0.0))
    assert sentence == "Of 1,000 people, 80 lose a correct answer and 10 gain one."
