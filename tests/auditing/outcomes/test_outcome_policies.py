"""Signed policies about outcomes other than classes: margins in their unit, the same gate, and no mixture with classes."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.auditing.output.audit_json import to_dict
from fairpress.auditing.output.json_schema import json_schema
from fairpress.cli import main
from fairpress.core.errors import UserError

SIGNED = {"name": "A. Person", "date": "2026-11-02", "reason": "agreed"}


def policy(**keys):
    return {
        "schema": "fairpress.policy/1",
        "outcome": "abs_error=age,unit=years",
        "margins": {"default": {"margin": 0.5, "reason": "half a birthday"}},
        "by": ["race"],
        "baseline": "fp32",
        "compressed": ["int8"],
        "signed": SIGNED,
    } | keys


@pytest.fixture
def ages():
    rng = np.random.default_rng(0)
    race = rng.choice(list("AB"), 800)
    age = rng.uniform(18, 80, 800)
    before = age + rng.normal(0, 5, 800)
    after = before + rng.normal(0, 0.5, 800) + np.where(race == "B", 5, 0)
    return pd.DataFrame({"age": age, "race": race, "fp32": before, "int8": after})


def test_a_policy_fixes_outcome_and_margin_and_gates(ages):
    report = fp.audit(ages, policy=policy())
    assert report.outcome.kind == "abs_error"
    assert report.margins["abs_error"].value == 0.5
    assert report.policy.content["outcome"] == "abs_error=age,unit=years"
    gate = report.gate()
    assert not gate.passed
    assert "margin 0.5 years (half a birthday)" in str(gate)
    document = json.loads(json.dumps(to_dict(report), allow_nan=False))
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert fp.audit(ages, policy=policy(margins="5 years")).gate().passed


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        ({}, {"outcome": "squared_error=age"}, "fixes `outcome=`"),
        ({}, {"margin": 3}, "fixes `margin=`"),
        ({"outcome": None}, {"outcome": "abs_error=age"}, "about classes"),
        ({"margins": {"default": [1]}}, {}, "in the unit of the outcome"),
        ({"margins": "5 kg"}, {}, "is not a margin"),
        ({"outcome": "abs_eror=age"}, {}, "Did you mean"),
    ],
)
def test_what_contradicts_a_policy_is_refused(ages, keys, options, message):
    content = {k: v for k, v in policy(**keys).items() if v is not None}
    if "outcome" not in content:
        content |= {"harm": "error", "margins": "2pp"}
    with pytest.raises(UserError) as error:
        fp.audit(ages, policy=content, **options)
    assert message in str(error.value)


def test_the_command_gate_takes_a_policy_about_an_outcome(ages, tmp_path, capsys):
    ages.to_csv(tmp_path / "ages.csv", index=False)
    (tmp_path / "policy.yaml").write_text(json.dumps(policy()), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["gate", str(tmp_path / "ages.csv"), "--policy", str(tmp_path / "policy.yaml")])
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert "mean absolute error up by at most" in printed.out
    assert "years" in printed.out
