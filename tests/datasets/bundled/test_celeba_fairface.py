"""CelebA and FairFace in their official layouts, with made-up pictures."""

from __future__ import annotations

import io
import shutil
import zipfile

import numpy as np
import pytest

from faces import jpeg
from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.bundled.celeba import ATTRIBUTES, attribute_table
from fairpress.datasets.bundled.fairface import CLASSES

COUNT = 240


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def picture(rng: np.random.Generator, height: int = 22, width: int = 18) -> bytes:
    return jpeg(rng.integers(0, 255, (height, width, 3)).astype(np.uint8))


@pytest.fixture
def celeba(places):
    """Three pictures of each person, people in one part each; Male is every other person, Smiling every third picture."""
    folder = places / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{i + 1:06d}.jpg" for i in range(COUNT)]
    table = [str(COUNT), " ".join(ATTRIBUTES) + " "]
    for i, name in enumerate(names):
        (folder / "img_align_celeba" / name).write_bytes(picture(rng))
        text = {"Male": (i // 3) % 2, "Smiling": i % 2, "Young": (i // 3) % 5 > 0}
        table.append(name + " " + " ".join(f"{1 if text.get(a) else -1:2d}" for a in ATTRIBUTES))
    (folder / "list_attr_celeba.txt").write_text("\n".join(table) + "\n")
    part = [0 if i < 150 else 1 if i < 180 else 2 for i in range(COUNT)]
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{n} {p}\n" for n, p in zip(names, part, strict=True))
    )
    (folder / "identity_CelebA.txt").write_text("".join(f"{n} {i // 3 + 7}\n" for i, n in enumerate(names)))
    return folder


def load(name: str, **options):
    return datasets.load(name, on_message=lambda _: None, size=16, **options)


def test_celeba_is_split_as_its_makers_say_and_people_stay_together(celeba):
    data = load("celeba")
    assert data.inputs.shape == (COUNT, 3, 16, 16)
    assert (data.task.target, data.task.positive) == ("Smiling", "Smiling")
    assert sorted(data.row_ids[data.index("test")]) == [f"{i:06d}.jpg" for i in range(181, 241)]
    assert sorted(data.row_ids[data.index("validation")]) == [f"{i:06d}.jpg" for i in range(151, 181)]
    assert len(data.index("calibration")) > 10
    subjects = [set(data.subjects[data.index(p)]) for p in ("train", "calibration", "validation", "test")]
    assert sum(map(len, subjects)) == len(set().union(*subjects)) == 80
    row = data.row_ids.tolist().index("000004.jpg")
    assert {k: v[row] for k, v in data.attributes.items()} == {"sex": "Male", "Young": "Young"}
    assert data.task.classes[data.labels[row]] == "Smiling"


def test_any_of_the_forty_is_target_or_sensitive(celeba):
    data = load("celeba", target="Male", sensitive=("Smiling", "Bald"))
    assert (data.task.target, data.task.classes, data.task.positive) == ("sex", ("Male", "Female"), "Female")
    assert set(data.attributes["Smiling"]) == {"Smiling", "not Smiling"}
    assert set(data.attributes["Bald"]) == {"not Bald"}
    assert list(load("celeba", target="Young").attributes) == ["sex"]
    with pytest.raises(UserError, match=r"no attribute 'Smilin'\. Did you mean 'Smiling'"):
        load("celeba", target="Smilin")
    with pytest.raises(UserError, match="sex is the label"):
        load("celeba", target="sex", sensitive=("Male",))


def test_a_zip_of_the_pictures_gives_the_same_dataset(celeba):
    unzipped = load("celeba").fingerprint
    with zipfile.ZipFile(celeba / "img_align_celeba.zip", "w") as archive:
        for file in sorted((celeba / "img_align_celeba").iterdir()):
            archive.write(file, f"img_align_celeba/{file.name}")
    shutil.rmtree(celeba / "img_align_celeba")
    text: list[str] = []
    assert datasets.load("celeba", on_message=text.append, size=16).fingerprint == unzipped
    assert any("unpacking" in s for s in text)
    text.clear()
    datasets.load("celeba", on_message=text.append, size=16)
    assert not any("unpacking" in s for s in text)
    (celeba / "img_align_celeba.zip").write_bytes(b"PK no more")
    with pytest.raises(UserError, match="not a complete zip"):
        load("celeba")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("list_attr_celeba.txt", "1\nMale Young\n000001.jpg 1 1\n", "line 2 must name"),
        (
            "list_attr_celeba.txt",
            f"2\n{' '.join(ATTRIBUTES)}\n000001.jpg{' 1' * 40}\n",
            "declares 2 pictures, and 1 follow",
        ),
        ("list_attr_celeba.txt", f"1\n{' '.join(ATTRIBUTES)}\n000001.jpg{' 0' * 40}\n", "line 3"),
        ("list_eval_partition.txt", "000001.jpg 0\n", "has no line for '000002.jpg'"),
        ("identity_CelebA.txt", "000001.jpg x\n", "line 1: a file name and the number of a person"),
    ],
)
def test_files_that_are_not_celebas_are_refused(celeba, file, content, message):
    (celeba / file).write_text(content)
    with pytest.raises(UserError, match=message):
        load("celeba")


def test_absent_faces_are_asked_for(places):
    with pytest.raises(UserError, match=r"CelebA is not on this machine.*identity_CelebA\.txt at https"):
        datasets.registry.fetch("celeba")
    with pytest.raises(UserError, match=r"FairFace is not on this machine.*fairface_label_val\.csv"):
        load("fairface")


def test_the_real_attribute_table_has_the_known_counts(data_folder, tmp_path):
    """84,434 male and 156,734 young of 202,599 (the counts that CelebA's readers know it by)."""
    with zipfile.ZipFile(data_folder / "celeba" / "celeba.csv.zip") as archive:
        header, *rows = io.TextIOWrapper(archive.open("celeba.csv"), "utf-8").read().splitlines()
    official = tmp_path / "list_attr_celeba.txt"
    head = " ".join(header.split(",")[1:])
    official.write_text("\n".join([str(len(rows)), head, *(r.replace(",", " ") for r in rows)]))
    names, values = attribute_table(official)
    assert len(names) == 202_599
    assert values[:, ATTRIBUTES.index("Male")].sum() == 84_434
    assert values[:, ATTRIBUTES.index("Young")].sum() == 156_734


@pytest.fixture
def fairface(places):
    folder = places / "fairface"
    rng = np.random.default_rng(1)
    for part, list_, count in (("train", "train", 200), ("val", "val", 70)):
        (folder / part).mkdir(parents=True)
        lines = ["file,age,gender,race,service_test"]
        for i in range(count):
            (folder / part / f"{i + 1}.jpg").write_bytes(picture(rng, 20, 20))
            age, race = CLASSES["age_group"][i % 9], CLASSES["race"][i % 7]
            lines.append(f"{part}/{i + 1}.jpg,{age},{CLASSES['sex'][i % 2]},{race},{i % 2 == 0}")
        (folder / f"fairface_label_{list_}.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_fairface_tests_on_its_validation_list(fairface):
    data = load("fairface")
    assert all(n.startswith("val/") for n in data.row_ids[data.index("test")])
    assert len(data.index("test")) == 70
    assert list(data.attributes) == ["race", "age_group"]
    row = data.row_ids.tolist().index("train/9.jpg")
    assert (data.attributes["race"][row], data.attributes["age_group"][row]) == ("Black", "more than 70")
    assert data.task.classes[data.labels[row]] == "Male"
    assert load("fairface", target="race").task.classes == CLASSES["race"]
    assert len(load("fairface", test_share=0.5).index("test")) == pytest.approx(135, abs=3)


def test_a_picture_in_both_lists_is_tested_and_not_trained_on(fairface):
    shutil.copy(fairface / "val" / "3.jpg", fairface / "train" / "5.jpg")
    data = load("fairface")
    assert len(data.index("test")) == 71
    assert "1 pictures of the train list are in the test list too" in " ".join(data.notes)
    (fairface / "fairface_label_val.csv").write_text("file,age,gender,race\nval/1.jpg,200,Male,White\n")
    with pytest.raises(UserError, match="line 2: age is '200'"):
        load("fairface")
