"""UTKFace: what its file names say, what is left out, and who stays together."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from faces import make_faces
from fairpress import datasets
from fairpress.core.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path / "data"))
    make_faces(tmp_path / "data" / "utkface")
    return tmp_path / "data" / "utkface"


def load(**options):
    return datasets.load("utkface", on_message=lambda _: None, size=16, **options)


def test_the_file_name_tells_sex_race_and_age(folder):
    data = load()
    row = data.row_ids.tolist().index(next(n for n in data.row_ids if n.startswith("15_0_1_")))
    assert data.task.classes[data.labels[row]] == "Male"
    assert data.attributes["race"][row] == "Black"
    assert data.attributes["age_group"][row] == "0-17"
    ages = np.array([int(n.split("_")[0]) for n in data.row_ids])
    for group, low, high in (("18-29", 18, 29), ("30-44", 30, 44), ("45-59", 45, 59), ("60+", 60, 200)):
        np.testing.assert_array_equal(data.attributes["age_group"] == group, (ages >= low) & (ages <= high))


@pytest.mark.parametrize(
    ("target", "attributes", "positive"),
    [
        ("sex", ["race", "age_group"], "Female"),
        ("race", ["sex", "age_group"], None),
        ("age_group", ["sex", "race"], None),
    ],
)
def test_what_is_predicted_is_no_sensitive_attribute(folder, target, attributes, positive):
    data = load(target=target)
    assert list(data.attributes) == attributes
    assert (data.task.target, data.task.positive) == (target, positive)
    assert len(np.unique(data.labels)) == len(data.task.classes)
    assert list(datasets.registry.config_class("utkface")(target=target).attribute_names()) == attributes


def test_names_that_do_not_say_it_all_are_left_out_and_listed(folder):
    for odd in ("61_1_20170109142408075.jpg.chip.jpg", "24_3_0_20170116.jpg", "9_0_5_20170116.jpg"):
        shutil.copy(next(folder.glob("1_*")), folder / odd)
    (folder / "readme.txt").write_text("no picture")
    data = load()
    assert len(data) == 120
    (note,) = [n for n in data.notes if "left out" in n]
    assert "3 of 123 images" in note
    assert "61_1_20170109142408075.jpg.chip.jpg" in note


def test_a_truncated_image_is_refused_by_name_or_left_out_and_counted(folder):
    broken = sorted(folder.iterdir())[5]
    broken.write_bytes(broken.read_bytes()[:400])
    with pytest.raises(UserError, match=rf"1 of 120 images cannot be read: {broken.name} \(truncated\)"):
        load()
    whole = load(missing="skip")
    assert len(whole) == 119
    assert broken.name not in whole.row_ids
    assert any("1 of 120 images are left out" in n and broken.name in n for n in whole.notes)
    broken.unlink()
    np.testing.assert_array_equal(load().inputs, whole.inputs)


def test_equal_files_are_one_subject_and_stay_together(folder):
    for i, path in enumerate(sorted(folder.iterdir())[:40]):
        shutil.copy(path, folder / path.name.replace("_2017", f"_{i}2017"))
    data = load()
    assert len(data) == 160
    assert len(np.unique(data.subjects)) == 120
    seen = [set(data.subjects[rows]) for rows in data.parts.values()]
    assert sum(map(len, seen)) == 120


def test_a_larger_share_can_be_kept_for_testing_but_not_beside_folds(folder):
    assert len(load(test_share=0.4).parts["test"]) == 48
    assert len(load().parts["test"]) == 36
    with pytest.raises(UserError, match="either `folds`"):
        load(test_share=0.4, folds=5)


def test_where_it_is_not_the_message_says_how_to_get_it(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("FAIRPRESS_DATA")
    for attempt in (load, lambda: datasets.fetch("utkface")):
        with pytest.raises(UserError, match=r"UTKFace is not on this machine.*UTKFace/.*FAIRPRESS_DATA"):
            attempt()
    assert len(load(folder=str(folder))) == 120
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no UTKFace pictures"):
        load(folder=str(tmp_path / "empty"))


def test_real_faces(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    real = sorted((data_folder / "utkface").iterdir())
    (tmp_path / "few").mkdir()
    for path in real[:: len(real) // 300]:
        (tmp_path / "few" / path.name).symlink_to(path)
    data = load(folder=str(tmp_path / "few"))
    assert len(data) > 290
    # Skin is redder than blue, whoever is pictured; were colours in another order, this would be reversed.
    red, _, blue = data.inputs.mean(axis=(0, 2, 3))
    assert red > blue + 20
    assert set(data.attributes["race"]) == {"White", "Black", "Asian", "Indian", "Others"}
