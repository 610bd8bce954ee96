"""A table with a column of texts as a dataset, and one sentence for whatever is wrong with it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.checks.dataset import check_dataset

YAML = """\
path: {path}
text: comment
label: toxic
positive: "yes"
sensitive: [language]
"""


def reviews(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    words = rng.choice(["good", "bad", "ሰላም", "naïve", 'a "quoted" word', "two\nlines"], (rows, 3))
    return pd.DataFrame(
        {
            "comment": [" ".join([*map(str, row), f"number {i}"]) for i, row in enumerate(words)],
            "title": rng.choice(["", "hello", "again"], rows),
            "language": rng.choice(["English", "Amharic"], rows),
            "toxic": rng.choice(["no", "yes"], rows),
            "stars": rng.integers(1, 6, rows),
        }
    )


def write(table, path):
    if path.suffix == ".jsonl":
        rows = [{k: v for k, v in row.items() if v != ""} for row in table.to_dict("records")]
        path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.fixture
def load(tmp_path):
    def load(table=None, yaml=YAML, suffix=".csv", **options):
        path = tmp_path / f"reviews{suffix}"
        if isinstance(table, bytes):
            path.write_bytes(table)
        else:
            write(reviews() if table is None else table, path)
        (tmp_path / "my.yaml").write_text(yaml.format(path=path.name), encoding="utf-8")
        return datasets.load(str(tmp_path / "my.yaml"), **options)

    return load


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_column_of_texts_becomes_a_dataset_in_every_format(load, suffix):
    data, table = load(suffix=suffix), reviews()
    assert data.kind == "text"
    assert data.texts.tolist() == table["comment"].tolist()
    assert data.inputs is data.texts
    assert (data.labels == (table["toxic"] == "yes")).all()
    assert data.attributes["language"].tolist() == table["language"].tolist()


def test_the_fingerprint_depends_on_every_text_and_not_on_the_format(load):
    table = reviews()
    first = load().fingerprint
    assert load(suffix=".parquet").fingerprint == load(suffix=".jsonl").fingerprint == first
    table.loc[7, "comment"] += "."
    assert load(table).fingerprint != first


def test_neighbouring_texts_that_exchange_characters_have_another_fingerprint(load):
    table = reviews()
    table.loc[0, "comment"], table.loc[1, "comment"] = "ab", "c"
    first = load(table).fingerprint
    table.loc[0, "comment"], table.loc[1, "comment"] = "a", "bc"
    assert load(table).fingerprint != first


def test_in_python_the_options_are_the_keys(load, tmp_path):
    load()
    data = datasets.load("text", path=tmp_path / "reviews.csv", text="comment", label="toxic", positive="yes")
    assert data.texts.tolist() == reviews()["comment"].tolist()
    assert "nothing can be audited by group" in " ".join(data.notes)


def test_several_columns_are_joined_by_line_breaks_and_a_note_says_so(load):
    data, table = load(yaml=YAML.replace("text: comment", "text: [title, comment]")), reviews()
    expected = [f"{t}\n{c}" if t else c for t, c in zip(table["title"], table["comment"], strict=True)]
    assert data.texts.tolist() == expected
    assert any("'title' and 'comment', joined by a line break" in note for note in data.notes)


def test_rows_with_equal_texts_are_one_subject_and_in_one_part(load):
    table = reviews()
    table["comment"] = [f"text {i % 150}" for i in range(len(table))]
    data = load(table)
    texts = [set(data.texts[rows]) for rows in data.parts.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 150 == len(np.unique(data.subjects))
    assert any(note.startswith("250 rows repeat the text") for note in data.notes)


def test_official_parts_may_share_texts(load):
    table = reviews().assign(part=np.where(np.arange(400) < 300, "train", "test"))
    table.loc[350, "comment"] = table.loc[3, "comment"]
    table.loc[4, "comment"] = table.loc[3, "comment"]
    data = load(table, YAML + "split: part\n")
    assert data.parts["test"].tolist() == list(range(300, 400))
    assert data.subjects[3] == data.subjects[4] != data.subjects[350]
    assert data.warnings == ()


def test_a_subject_is_in_one_part_whatever_it_wrote(load):
    table = reviews().assign(author=[f"a{i // 4}" for i in range(400)])
    data = load(table, YAML + "subject: author\n")
    seen = [set(data.subjects[rows]) for rows in data.parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 100


def test_a_text_may_be_long(load):
    table = reviews()
    table.loc[0, "comment"] = "word " * 5000
    assert load(table).texts[0] == table.loc[0, "comment"]


def test_blank_texts_are_refused_with_their_number_or_dropped_with_a_note(load):
    table = reviews()
    table.loc[[4, 9], "comment"] = ["", "  \t"]
    with pytest.raises(
        UserError, match=r"'comment' is blank in 2 of 400 rows, the first in row 5; .*`missing: drop`"
    ):
        load(table)
    data = load(table, YAML + "missing: drop\n")
    assert len(data) == 398
    assert "5" not in data.row_ids
    assert any(note.startswith("2 rows are left out") for note in data.notes)


@pytest.mark.parametrize(
    ("change", "yaml", "sentence"),
    [
        (
            {},
            YAML.replace("text: comment", "text: coment"),
            r"my.yaml:2:1.*no column 'coment'. Did you mean 'comment'",
        ),
        ({"comment": ""}, YAML, r"'comment' is empty in every row; name the column"),
        ({"comment": 5}, YAML, r"'comment' holds numbers, not texts; .*`features`"),
        (
            {},
            YAML.replace("label: toxic", "label: comment"),
            r"`text` and `label` name the same column 'comment'",
        ),
        ({}, YAML + "features: [stars]\n", r"reads `text` alone, and `features` belongs to tables"),
        ({}, YAML + "image: stars\n", r"reads `text` alone, and `image` belongs to images"),
        ({}, YAML.replace("[language]", "[comment]"), r"sensitive attribute 'comment' is the text"),
        ({}, YAML.replace("text: comment", "text: [comment, comment]"), r"`text` lists a column twice"),
    ],
)
def test_what_is_wrong_is_one_sentence(load, change, yaml, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        load(reviews().assign(**change), yaml)
    assert str(error.value).count("\n") == 0


def test_bytes_that_are_not_utf8_are_named_by_their_line_and_the_command_that_converts_them(load, tmp_path):
    content = reviews().to_csv(index=False).encode()
    first = content.count(b"\n", 0, content.index("naïve".encode())) + 1
    broken = content.replace("naïve".encode(), "naïve".encode("latin-1"))
    with pytest.raises(
        UserError, match=rf"is not UTF-8 text, line {first}; .*iconv -f WINDOWS-1252 -t UTF-8"
    ) as error:
        load(broken)
    assert "utf8-reviews.csv" in str(error.value)
    lines = broken.splitlines(keepends=True)
    with pytest.raises(UserError, match=r"is not UTF-8 text, line 1;"):
        load(b'{"comment": "na\xefve", "toxic": "no"}\n' + b"".join(lines), suffix=".jsonl")


def test_quotation_marks_in_a_tsv_file_that_enclose_nothing_are_characters(load):
    lines = ["comment\tlanguage\ttoxic"]
    lines += [
        f'"he said {i}\t{"English" if i % 3 else "Twi"}\t{"yes" if i % 2 else "no"}' for i in range(300)
    ]
    data = load("\n".join(lines).encode(), suffix=".tsv")
    assert data.texts.tolist() == [f'"he said {i}' for i in range(300)]
    assert any("read as characters" in note for note in data.notes)


def test_quotation_marks_that_enclose_values_are_taken_away(load):
    data = load(suffix=".tsv")
    assert not any("read as characters" in note for note in data.notes)
    assert any('"quoted"' in text for text in data.texts)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"comment": "a", "toxic": "no"}\n{"comment": \n', r"line 2 is not JSON \(Expecting value\)"),
        (b'["a"]\n', r"line 1 is not an object"),
        (b'{"comment": ["a"], "toxic": "no"}\n', r"line 1: 'comment' is not a single value"),
        (b"\n\n", "has no rows"),
        (b"", "is empty"),
    ],
)
def test_what_is_wrong_in_a_jsonl_file_is_named_by_its_line(load, content, sentence):
    with pytest.raises(UserError, match=sentence):
        load(content, suffix=".jsonl")


def test_half_of_an_escaped_emoji_is_named_by_its_line(load):
    lines = [json.dumps(row) for row in reviews().to_dict("records")]
    lines[6] = lines[6].replace('"comment": "', '"comment": "\\ud83d', 1)
    with pytest.raises(UserError, match=r"line 7: 'comment' has half of a surrogate pair"):
        load("\n".join(lines).encode(), suffix=".jsonl")


def test_a_quotation_mark_that_swallows_rows_is_noted(load):
    table = reviews().assign(comment=[f"text {i}" for i in range(400)])[["comment", "language", "toxic"]]
    lines = table.to_csv(index=False).splitlines()
    assert not any("look like rows" in note for note in load(table).notes)
    lines[10] = f'"{lines[10]}'
    lines[14] = lines[14].replace("text 13", 'text 13"')
    data = load("\n".join(lines).encode())
    assert len(data) == 396
    assert any("the first in row 10: if a quotation mark is not closed" in note for note in data.notes)


def test_bytes_are_not_taken_for_texts(load):
    table = reviews().assign(comment=[f"text {i}".encode() for i in range(400)])
    with pytest.raises(UserError, match=r"'comment' holds binary, not texts"):
        load(table, suffix=".parquet")


def test_texts_without_groups_can_be_checked(load, tmp_path):
    load()
    data = datasets.load("text", path=tmp_path / "reviews.csv", text="comment", label="toxic", positive="yes")
    assert {w.kind for w in check_dataset(data, 10)} == {"duplicates"}


def test_jsonl_keeps_dates_and_mixed_values_as_they_are_spelled(load):
    table = reviews()
    table["day"] = "2024-05-01"
    table["code"] = [1 if i % 2 else "one" for i in range(len(table))]
    data = load(table, YAML.replace("[language]", "[language, day, code]"), suffix=".jsonl")
    assert set(data.attributes["day"]) == {"2024-05-01"}
    assert set(data.attributes["code"]) == {"1", "one"}


def test_afrisentis_files_are_read_as_the_bundled_dataset_reads_them(data_folder, tmp_path):
    source = data_folder / "afrisenti" / "train" / "kr_train.tsv"
    yaml = f"path: {source}\ntext: tweet\nlabel: label\nsensitive: [label2]\n".replace(
        "sensitive: [label2]\n", ""
    )
    (tmp_path / "kr.yaml").write_text(yaml, encoding="utf-8")
    data = datasets.load(str(tmp_path / "kr.yaml"))
    bundled = datasets.load("afrisenti", languages="Kinyarwanda")
    rows = np.sort(np.concatenate([bundled.parts["train"], bundled.parts["calibration"]]))
    assert data.texts.tolist() == bundled.texts[rows].tolist()
