"""`data check` of texts: what would mislead is named with its numbers, and clean texts are not warned of."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.cli import main
from fairpress.datasets.checks.dataset import check_dataset
from fairpress.datasets.checks.text_scripts import texts_table

ROWS = 1500
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def table(seed: int = 1, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    base = {
        "text": [" ".join(rng.choice(WORDS, 12)) for _ in range(ROWS)],
        "language": rng.choice(["A", "B"], ROWS),
        "label": rng.choice(["other", "spam"], ROWS),
        "part": np.where(
            np.arange(ROWS) < 900, "train", np.where(np.arange(ROWS) < 1000, "validation", "test")
        ),
    }
    return pd.DataFrame(base | columns)


@pytest.fixture
def write(tmp_path):
    def write(frame: pd.DataFrame, more: str = "") -> str:
        frame.to_csv(tmp_path / "t.csv", index=False)
        text = f"path: t.csv\ntext: text\nlabel: label\npositive: spam\nsensitive: [language]\nsplit: part\n{more}"
        (tmp_path / "t.yaml").write_text(text)
        return str(tmp_path / "t.yaml")

    return write


@pytest.fixture
def kinds(write):
    return lambda frame, more="": {w.kind: w for w in check_dataset(datasets.load(write(frame, more)), 115)}


def test_clean_texts_are_not_warned_of(kinds):
    assert not kinds(table())


def test_texts_of_the_test_part_that_are_in_training_are_counted(kinds):
    frame = table()
    frame.loc[1000:1029, "text"] = frame.loc[0:29, "text"].str.upper().to_numpy()
    frame.loc[1030:1039, "text"] = (frame.loc[30:39, "text"] + "!").to_numpy()
    frame.loc[1000:1039, "label"] = frame.loc[0:39, "label"].to_numpy()
    found = kinds(frame)
    assert set(found) == {"duplicates"}
    assert found["duplicates"].column == "test"
    assert found["duplicates"].number == 40
    assert (
        "of the 500 test texts, 30 (6.0%) are in training, calibration or validation too"
        in found["duplicates"].sentence
    )
    assert "and 10 nearly so" in found["duplicates"].sentence
    assert "such as rows 1001 and 1:" in found["duplicates"].sentence


def test_validation_texts_that_are_in_training_are_counted_apart(kinds):
    frame = table()
    frame.loc[900:904, "text"] = (frame.loc[0:4, "text"] + "?").to_numpy()
    found = kinds(frame)["duplicates"]
    assert (found.column, found.number) == ("validation", 5)
    assert "of the 100 validation texts, 5 nearly equal one of training or calibration" in found.sentence


def test_the_group_with_the_most_copies_is_named(kinds):
    frame = table(language=np.where(np.arange(ROWS) % 5, "A", "B"))
    of_b = np.flatnonzero((frame["part"] == "test") & (frame["language"] == "B"))
    frame.loc[of_b[:60], "text"] = frame.loc[0:59, "text"].to_numpy()
    assert len(of_b) == 100
    assert "; above all of B (60.0%):" in kinds(frame)["duplicates"].sentence


def test_equal_texts_with_different_labels_are_counted(kinds):
    frame = table()
    frame.loc[1, "text"] = frame.loc[0, "text"]
    frame.loc[[0, 1], "label"] = ["spam", "other"]
    assert kinds(frame)["conflicting_labels"].number == 2


def test_a_word_that_gives_a_class_away_is_named_with_its_counts(kinds):
    frame = table()
    spam = frame["label"] == "spam"
    frame.loc[spam & (np.arange(ROWS) % 2 == 0), "text"] += " unsubscribe"
    train, test = frame["part"] == "train", frame["part"] == "test"
    marked = frame["text"].str.contains("unsubscribe")
    data_rows = int((marked & test).sum())
    sentence = kinds(frame)["giveaway_words"].sentence
    assert "nearly always 'spam': 'unsubscribe' (" in sentence
    assert f"{data_rows} of {data_rows} test rows" in sentence
    assert int((marked & train).sum()) > 100


def test_a_word_that_is_merely_frequent_in_a_class_is_not_named(kinds):
    frame = table()
    draw = np.random.default_rng(0).random(ROWS)
    frame.loc[draw < np.where(frame["label"] == "spam", 0.5, 0.05), "text"] += " offer"
    assert "giveaway_words" not in kinds(frame)


def test_the_name_of_the_class_in_its_texts_is_named(kinds):
    frame = table()
    frame.loc[(frame["label"] == "spam") & (np.arange(ROWS) % 10 == 0), "text"] += " [SPAM]"
    found = kinds(frame)["label_in_text"]
    assert found.column == "spam"
    assert found.number == (frame["text"].str.contains("SPAM")).sum()


def test_a_last_character_that_is_the_label_is_named(kinds):
    frame = table()
    frame["text"] += np.where(frame["label"] == "spam", ".", "!")
    assert kinds(frame)["gives_away"].column == "last character"


def test_texts_that_are_written_differently_in_the_test_part_are_named(kinds):
    frame = table()
    quoted = (frame["part"] == "test") & (frame["language"] == "A")
    frame.loc[quoted, "text"] = "'" + frame.loc[quoted, "text"] + "'"
    found = kinds(frame)["marked_parts"]
    assert found.column == "language"
    assert "A, where 0% of training and 100% of test texts begin with '" in found.sentence
    assert "B," not in found.sentence


def test_a_group_in_another_script_than_most_is_named(kinds):
    frame = table()
    frame.loc[frame["language"] == "B", "text"] = [
        " ".join(w)
        for w in np.random.default_rng(2).choice(
            ["ሰላም", "ነው", "አዲስ", "ቤት", "ውሃ", "እና"], ((frame["language"] == "B").sum(), 12)
        )
    ]
    frame.loc[0, "text"] = "12345 67890 !!"
    found = kinds(frame)
    assert "B (Ethiopic 100%)" in found["other_script"].sentence
    assert found["no_letters"].number == 1


def test_long_texts_are_counted_and_the_longest_is_named(kinds):
    frame = table()
    frame.loc[7, "text"] = " ".join(np.random.default_rng(4).choice(WORDS, 301))
    frame.loc[8, "text"] = "".join(np.random.default_rng(5).choice(list("abcdefgh"), 2001))
    found = kinds(frame)["long_texts"]
    assert found.number == 2
    assert "row 9, has 2,001 characters" in found.sentence


def test_other_base_rates_in_the_test_part_are_named_with_their_group(kinds):
    frame = table()
    shifted = (frame["part"] == "test") & (frame["language"] == "A")
    frame.loc[shifted, "label"] = np.where(np.arange(shifted.sum()) % 5 == 0, "other", "spam")
    found = kinds(frame)["shifted_rates"]
    share = (frame.loc[(frame["part"] == "train") & (frame["language"] == "A"), "label"] == "spam").mean()
    assert 0.4 < share < 0.6
    assert ", 80% in test)" in found.sentence or ", 20% in test)" in found.sentence
    assert "B (" not in found.sentence


def test_the_table_has_lengths_and_scripts_of_each_group(write):
    frame = table()
    lines = texts_table(datasets.load(write(frame)))
    words = frame["text"].str.split().str.len()
    characters = frame["text"].str.len()
    assert lines[1].split()[:3] == ["everybody", f"{ROWS:,}", str(int(words.median()))]
    assert f"{characters.max():,}" in lines[1]
    assert lines[1].endswith("Latin 100%")
    assert [line.split()[1] for line in lines[2:]] == frame["language"].value_counts().index.tolist()


def test_the_command_prints_them_and_json_lists_them(write, capsys):
    frame = table()
    frame.loc[1000:1029, "text"] = frame.loc[0:29, "text"].to_numpy()
    path = write(frame)
    with pytest.raises(SystemExit) as left:
        main(["data", "check", path, "--strict"])
    assert left.value.code == 1
    printed = capsys.readouterr().out
    assert "words: median" in printed
    assert "warning: of the 500 test texts" in printed
    with pytest.raises(SystemExit):
        main(["data", "check", path, "--json"])
    assert "duplicates" in {w["kind"] for w in json.loads(capsys.readouterr().out)}


def test_tokens_of_each_group_are_counted_by_a_given_tokenizer(write, tmp_path, capsys):
    tokenizers = pytest.importorskip("tokenizers", reason="the extra text is not installed")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.enable_truncation(3)
    words.save(str(tmp_path / "tokenizer.json"))
    path = write(table())
    with pytest.raises(SystemExit) as left:
        main(["data", "check", path, "--tokenizer", str(tmp_path)])
    assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "tokens: median" in line)
    everybody = next(line for line in lines if "everybody" in line and "Latin" in line)
    assert head.split()[-3:] == ["a", "word", "scripts"]
    assert everybody.split()[-6:-2] == ["12", "12", "12", "1.00"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "there is no file"), ("{}", "is not a tokenizer"), ("\x00", "is not a tokenizer")],
)
def test_what_is_not_a_tokenizer_is_refused(write, tmp_path, capsys, content, sentence):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    if content is not None:
        (tmp_path / "t.json").write_text(content)
    with pytest.raises(SystemExit) as left:
        main(["data", "check", write(table()), "--tokenizer", str(tmp_path / "t.json")])
    assert left.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_afrisenti_is_warned_of_what_its_official_parts_hide(data_folder):
    data = datasets.load("afrisenti", languages=["Amharic", "Hausa", "Twi"])
    found = {w.kind: w for w in check_dataset(data, 115) if w.column == "language"}
    assert "Amharic (negative 26% in training, 67% in test)" in found["shifted_rates"].sentence
    assert "Hausa, where 100% of training and 0% of test texts begin with @" in found["marked_parts"].sentence
    assert "Amharic (Ethiopic" in found["other_script"].sentence
