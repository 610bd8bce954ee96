"""Scripts of texts by their letters."""

from __future__ import annotations

import numpy as np

from fairpress.datasets.texts.scripts import letters_by_script, main_scripts


def test_letters_are_counted_by_script():
    scripts, counts = letters_by_script(["aé ሰላም", "123 😀 !", "", "مرحبا bye"])
    assert scripts == ("Arabic", "Ethiopic", "Latin")
    assert counts.tolist() == [[0, 3, 2], [0, 0, 0], [0, 0, 0], [5, 0, 3]]


def test_the_script_is_that_of_most_letters():
    texts = ["ሰላም is ok, ሰላም ሰላም", "@user سلا", "Привет", "漢字かな漢", "12 😀", "हिन्दी"]
    assert main_scripts(texts).tolist() == [
        "Ethiopic",
        "Latin",
        "Cyrillic",
        "Han",
        "no letters",
        "Devanagari",
    ]


def test_compatibility_letters_count_as_what_they_look_like():
    assert main_scripts(["𝓗𝓮𝓵𝓵𝓸", "ｆｕｌｌ", "ﷺ"]).tolist() == ["Latin", "Latin", "Arabic"]


def test_a_lone_surrogate_is_no_letter():
    assert main_scripts(np.array(["\ud800", "a\ud800"], dtype=object)).tolist() == ["no letters", "Latin"]


def test_chunks_do_not_change_the_counts(monkeypatch):
    texts = ["aб", "ሰ", "", "b"] * 5
    whole = letters_by_script(texts)
    monkeypatch.setattr("fairpress.datasets.texts.scripts.CHUNK_ROWS", 3)
    assert letters_by_script(texts)[0] == whole[0]
    assert letters_by_script(texts)[1].tolist() == whole[1].tolist()


def test_no_texts_have_no_scripts():
    assert letters_by_script([])[0] == ()
    assert main_scripts([]).shape == (0,)
