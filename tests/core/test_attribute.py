"""Attributes and intersections: text at the edges, one value inside."""

from __future__ import annotations

import pytest

from fairpress.core.attribute import OVERALL, Attribute, names_of, parse_attributes
from fairpress.core.errors import UserError


def test_an_intersection_is_its_names_and_its_text():
    attribute = Attribute.parse("sex * race", {"sex", "race"})
    assert attribute.names == ("sex", "race")
    assert str(attribute) == "sex*race"
    assert Attribute.from_text(str(attribute)) == attribute
    assert (str(OVERALL), Attribute.from_text("")) == ("", OVERALL)


def test_blanks_belong_to_a_name_only_where_a_column_has_them():
    assert Attribute.parse(" sex", {"sex"}).names == ("sex",)
    assert Attribute.parse(" sex", {" sex"}).names == (" sex",)


@pytest.mark.parametrize(
    ("text", "message"),
    [("sex*", "either side"), ("sex*sex", "different attributes"), ("a*b", "rename this column")],
)
def test_a_text_that_names_no_intersection_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        Attribute.parse(text, {"sex", "a*b"})


def test_an_intersection_in_another_order_is_no_second_attribute():
    attributes = parse_attributes(["sex*race", "race*sex", " ", "sex"], ["sex", "race"])
    assert list(map(str, attributes)) == ["sex*race", "sex"]
    assert names_of(attributes) == ("sex", "race")
