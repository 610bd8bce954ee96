"""Rows for an audit of numbers, against a simulation of the audit's own bound and statsmodels' power."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fairpress.auditing.planning.number_plan import chance_of_no_harm, plan_numbers
from fairpress.auditing.statistics.unit_means import mean_of_units, unit_sums
from fairpress.cli import main
from fairpress.core.errors import UserError


def test_the_chance_is_that_of_the_audits_bound():
    plan = plan_numbers(0.25, 2.0, assurance=0.8)
    rng = np.random.default_rng(0)
    n, samples = plan.rows, 3000
    values = rng.normal(0, 2.0, n * samples)
    x = mean_of_units(
        unit_sums(values, np.repeat(np.arange(samples), n), samples, np.ones(values.size), None)
    )
    assert np.mean(x.upper(0.95) < 0.25) == pytest.approx(0.8, abs=0.03)


def test_the_power_is_statsmodels():
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    witness = power.power(0.125, 400, 0.04, alternative="larger")
    assert chance_of_no_harm(400, 0.25, 2.0, 0.0, 0.95) == pytest.approx(witness, rel=1e-6)


def test_a_row_less_is_too_few():
    plan = plan_numbers(0.25, 3.0, loss=0.05)
    assert chance_of_no_harm(plan.rows, 0.25, 3.0, 0.05, 0.95) >= 0.8
    assert chance_of_no_harm(plan.rows - 1, 0.25, 3.0, 0.05, 0.95) < 0.8
    assert plan_numbers(10.0, 1.0).rows == 100  # fewer are not assessed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0), "greater than 0"),
        ((0.25, float("nan")), "greater than 0"),
        ((0.25, 1.0, 0.25), "not below the margin"),
        ((1e-9, 1.0), "rows are needed"),
        ((0.25, 1.0, 0.0, 0.3), "between 0.5 and 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        plan_numbers(*arguments)


def test_the_command_line(capsys):
    def run(*options):
        with pytest.raises(SystemExit) as stop:
            main(["plan", *options])
        return stop.value.code, capsys.readouterr()

    code, printed = run("--margin", "0.25", "--sd", "3", "--json")
    assert code == 0
    assert json.loads(printed.out)["rows"] == plan_numbers(0.25, 3.0).rows
    assert f"{plan_numbers(0.25, 3.0).rows:,} rows" in run("--margin", "0.25", "--sd", "3")[1].out
    assert run("--sd", "3", "--flips", "0.02")[0] == 2
    assert run("--sd", "3", "--margin", "2pp")[0] == 2
