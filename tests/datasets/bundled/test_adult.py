"""The Adult data as published: 48,842 rows, the official test rows, the published shares."""

from __future__ import annotations

import numpy as np

from fairpress import datasets


def test_adult_is_as_its_makers_describe_it(data_folder):
    """Becker and Kohavi 1996: 48,842 instances, 16,281 of them for testing; 23.93 % earn above 50 K."""
    data = datasets.load("adult")
    assert len(data) == 48_842
    test = data.parts["test"]
    assert len(test) == 16_281
    share = (data.labels == data.task.classes.index(data.task.positive)).mean()
    assert round(100 * share, 2) == 23.93
    assert set(data.attributes) == {"sex", "race", "age_group"}
    assert set(np.unique(data.attributes["sex"])) == {"Female", "Male"}
