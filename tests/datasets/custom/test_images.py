"""Any folder of images with a table as a dataset, and what a check of images finds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from faces import make_faces
from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.checks.dataset import check_dataset

YAML = """\
path: people.csv
image: file
folder: pictures
label: smiles
positive: "yes"
sensitive:
  sex:
  age_group: {column: age, bins: [30, 60]}
size: 16
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    names = make_faces(tmp_path / "pictures")
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "file": names,
            "smiles": rng.choice(["yes", "no"], len(names)),
            "sex": [("m", "f")[int(n.split("_")[1])] for n in names],
            "age": [int(n.split("_")[0]) for n in names],
            "person": [f"p{i // 2}" for i in range(len(names))],
        }
    )


@pytest.fixture
def load(tmp_path, table):
    def load(changed=None, yaml=YAML, **options):
        (table if changed is None else changed).to_csv(tmp_path / "people.csv", index=False)
        (tmp_path / "my.yaml").write_text(yaml, encoding="utf-8")
        return datasets.load(str(tmp_path / "my.yaml"), on_message=lambda _: None, **options)

    return load


def test_a_folder_and_a_table_become_a_dataset(load, table):
    data = load()
    assert data.inputs.shape == (120, 3, 16, 16)
    assert data.task.classes == ("no", "yes")
    np.testing.assert_array_equal(data.labels, table.smiles == "yes")
    np.testing.assert_array_equal(data.row_ids, table.file)
    np.testing.assert_array_equal(data.attributes["sex"], table.sex)
    assert set(data.attributes["age_group"]) == {"below 30", "30 to below 60", "60 and above"}


def test_it_can_be_loaded_again_as_a_card_says(load, tmp_path):
    data = load(size=24, test_share=0.5)
    assert dict(data.config) == {"size": 24, "test_share": 0.5}
    again = datasets.load(data.name, on_message=lambda _: None, **data.config)
    assert again.fingerprint == data.fingerprint
    assert again.inputs.shape[-1] == 24


def test_from_python_the_same_keys_are_options(load, tmp_path):
    data = load()
    same = datasets.load(
        "images",
        on_message=lambda _: None,
        path=str(tmp_path / "people.csv"),
        folder=str(tmp_path / "pictures"),
        image="file",
        label="smiles",
        positive="yes",
        sensitive={"sex": {}, "age_group": {"column": "age", "bins": [30, 60]}},
        size=16,
    )
    np.testing.assert_array_equal(same.labels, data.labels)
    np.testing.assert_array_equal(same.inputs, data.inputs)


def test_people_stay_together_and_a_column_can_say_the_part(load, table):
    data = load(yaml=YAML + "subject: person\n")
    seen = [set(data.subjects[rows]) for rows in data.parts.values()]
    assert sum(map(len, seen)) == 60
    parts = table.assign(part=np.where(np.arange(120) < 80, "train", "test"))
    assert load(parts, YAML + "split: part\n").parts["test"].tolist() == list(range(80, 120))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="file"), r"my.yaml:2:1.*no column 'file'"),
        (lambda t: t.assign(file=[None, *t.file[1:]]), "the image column 'file' has 1 missing"),
        (lambda t: t.assign(file=[t.file[1], *t.file[1:]]), "is in 2 rows, first in row 1"),
        (
            lambda t: t.assign(file=["absent.jpg", *t.file[1:]]),
            r"absent.jpg \(there is no such file\).*`missing: skip`",
        ),
        (lambda t: t.assign(smiles=[None, *t.smiles[1:]]), "'smiles' has 1 missing.*`missing: skip`"),
        (lambda t: t.assign(smiles=t.sex), "is not a class|not among|positive"),
        (
            lambda t: t.assign(file="x" + t.file),
            "120 of 120 images.*and 110 more; .* check that the column",
        ),
    ],
)
def test_what_is_wrong_in_the_table_is_one_sentence(load, table, change, sentence):
    with pytest.raises(UserError, match=sentence):
        load(change(table))


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        (YAML.replace("pictures", "picturs"), "picturs is not a folder"),
        (YAML.replace("size: 16", "size: 4"), "my.yaml:9:1.*size"),
        (YAML.replace("size: 16", "sise: 4"), "unknown key 'sise'. Did you mean 'size'"),
        (YAML.replace("image: file", "image: smiles"), "`image` and `label` name the same column"),
        (YAML.replace("image: file\n", ""), "unknown key 'folder'"),
    ],
)
def test_what_is_wrong_in_the_yaml_is_said_with_its_line(load, yaml, sentence):
    with pytest.raises(UserError, match=sentence):
        load(yaml=yaml)


def test_skipping_leaves_out_and_counts(load, table):
    changed = table.assign(file=["absent.jpg", *table.file[1:]], smiles=[*table.smiles[:-1], None])
    data = load(changed, YAML + "missing: skip\n")
    assert data.row_ids.tolist() == table.file[1:-1].tolist()
    np.testing.assert_array_equal(data.labels, table.smiles[1:-1] == "yes")
    assert any("1 of 119 images are left out" in n and "absent.jpg" in n for n in data.notes)
    assert any("1 images are left out because they have no 'smiles'" in n for n in data.notes)
    with pytest.raises(UserError, match="none of its images can be read"):
        load(table.assign(file="x" + table.file), YAML + "missing: skip\n")


def test_a_check_finds_copies_blank_images_and_brightness_that_tells_the_label(load, table, tmp_path):
    assert [w.kind for w in check_dataset(load(), 1)] == []
    pictures = tmp_path / "pictures"
    for name, smiles in zip(table.file, table.smiles, strict=True):
        with Image.open(pictures / name) as image:
            brighter = image.point(lambda v, up=smiles == "yes": v // 2 + 120 * up)
        brighter.save(pictures / name)
    Image.new("RGB", (32, 32), "red").save(pictures / table.file[0])
    (pictures / table.file[3]).write_bytes(
        (pictures / table.file[2]).read_bytes() + b"\0"
    )  # other bytes, same pixels
    result = {w.kind: w for w in check_dataset(load(), 1)}
    assert set(result) == {"gives_away", "duplicates", "blank"}
    assert result["blank"].number == 1
    assert table.file[0] in result["blank"].sentence
    assert table.file[2] in result["duplicates"].sentence
    assert result["duplicates"].number == 1


def test_a_check_names_groups_that_are_too_small_and_people_with_several_images(load):
    result = {w.kind for w in check_dataset(load(yaml=YAML + "subject: person\n"), 30)}
    assert result == {"tiny_groups", "repeated_people", "few_of_a_class", "few_of_a_class_in_training"}
