"""What a study prints at its end: one screen, the most severe recipes first to stay, warnings before results."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.reporting.formatting import break_recipe
from fairpress.reporting.recipe_rows import PLACEBO
from fairpress.reporting.tradeoff import Tradeoff
from fairpress.reporting.tradeoff_result import TradeoffResult
from fairpress.studies.execution.executor import Outcome
from fairpress.studies.planning.matrix import ReportPart
from fairpress.studies.planning.plan import make_task
from fairpress.studies.planning.report_plan import ReportSection
from fairpress.studies.report.ending import MAX_LINES, StudyEnding
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.sections import report_sections

PART = ReportPart((), "compas", "mlp", None, ("sex", "age_group"), ())
TASK = make_task("audit", "a", {}, ())
CLAIM = {
    "claim": {"says": "It costs", "of": "recipe=int4", "quantity": "loss"},
    "answer": "supported",
    "effect": {},
}


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, baseline="fp32", compressed=["int8", "int4"])


@pytest.fixture(scope="module")
def control():
    return audit(demo_data.table(), by=demo_data.BY, baseline="int8", compressed=["int4"])


def study(audits, **fields):
    """Return a finished study with sections (about, audit) of one part."""
    planned = [ReportSection(f"{about} {i}", "", about, PART, TASK) for i, (about, _) in enumerate(audits)]
    sections = report_sections(planned, [a for _, a in audits], {("", "fp32"): 4e4, ("", "int4"): 5e3})
    return StudyResult(
        Path("runs/x"),
        sections,
        tuple(planned),
        (),
        (),
        fields.pop("warnings", ()),
        Outcome(),
        {},
        title="Who?",
        **fields,
    )


def printed(result, width=100):
    console = Console(width=width, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(StudyEnding(result))
    return captured.get().rstrip("\n").split("\n")


def parts(text):
    """Return the words of a text, and their parts at hyphens and signs, at which lines may break."""
    return set(re.split(r"[\s+(,-]+", text)) - {""}


def renamed(report, count):
    """Return an audit with many recipes, alternating between the first and the second comparison."""
    many = [replace(report.comparisons[i % 2], compressed=f"recipe-{i}") for i in range(count)]
    return replace(report, comparisons=tuple(many))


def test_each_recipe_has_one_row_with_its_results_against_baseline_and_placebo(demo, control):
    result = study([("compressed", demo), ("placebo", control)], claims=(CLAIM,), folds=5)
    assert {k: v.baseline for k, v in result.sections[0].placebos.items()} == {"int4": "int8"}
    lines = printed(result)
    assert len(lines) <= MAX_LINES
    assert all(len(line) <= 100 for line in lines)
    titles = [lines.index(f"Compared with {other}") for other in ("fp32", PLACEBO)]
    against_baseline, against_placebo = lines[titles[0] : titles[1]], lines[titles[1] :]
    row = next(line for line in against_baseline if line.startswith("int4"))
    assert row.split()[1:4] == ["5.0", "✖", "harm"]
    row = next(line for line in against_placebo if line.startswith("int4"))
    bound = f"{100 * control.comparisons[0].bounds[0].lower:.3f}"[:-2]
    assert "✖ harm" in row
    assert f"  {bound} " in row
    other = next(line for line in against_baseline if line.startswith("int8"))
    assert "✔ no harm" in other
    assert not any(line.startswith("int8") for line in against_placebo)
    assert "Open: runs/x/report.html" in lines
    text = "\n".join(lines)
    assert "1 seed × 5 folds; error rate decides, margin 2 points" in text
    assert "Of 1 claim: 1 supported." in text
    assert "claims.json" in text
    assert "Who?" in lines


def test_a_group_that_begins_with_a_number_stands_apart_from_its_bound(demo):
    bound = replace(demo.comparisons[1].bounds[0], upper_group={"age_group": "65+"})
    older = replace(demo, comparisons=(replace(demo.comparisons[1], bounds=(bound,)),))
    text = "\n".join(printed(study([("compressed", older)])))
    assert "11.0 (65+)" in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_large_study_ends_on_one_screen_with_its_most_severe_recipes(demo, control, width):
    lines = printed(study([("compressed", renamed(demo, 60))]), width)
    assert len(lines) <= MAX_LINES
    shown = [line for line in lines if line.startswith("recipe-")]
    assert len(shown) >= 5
    assert all("✖" in line for line in shown)  # half of the recipes are harmless
    assert not any("…" in line for line in lines if "more, less severe" not in line)
    assert any(f"{60 - len(shown)} more, less severe" in line for line in lines)


def test_warnings_come_first_and_comparisons_of_baselines_have_their_sentence(demo):
    contrast = replace(demo, comparisons=demo.comparisons[:1])
    result = study([("compressed", demo), ("contrast", contrast)], warnings=("Leaked rows!",))
    lines = [line for line in printed(result) if line]
    assert lines[0] == "! Leaked rows!"
    text = " ".join(line.strip() for line in lines)
    assert "contrast 1: Points lost by int8 against fp32: +0.2" in text


def test_a_study_of_the_baseline_alone_reports_its_accuracy(demo):
    alone = audit(demo_data.table(rows=400), by=["sex"], baseline="fp32", compressed=[])
    text = " ".join(line.strip() for line in printed(study([("compressed", alone)])))
    assert "Accuracy of fp32: " in text
    assert "cleared" not in text


def test_the_ratio_of_a_slower_file_is_reported_without_its_reasons(demo):
    latency = {
        "sentences": [
            "int8 is slower than fp32: 1.44x [1.38, 1.72] at batch 1. All its layers run in integers."
        ]
    }
    tradeoff = Tradeoff(TradeoffResult(()), None, latency)
    text = " ".join(printed(study([("compressed", demo)], tradeoff=tradeoff)))
    assert "int8 is slower than fp32: 1.44x [1.38, 1.72] at batch 1." in text
    assert "integers" not in text
    assert "tradeoff.json" in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_word_breaks_in_its_middle(demo, control, width):
    named = {"sex": "Nonagenarian-Centenarian"}
    comparison = replace(
        demo.comparisons[1], compressed="mixed(rounding=gptq,calibration=balanced,budget=7108)+int8"
    )
    bounds = (replace(comparison.bounds[0], upper_group=named), *comparison.bounds[1:])
    report = replace(demo, comparisons=(replace(comparison, bounds=bounds), *demo.comparisons))
    result = study([("compressed", report), ("placebo", control)])
    lines = printed(result, width)
    assert all(len(line) <= width for line in lines)
    assert parts("\n".join(lines)) == parts("\n".join(printed(result, 1000)))


def test_a_recipe_breaks_after_signs():
    assert break_recipe("mixed(budget=7108,by=race)+int8", 18) == ["mixed(budget=7108,", "by=race)+int8"]
    assert break_recipe("int8", 18) == ["int8"]


def test_the_time_is_said_and_verbose_is_not_offered_twice(demo):
    result = study([("compressed", demo)])
    console = Console(width=100, highlight=False, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(StudyEnding(result, seconds=103.4, verbose=True))
    text = captured.get()
    assert "Open: runs/x/report.html  (finished in 103 s)" in text
    assert "--verbose" not in text


def test_groups_that_were_not_assessed_are_named():
    table = demo_data.table(rows=2000).to_pandas()
    table["city"] = ["small" if i < 40 else "large" for i in table.index]
    report = audit(table, by=["city"], baseline="fp32", compressed=["int8"])
    text = " ".join(" ".join(printed(study([("compressed", report)]))).split())
    assert "Not assessed, too few people: city = small (40)." in text
