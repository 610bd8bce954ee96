"""Several recipes beside their baseline in one table."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from made_dataset import make_dataset


@pytest.fixture(scope="module")
def base():
    data = make_dataset()
    training = {"max_epochs": 8, "batch_size": 32, "learning_rate": 1e-2}
    return data, fp.train("mlp", data, options={"widths": (16, 16)}, training=training)


@pytest.fixture(scope="module")
def table(base):
    data, network = base
    return fp.compare(network, ["int8", "int2", "prune-50(epochs=1)"], data=data, by=["sex"])


def test_each_recipe_is_a_row_and_training_ones_bring_their_placebo(table, base):
    data, network = base
    rows = {row["model"]: row for row in table.rows()}
    assert list(rows) == ["fp32", "int8", "int2", "prune-50(epochs=1)", "placebo(epochs=1)"]
    assert rows["fp32"]["bytes"] == network.size
    assert rows["fp32"]["flips"] is None
    assert rows["int2"]["times_smaller"] == rows["fp32"]["bytes"] / rows["int2"]["bytes"]
    # Figures are those of the files: counted here from their own predictions.
    made = fp.compress(network, "int2", data=data)
    predicted = fp.predict({"a": network, "b": made}, data)
    a, b, y = (np.array(predicted[c]) for c in ("a", "b", "label"))
    assert (a != b).any()
    assert rows["int2"]["accuracy"] == pytest.approx((b == y).mean())
    assert rows["int2"]["flips"] == pytest.approx((a != b).mean())
    assert rows["int2"]["right_to_wrong"] == pytest.approx(((a == y) & (b != y)).mean())
    sex = np.array(predicted["sex"])
    loss = {g: ((a == y) * 1.0 - (b == y))[sex == g].mean() for g in ("Female", "Male")}
    worst = max(loss, key=loss.get)
    assert rows["int2"]["sex: worst group"] == f"sex = {worst}"
    assert rows["int2"]["sex: loss"] == pytest.approx(loss[worst])
    compared = next(c for c in table.audit.comparisons if c.compressed == "int2")
    assert rows["int2"]["at most"] == compared.bounds[0].upper
    assert rows["int2"]["sex: loss low"] <= loss[worst] <= rows["int2"]["sex: loss high"]


def test_it_is_written_as_csv_latex_and_a_chart(table, tmp_path):
    read = list(csv.DictReader(io.StringIO(table.to_csv(tmp_path / "t.csv"))))
    assert [row["model"] for row in read] == [row["model"] for row in table.rows()]
    assert (tmp_path / "t.csv").read_text() == table.to_csv()
    assert read[0]["flips"] == ""
    tex = table.to_latex(tmp_path / "t.tex")
    assert tex.count(r"\\") == 1 + len(read)
    assert "Worst sex" in tex
    assert str(table).splitlines()[0].split()[:2] == ["model", "size"]
    table.plot(tmp_path / "t.svg")
    svg = (tmp_path / "t.svg").read_text()
    assert "rise of the error rate, points" in svg
    assert all(name in svg for name in ("int2", "placebo(epochs=1)", "Female"))
    with pytest.raises(UserError, match=r"written as \.svg"):
        table.plot(tmp_path / "t.jpg")
    with pytest.raises(UserError, match="choose another path"):
        table.to_csv(tmp_path / "t.csv" / "t.csv")


def test_names_may_be_given_and_mistakes_are_said(base, tmp_path):
    data, network = base
    small = fp.compress(network, "int8", data=data)
    folder = small.save(tmp_path / "small")
    recipes = {"made": folder, "now": "int4"}
    table = fp.compare(network, recipes, data=data, by=["sex"], placebos=False)
    assert list(table.bytes) == ["fp32", "made", "now"]
    assert table.bytes["made"] == small.size
    one = fp.compare(network, "int8", data=data, by="sex", placebos=False)
    assert list(one.bytes) == ["fp32", "int8"]
    with pytest.raises(UserError, match="always in the table"):
        fp.compare(network, ["fp32"], data=data, by=["sex"])
    with pytest.raises(UserError, match="at least one recipe"):
        fp.compare(network, [], data=data, by=["sex"])
