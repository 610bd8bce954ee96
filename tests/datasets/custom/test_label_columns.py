"""Labels of a table that are a number, or several of a row."""

from __future__ import annotations

import numpy as np
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.datasets.checks.dataset import check_dataset

ROWS = 400
RNG = np.random.default_rng(0)
X = RNG.normal(size=ROWS)
AGE = RNG.uniform(18, 80, ROWS).round(2)
SEX = RNG.choice(["f", "m"], ROWS)
SMILE, YOUNG = RNG.integers(0, 2, ROWS), RNG.choice(["yes", "no"], ROWS)


@pytest.fixture
def load(tmp_path):
    def load(*, age=AGE, smile=SMILE, **keys):
        with (tmp_path / "t.csv").open("w") as file:
            file.write("x,sex,age,smile,young\n")
            for row in zip(X, SEX, age, smile, YOUNG, strict=True):
                file.write(",".join(map(str, row)) + "\n")
        options = {"path": "t.csv", "features": "[x]", "sensitive": "[sex]", **keys}
        (tmp_path / "t.yaml").write_text("".join(f"{k}: {v}\n" for k, v in options.items()))
        return fp.load_dataset(str(tmp_path / "t.yaml"))

    return load


def test_a_number_is_read_as_it_is_and_every_part_has_its_range(load):
    data = load(label="age", label_is="number")
    assert (data.task.outputs, data.task.classes, data.task.width) == ("number", (), 1)
    np.testing.assert_array_equal(data.labels, AGE)
    for part in data.parts:
        tenths = np.histogram(data.part(part).labels, np.quantile(AGE, np.linspace(0, 1, 11)))[0]
        assert tenths.min() >= 0.5 * tenths.mean()  # parts are drawn alike from every tenth of the rows


def test_several_labels_are_read_in_their_order_whatever_their_spelling(load):
    data = load(label="young", more_labels="[smile]")
    assert data.task.label_names == ("young", "smile")
    np.testing.assert_array_equal(data.labels, np.stack([YOUNG == "yes", SMILE], 1))


def test_the_kind_of_label_changes_the_fingerprint_and_its_absence_does_not(load):
    classes = load(label="smile", positive=1)
    assert classes.fingerprint == load(label="smile", positive=1).fingerprint
    number = load(label="age", label_is="number")
    shifted = load(label="age", label_is="number", age=AGE + 0.25)
    assert len({classes.fingerprint, number.fingerprint, shifted.fingerprint}) == 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"label": "sex", "label_is": "number", "sensitive": "[young]"}, "is to be a number.*holds"),
        ({"label": "smile", "more_labels": "[age]"}, "the label 'age' holds"),
        ({"label": "smile", "more_labels": "[smile]"}, "name a column twice"),
        ({"label": "age", "label_is": "number", "positive": 1}, "are for a label of classes"),
        ({"label": "age", "label_is": "number", "more_labels": "[smile]"}, "is for a single label"),
        ({"label": "smile", "more_labels": "[sex]"}, "is the label"),
        ({"label": "smile", "more_labels": "[x]"}, "'x' is listed among the features"),
        ({"label": "smile", "more_labels": "[missing]"}, "no column 'missing'"),
        ({"label": "age", "label_is": "quantity"}, "label_is"),
    ],
)
def test_labels_that_contradict_their_description_are_refused(load, keys, message):
    with pytest.raises(UserError, match=message):
        load(**keys)


def test_texts_have_classes(tmp_path):
    (tmp_path / "t.csv").write_text("text,stars\n" + "good,5\nbad,1\n" * 50)
    (tmp_path / "t.yaml").write_text("path: t.csv\ntext: text\nlabel: stars\nlabel_is: number\n")
    with pytest.raises(UserError, match="models of texts are classifiers here"):
        fp.load_dataset(str(tmp_path / "t.yaml"))


def test_a_check_of_numbers_is_about_people_and_columns(load, tmp_path):
    warnings = check_dataset(load(label="age", label_is="number"), floor=100)
    assert [w.kind for w in warnings] == ["tiny_groups"]
