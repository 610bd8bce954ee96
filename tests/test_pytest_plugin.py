"""The pytest fixture passes, fails and says why."""

from __future__ import annotations

import pytest

from fairpress import demo_data
from fairpress.api import audit
from fairpress.reporting.markdown import render
from fairpress.runtime.predictions_file import write_table

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module")
def predictions():
    """The demonstration's table. An audit of it comes first: a run within pytest forgets what it imports itself."""
    table = demo_data.table()
    render(audit(table, baseline="fp32", compressed=["int8"], by=["sex"]))
    return table


@pytest.fixture
def table(pytester, predictions):
    write_table(pytester.path / "preds.parquet", predictions)


def run(pytester, body, *options, start=pytest.Pytester.runpytest_inprocess):
    pytester.makepyfile(f"def test_model(fairpress_audit, fairpress_gate):\n    {body}\n")
    # The second collects garbage five times over at the end of a run.
    without = ("-p", "no:cacheprovider", "-p", "no:unraisableexception")
    return start(pytester, *options, *without)


OPTIONS = "'preds.parquet', baseline='fp32', by=['sex', 'sex*age_group']"


def test_a_model_that_harms_nobody_passes_and_returns_its_report(pytester, table):
    body = f"assert fairpress_audit({OPTIONS}, compressed=['int8']).verdict == 'no_harm'"
    result = run(pytester, body, "-v", start=pytest.Pytester.runpytest_subprocess)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*fairpress audits*", "*Who pays*"])


def test_a_model_that_harms_somebody_fails_and_names_who_pays(pytester, table):
    result = run(pytester, f"fairpress_audit({OPTIONS}, compressed=['int4'])")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*int4: ✖ harm in error rate: sex = Female and age_group = 65+*"])


def test_looking_only_never_fails(pytester, table):
    run(pytester, f"fairpress_audit({OPTIONS}, compressed=['int4'], fail_on='')").assert_outcomes(passed=1)


def test_wrong_input_is_one_sentence(pytester, table):
    result = run(pytester, f"fairpress_audit({OPTIONS}, compressed=['int9'])")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has no column 'int9'*Did you mean 'int8'*"])


def test_harm_fails_on_harm_alone_and_loss_on_either(pytester, table):
    loses = "'preds.parquet', baseline='fp32', by=['sex'], compressed=['int4'], margin=0.033"
    run(pytester, f"fairpress_audit({loses})").assert_outcomes(passed=1)
    run(pytester, f"fairpress_audit({loses}, fail_on='loss')").assert_outcomes(failed=1)


def test_a_gate_that_cannot_decide_is_refused(pytester, table):
    result = run(pytester, f"fairpress_audit({OPTIONS}, compressed=[])")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nothing to test*"])
    result = run(pytester, f"fairpress_audit({OPTIONS}, compressed=['int8'], fail_on='not_estimable')")
    result.stdout.fnmatch_lines(["*Did you mean 'not-assessed'*"])


def test_required_groups_are_looked_for(pytester, table):
    requested = f"fairpress_audit({OPTIONS}, compressed=['int8'], require="
    run(pytester, f"{requested}'sex=Female')").assert_outcomes(passed=1)
    result = run(pytester, f"{requested}'sex=Femal')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no group 'Femal'. Did you mean 'Female'*"])


def test_the_gate_fails_what_is_not_shown_to_be_harmless(pytester, table):
    loses = "'preds.parquet', baseline='fp32', by=['sex'], compressed=['int4']"
    run(pytester, f"fairpress_gate({loses}, margin='6pp')").assert_outcomes(passed=1)
    result = run(pytester, f"fairpress_gate({loses}, margin=0.033)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*gate failed: error rate against fp32, margin 3.3 points*"])
    run(pytester, f"fairpress_gate({loses}, margin='2%')").assert_outcomes(failed=1)
