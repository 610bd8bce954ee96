"""Generated tables against plain Python: no traceback, no silent difference, and what cannot be audited is refused."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import fairpress as fp
from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.open_source import open_source
from fairpress.core.attribute import Attribute
from fairpress.core.errors import UserError
from fuzz_tables import Case, cases, expected, positive_class, store

TABLES = int(os.environ.get("FAIRPRESS_FUZZ_TABLES", "1000"))
AUDITS = int(os.environ.get("FAIRPRESS_FUZZ_AUDITS", "150"))

quiet = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@settings(quiet, max_examples=TABLES)
@given(case=cases())
def test_counts_are_those_of_the_texts_that_went_in(case):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = store(case, Path(folder))
        if case.fault is not None:
            with pytest.raises(UserError) as refused:
                _cells(table, case)
            assert_a_sentence(str(refused.value))
            return
        cells = _cells(table, case)
    assert cells.positive is not None
    positive = cells.classes.index(cells.positive)
    assert cells.positive == positive_class(case)
    grouping = cells.grouping(Attribute((case.attribute,)))
    truth = cells.label == positive
    for name, by_group in expected(case).items():
        said = cells.predicted[name] == positive
        found = {}
        for g, group in enumerate(grouping.values):
            here = grouping.index == g
            tp, fp_, tn, fn = (
                int(cells.rows[here & a & b].sum())
                for a, b in ((truth, said), (~truth, said), (~truth, ~said), (truth, ~said))
            )
            found[group[case.attribute]] = (tp + fp_ + tn + fn, tp, fp_, tn, fn)
        assert found == by_group


@pytest.mark.slow
@settings(quiet, max_examples=AUDITS)
@given(case=cases())
def test_audits_say_what_the_texts_say(case):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = store(case, Path(folder))
        asked: dict[str, Any] = {"baseline": "fp32", "compressed": _compressed(case), "by": _by(case)}
        if case.fault is not None:
            with pytest.raises(UserError) as refused:
                fp.audit(table, positive=_positive(case), **asked)
            assert_a_sentence(str(refused.value))
            return
        report = fp.audit(table, positive=_positive(case), **asked)
    wanted = expected(case)
    assert report.positive == positive_class(case)
    assert report.positive in str(report)
    for model in report.models:
        found = {g.values[case.attribute]: g for g in model.groups}
        assert set(found) == set(wanted[model.name])
        for group, (n, tp, fp_, tn, fn) in wanted[model.name].items():
            rates = found[group]
            assert (rates.n, rates.tp, rates.fp, rates.tn, rates.fn) == (n, tp, fp_, tn, fn)
            check(rates.rates["accuracy"].value, tp + tn, n)
            check(rates.rates["tpr"].value, tp, tp + fn)
            check(rates.rates["fpr"].value, fp_, fp_ + tn)


def check(value: float | None, numerator: int, denominator: int) -> None:
    if denominator == 0:
        assert value is None
    else:
        assert value == pytest.approx(numerator / denominator, abs=1e-12)


def assert_a_sentence(text: str) -> None:
    assert text
    assert "Traceback" not in text
    assert len(text) < 1500


def _cells(table: Any, case: Case) -> Any:
    return count(
        open_source(table),
        label="label",
        models=["fp32", *_compressed(case)],
        by=[Attribute((name,)) for name in _by(case)],
        positive=_positive(case),
    )


def _positive(case: Case) -> str | None:
    return None if case.fault == "only scores, only the alphabet" else case.positive


def _compressed(case: Case) -> list[str]:
    return ["int9"] if case.fault == "no such model" else ["int8"]


def _by(case: Case) -> list[str]:
    return ["absent"] if case.fault == "no such attribute" else [case.attribute]
