"""A group's rows alone: nobody changes parts."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.core.errors import UserError
from fairpress.datasets.subset import restrict
from made_dataset import make_dataset


def test_a_group_keeps_its_rows_and_its_parts():
    whole = make_dataset()
    women = restrict(whole, {"sex": "Female"})
    for part, rows in whole.parts.items():
        expected = rows[whole.attributes["sex"][rows] == "Female"]
        assert women.parts[part].tolist() == expected.tolist()
        assert set(np.unique(women.part(part).attributes["sex"])) == {"Female"}
    assert women.fingerprint not in (whole.fingerprint, restrict(whole, {"sex": "Male"}).fingerprint)


def test_an_unknown_attribute_and_an_absent_group_are_said():
    with pytest.raises(UserError, match=r"no sensitive attribute 'sx'\. Did you mean 'sex'"):
        restrict(make_dataset(), {"sx": "Female"})
    with pytest.raises(UserError, match="no train rows of sex = Other"):
        restrict(make_dataset(), {"sex": "Other"})
