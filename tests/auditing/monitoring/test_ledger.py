"""The ledger of a test set: what it accepts, verifies and shows over looks and releases."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

import fairpress as fp
from fairpress.auditing.monitoring.evidence import evidence, sentences, to_dict
from fairpress.auditing.monitoring.ledger import Ledger, Terms
from fairpress.auditing.monitoring.record import read_ledger, record
from fairpress.core.errors import UserError
from monitored_rows import table

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def look(path, frame, **options):
    report = fp.audit(frame, baseline="fp32", compressed=["int8"], by="sex", positive=1, **options)
    return record(report, frame, path, now=NOW)


def test_looks_at_a_growing_table_are_verified_and_add_up(tmp_path):
    path = tmp_path / "ledger.json"
    ledger, (release,) = look(path, table(300), metrics="accuracy")
    assert release.verdict == "inconclusive"
    first = release.groups[0].log_e
    for rows in (600, 1500, 4000):
        ledger, (release,) = look(path, table(rows), metrics="accuracy")
    assert [u.earlier_rows for u in ledger.uses] == [None, True, True, True]
    assert len(release.looks) == 4
    assert release.verdict == "no_harm"
    assert release.groups[0].log_e > first
    assert 0 < release.upper < 0.02
    text = " ".join(sentences(ledger, release))
    assert "release 1 of this ledger, look 4" in text
    assert "Verified: the 1,500 rows of the previous look are the first rows of this table" in text
    assert "has judged 1 release in 4 looks" in text
    assert read_ledger(path) == ledger
    assert json.loads(path.read_text())["uses"][0]["groups"][0]["log_e"] == pytest.approx(first)


def test_the_counts_are_those_of_the_audit(tmp_path):
    frame = table(2000, flips=0.05)
    report = fp.audit(frame, baseline="fp32", compressed=["int8"], by="sex", positive=1)
    ledger, _ = record(report, frame, tmp_path / "l.json", now=NOW)
    counts = {
        (c.metric, c.values.get("sex")): (c.lost, c.gained, c.n) for c in ledger.uses[0].groups if c.attribute
    }
    for group in report.comparisons[0].attributes[0].groups:
        sex = group.values["sex"]
        flips = group.flips
        assert counts["accuracy", sex] == (flips.right_to_wrong, flips.wrong_to_right, flips.n)
        for loss in group.losses:
            lost, gained, n = counts[loss.metric, sex]
            assert n == loss.estimate.n
            assert (lost - gained) / n == pytest.approx(loss.estimate.value)


def test_the_same_rows_twice_show_nothing_new(tmp_path):
    path = tmp_path / "ledger.json"
    _, (before,) = look(path, table(500))
    ledger, (after,) = look(path, table(500))
    assert [g.log_e_largest for g in after.groups] == [g.log_e_largest for g in before.groups]
    assert len(ledger.uses) == 2


def test_rows_that_were_reordered_are_not_verified(tmp_path):
    path = tmp_path / "ledger.json"
    look(path, table(500))
    frame = {name: values[::-1] for name, values in table(800).items()}
    ledger, (release,) = look(path, frame)
    assert ledger.uses[-1].earlier_rows is False
    assert any(s.startswith("Not verified: that the 500 rows") for s in sentences(ledger, release))


def test_other_rows_are_refused_and_the_ledger_is_unchanged(tmp_path):
    path = tmp_path / "ledger.json"
    look(path, table(3000))
    content = path.read_bytes()
    with pytest.raises(
        UserError, match=r"are not all in this table: everybody \(accuracy\) then had 3,000 rows"
    ):
        look(path, table(1000))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"margin": 0.05}, "its margin is 0.02, and this audit's 0.05"),
        ({"confidence": 0.9}, "its confidence is 0.95"),
        ({"metrics": ["tpr"], "harm": "fnr"}, "its metrics are accuracy, tpr, fpr, and this audit's tpr"),
    ],
)
def test_an_audit_on_other_terms_is_refused(options, sentence, tmp_path):
    path = tmp_path / "ledger.json"
    look(path, table(300))
    with pytest.raises(UserError, match="belongs to another audit") as error:
        look(path, table(300), **options)
    assert sentence in str(error.value)


def test_rows_that_are_not_independent_are_refused(tmp_path):
    frame = {**table(300), "person": [i // 2 for i in range(300)]}
    with pytest.raises(UserError, match="people with several rows"):
        look(tmp_path / "l.json", frame, subject="person")
    assert list(tmp_path.iterdir()) == []


def test_later_releases_need_more_evidence_and_earlier_ones_keep_theirs(tmp_path):
    path = tmp_path / "ledger.json"
    _, (first,) = look(path, table(3000), metrics="accuracy")
    frame = table(3000, flips=0.03, seed=0)
    report = fp.audit(
        {**frame, "v2": frame["int8"]},
        baseline="fp32",
        compressed=["v2"],
        by="sex",
        positive=1,
        metrics="accuracy",
    )
    ledger, (second,) = record(report, {**frame, "v2": frame["int8"]}, path, now=NOW)
    assert (first.number, second.number) == (1, 2)
    assert second.level == pytest.approx(first.level / 4)
    assert second.groups[0].needed == pytest.approx(first.groups[0].needed + np.log(4))
    assert evidence(ledger)[0] == first
    assert any(
        "Verified: an earlier release was judged on the same rows" in s for s in sentences(ledger, second)
    )
    assert to_dict(ledger, second)["verdict"] == second.verdict


def test_a_harm_is_shown_at_any_look(tmp_path):
    _, (release,) = look(tmp_path / "l.json", table(4000, loss=0.08), metrics="accuracy")
    assert release.verdict == "harm"
    assert {g.verdict for g in release.groups} == {"harm"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "is not a ledger"),
        ('{"schema": "fairpress.audit/1"}', "is not a ledger"),
        ("{", "cannot be read"),
        ('{"schema": "fairpress.ledger/1"}', "is damaged (no 'baseline')"),
    ],
)
def test_a_damaged_ledger_is_refused(content, sentence, tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        look(path, table(300))
    assert sentence in str(error.value)
    assert path.read_text() == content


@pytest.mark.parametrize("field", ["uses", "margin", "attributes"])
def test_fields_of_another_type_are_named(field, tmp_path):
    path = tmp_path / "ledger.json"
    look(path, table(300))
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, field: "x"}))
    with pytest.raises(UserError, match="'x' where"):
        look(path, table(300))


def test_an_empty_ledger_has_no_releases():
    terms = Terms("a", "y", None, 0.02, 0.95, ("sex",), ("accuracy",))
    assert evidence(Ledger(terms)) == []
    assert evidence(replace(Ledger(terms), uses=())) == []
