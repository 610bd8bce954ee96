"""The gate: inconclusive is not a pass, what is required must be assessed, and any shown harm fails."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.core.errors import UserError

POLICY = {
    "schema": "fairpress.policy/1",
    "harm": "error",
    "margins": {"default": "2pp"},
    "by": ["group"],
    "signed": {"name": "A. Person", "date": "2025-11-02", "reason": "agreed"},
}


def table(**flips: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """Groups of 2,000, 2,000 and 60 people, of whom each model loses and gains some right answers by group.

    `flips` is model → group → (lost, gained); half of them are of each class.
    """
    sizes = {"a": 2000, "b, or B": 2000, "few": 60}
    parts = []
    for group, n in sizes.items():
        y = np.arange(n) % 2
        before = np.where(np.arange(n) < n // 5, 1 - y, y)
        columns = {"label": np.array(["no", "yes"])[y], "fp32": before, "group": group}
        for model, by_group in flips.items():
            lost, gained = by_group.get(group, (0, 0))
            after = before.copy()
            after[n // 5 : n // 5 + lost] = 1 - y[n // 5 : n // 5 + lost]
            after[:gained] = y[:gained]
            columns[model] = np.array(["no", "yes"])[after]
        columns["fp32"] = np.array(["no", "yes"])[before]
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def gate(frame, **policy):
    models = [c for c in frame.columns if c not in ("label", "fp32", "group")]
    return fp.audit(frame, baseline="fp32", compressed=models, policy={**POLICY, **policy}).gate()


def test_identical_models_pass_though_a_small_group_was_not_assessed_which_is_named():
    result = gate(table(int8={}))
    assert result.passed
    assert "not assessed, and not required: group = few (60 of 366 rows)" in str(result)


def test_inconclusive_is_not_a_pass_and_says_what_would_settle_it():
    # 36 of 2,000 lose and 12 gain: 1.2 points [0.5, 1.9], at most 1.8; with ten more it is 1.7, at most 2.4.
    assert gate(table(int8={"a": (36, 12)})).passed
    result = gate(table(int8={"a": (46, 12)}))
    (model,) = result.models
    assert not result.passed
    assert (
        fp.audit(table(int8={"a": (46, 12)}), baseline="fp32", compressed="int8", by="group").failures("harm")
        == []
    )
    assert model.binding.group == {"group": "a"}
    assert 0.02 < model.binding.loss.upper < 0.03
    text = str(result)
    assert text.startswith("gate failed: error rate against fp32, margin 2 points")
    assert "error rate up by at most 2.4 points for group = a (estimate +1.7 [" in text
    assert "to pass: compress less" in text or "to settle: " in text


def test_what_is_only_uncertain_is_settled_by_rows():
    result = gate(table(int8={"a": (150, 125)}))
    (model,) = result.models
    assert [x.group for x in model.uncertain] == [{"group": "a"}]
    assert model.shown == ()
    assert "to settle: group = a: " in str(result)
    assert "more of its rows would settle it with a chance of" in str(result)


def test_the_bound_of_the_gate_is_the_bound_of_the_audit_at_any_margin():
    frame = table(int8={"a": (150, 125)})
    upper = gate(frame).models[0].binding.loss.upper
    for margin, passed in ((upper + 1e-6, True), (upper - 1e-6, False)):
        assert gate(frame, margins={"default": margin}).passed is passed


def test_a_small_group_fails_only_if_it_is_required_and_needs_rows():
    frame = table(int8={})
    for require in ("group=few", ["group=a", "group=few"]):
        result = gate(frame, require=require)
        assert not result.passed
        assert "required and not assessed: group = few (60 of 366 rows); gather rows" in str(result)
        assert "group = few" in result.to_markdown()
    assert gate(frame, require=["group=a"]).passed
    assert gate(frame, require="group=few", min_rows=50, margins={"default": "10pp"}).passed


def test_a_group_that_is_not_required_may_be_uncertain_but_not_shown_to_lose():
    frame = table(int8={"a": (150, 125)})
    assert not gate(frame).passed
    assert gate(frame, require="group=b, or B").passed  # a name that has a comma itself
    frame = table(int8={"few": (30, 0)})
    result = gate(frame, require="group=a")
    assert not result.passed
    assert [x.group for x in result.models[0].shown] == [{"group": "few"}]
    assert "shown: harm, error rate at most" in str(result)


def test_a_group_that_is_not_in_the_table_is_wrong_input():
    with pytest.raises(UserError, match="no group 'c'"):
        gate(table(int8={}), require="group=c")
    with pytest.raises(UserError, match="'race' is not audited"):
        gate(table(int8={}), require="race=Black")


def test_harm_in_an_error_that_does_not_decide_fails():
    frame = table(int8={})
    a = frame.group == "a"
    lost = frame.index[a & (frame.label == "yes") & (frame.fp32 == "yes")][:200]
    gained = frame.index[a & (frame.label == "no") & (frame.fp32 == "yes")][:200]
    frame.loc[lost, "int8"] = "no"
    frame.loc[gained, "int8"] = "no"
    result = gate(frame)
    assert not result.passed
    (model,) = result.models
    assert {x.loss.metric for x in model.shown} == {"tpr"}
    assert "false negative rate" in str(result)


def test_of_two_models_one_fails_and_stands_first():
    result = gate(table(int8={}, int4={"a": (200, 0)}))
    assert not result.passed
    assert [m.passed for m in result.models] == [True, False]
    lines = str(result).splitlines()
    assert lines[0].startswith("gate failed, 1 of 2 models fail: ")
    assert lines[1].startswith("policy ")
    assert "signed by A. Person on 2025-11-02: agreed" in lines[1]
    assert lines[2].startswith("✖ int4: ")
    assert lines[-1].startswith("✔ int8: ") or lines[-2].startswith("✔ int8: ")
    assert "shown: harm for group = a" in str(result)


def test_a_void_comparison_fails():
    frame = table(int8={})
    frame["int8"] = "no"
    result = gate(frame)
    assert not result.passed
    assert "void. int8 predicts one class only" in str(result)


def test_nothing_assessed_is_not_a_pass():
    frame = table(int8={})
    for rows in (frame[frame.group == "few"], frame[frame.index % 11 == 0]):
        result = gate(rows)
        assert not result.passed
        assert "no group has enough rows for a verdict of its own; each needs 366" in str(result)


def test_enough_people_must_be_cleared():
    frame = table(int8={})
    assert gate(frame, min_people_cleared=0.98).passed
    result = gate(frame, min_people_cleared=1.0)
    assert not result.passed
    assert "cleared: 98.5 % of the people, required 100 %" in str(result)


def test_a_relative_margin_is_that_of_the_group():
    result = gate(table(int8={"a": (10, 8)}), margins={"default": "10% of baseline"})
    assert result.passed
    assert "margin 2 points (10 % of the baseline's)" in str(result)
    assert not gate(table(int8={"a": (150, 125)}), margins={"default": "10% of baseline"}).passed


def test_all_is_said_in_ten_lines_and_every_loss_has_its_interval():
    models = {f"m{i}": {"a": (20 * i, 5), "b, or B": (10 * i, 0), "few": (2 * i, 0)} for i in range(7)}
    for frame in (table(**models), table(int4=models["m6"]), table(int4=models["m6"], int8={})):
        result = gate(frame, require=["group=few", "group=a"], min_people_cleared=1.0)
        for text in (str(result), result.to_markdown()):
            assert len(text.rstrip("\n").splitlines()) <= 10
        assert str(result).count("(estimate ") == str(result).count(" points for ")
        table_rows = [x for x in result.to_markdown().splitlines() if x.startswith(("| m", "| int"))][1:]
        assert table_rows
        assert all("[" in line for line in table_rows)
    assert "more models, of which" in str(gate(table(**models)))


def test_names_in_a_comment_are_escaped():
    frame = table(int8={"a": (150, 125)}).replace({"group": {"a": "<b>|@team*"}})
    text = gate(frame).to_markdown()
    assert "<b>" not in text
    assert "@team" not in text
    assert r"\|" in text


def test_the_gate_as_json_has_every_number_and_its_interval():
    document = json.loads(json.dumps(gate(table(int8={"a": (150, 125)})).to_dict(), allow_nan=False))
    model = document["models"]["int8"]
    assert (document["schema"], document["passed"], model["passed"]) == ("fairpress.gate/1", False, False)
    (loss,) = (x["loss"] for x in model["uncertain"])
    assert loss["estimate"]["low"] < loss["estimate"]["value"] < loss["upper"] < loss["estimate"]["high"]
    assert document["policy"]["content"]["margins"]["default"]["value"] == 0.02


def test_without_a_policy_the_margins_are_those_of_the_audit_and_another_policy_is_refused():
    frame = table(int8={"a": (150, 125)})
    report = fp.audit(frame, baseline="fp32", compressed="int8", by="group")
    assert not report.gate().passed
    assert fp.audit(frame, baseline="fp32", compressed="int8", by="group", margin="3pp").gate().passed
    with pytest.raises(UserError, match="the audit followed no policy, not"):
        report.gate(POLICY)
    signed = fp.audit(frame, baseline="fp32", compressed="int8", policy=POLICY)
    assert signed.gate(POLICY) == signed.gate()
    with pytest.raises(UserError, match="audit with this one as `policy=`"):
        signed.gate({**POLICY, "margins": {"default": "3pp"}})


def test_a_gate_with_nothing_to_compare_is_wrong_input():
    with pytest.raises(UserError, match="nothing to test"):
        fp.audit(table(int8={}), baseline="fp32", compressed=[], by="group").gate()
