"""The groups of an attribute: one value, computed once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.core.attribute import OVERALL, Attribute

SEX, BOTH = Attribute(("sex",)), Attribute(("sex", "race"))


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)
    table = {
        "label": y,
        "a": y,
        "b": np.where(rng.random(500) < 0.1, 1 - y, y),
        "sex": rng.choice(["F", "M"], 500),
        "race": rng.choice(["x", "y", "z"], 500),
    }
    return count(open_source(pa.table(table)), label="label", models=["a", "b"], by=[SEX, BOTH])


def test_a_grouping_is_computed_once_and_again_for_selected_cells(cells):
    assert cells.grouping(BOTH) is cells.grouping(BOTH)
    part = cells.select(np.flatnonzero(cells.grouping(SEX).index == 1))
    assert part.grouping(SEX).values == ({"sex": "M"},)
    assert cells.grouping(SEX).values == ({"sex": "F"}, {"sex": "M"})


def test_groups_of_an_intersection_are_the_pairs_of_values_in_order(cells):
    grouping = cells.grouping(BOTH)
    assert grouping.size == 6
    assert [tuple(g.values()) for g in grouping.values] == [(s, r) for s in "FM" for r in "xyz"]
    sex, race = (cells.attributes[n] for n in BOTH.names)
    for i, g in enumerate(grouping.index):
        assert grouping.values[g] == {"sex": sex.names[sex.codes[i]], "race": race.names[race.codes[i]]}


def test_everybody_is_one_group(cells):
    grouping = cells.grouping(OVERALL)
    assert (grouping.values, grouping.size, grouping.index.any()) == (({},), 1, False)


def test_other_cells_are_grouped_by_the_same_numbers(cells):
    part = cells.select(np.flatnonzero(cells.grouping(BOTH).index % 2 == 1))
    shared = part.grouping_as(cells, BOTH)
    assert shared.values == cells.grouping(BOTH).values
    assert set(shared.index) == {1, 3, 5}


def test_a_contrast_of_two_groups_is_the_difference_of_their_changes(cells):
    evidence, grouping = GroupEstimator(cells), cells.grouping(BOTH)
    change = evidence.change("b", "a", "accuracy", grouping)
    contrast = evidence.contrast("b", "a", "accuracy", grouping, (4, 1))
    assert contrast.value[0] == pytest.approx(change.value[4] - change.value[1])
    assert contrast.se[0] == pytest.approx(np.hypot(change.se[4], change.se[1]))
