"""Names keep their spelling; classes are matched as numbers and truth values where they are not spelled alike."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from fairpress.core.values import class_key, named_positive, near_equal, resolve, spelling


@pytest.mark.parametrize(
    "text", ["02134", "18_24", "1.0", " a", "12345678901234567890", "1e5", "True", "nan"]
)
def test_text_is_its_own_spelling(text):
    assert spelling(text) == text
    assert spelling(np.str_(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1.0"),
        (True, "True"),
        (np.bool_(False), "False"),
        (np.int64(7), "7"),
        (np.float32(0.1), "0.1"),
        (12345678901234567890, "12345678901234567890"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1), "2024-05-01"),
        (b"abc", "abc"),
    ],
)
def test_typed_values_are_spelled_as_a_csv_file_has_them(value, text):
    assert spelling(value) == text


@pytest.mark.parametrize(
    "value", [None, float("nan"), np.float64("nan"), "", decimal.Decimal("nan"), np.datetime64("NaT", "ns")]
)
def test_what_is_missing_has_no_spelling(value):
    assert spelling(value) is None


def test_spellings_of_one_number_or_truth_value_are_one_class():
    assert len({class_key(t) for t in ("1", "1.0", "01", "True", "true", "TRUE", "1e0")}) == 1
    assert class_key("1") != class_key("0") == class_key("False")
    assert class_key("yes") == "yes"
    assert class_key("1_0") == "1_0"


def test_long_codes_are_not_rounded_into_one_another():
    assert class_key("12345678901234567890") != class_key("12345678901234567891")


def test_an_exact_spelling_wins_and_ambiguity_is_not_decided():
    assert resolve("02", ["02", "2"]) == "02"
    assert resolve(2, ["01", "02"]) == "02"
    assert resolve("2.0", ["02", "2"]) is None
    assert resolve(True, ["0", "1"]) == "1"
    assert resolve("maybe", ["no", "yes"]) is None


def test_names_that_say_which_class_is_positive():
    assert named_positive(["0.0", "1.0"]) == "1.0"
    assert named_positive(["False", "True"]) == "True"
    assert named_positive(["No", "Yes"]) == "Yes"
    assert named_positive(["bad", "good"]) is None
    assert named_positive(["1", "2"]) == "1"
    assert named_positive(["yes", "1"]) is None
    assert named_positive(["01", "02"]) is None
    assert named_positive(["0", "1", "2"]) is None


def test_near_equal_names_are_found():
    assert near_equal([">50K", ">50K.", "Female", "female ", "male"]) == [
        (">50K", ">50K."),
        ("Female", "female "),
    ]
    assert near_equal(["a", "b"]) == []


@pytest.mark.parametrize(
    "moment", ["2024-05-01", "2024-05-01 10:30:00", "2024-05-01 00:00:00.123456789", "NaT"]
)
def test_moments_of_numpy_and_pandas_have_one_spelling(moment):
    expected = None if moment == "NaT" else moment
    assert spelling(pd.Timestamp(moment)) == expected
    for unit in ("ns",) if "." in moment else ("s", "us", "ns"):
        assert spelling(np.datetime64(moment, unit)) == expected


def test_durations_of_numpy_are_no_counts_of_nanoseconds():
    assert spelling(np.timedelta64(5, "h").astype("m8[ns]")) == "5:00:00"
    assert spelling(np.timedelta64("NaT", "ns")) is None
