"""Audits of ratios of sums: word error rates by accent, with speakers as the unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.core.errors import UserError


@pytest.fixture(scope="module")
def runs():
    """Utterances of 160 speakers; int8 makes more errors with the accent called c."""
    rng = np.random.default_rng(3)
    speakers = 160
    accent = rng.choice(list("abc"), speakers, p=[0.4, 0.35, 0.25])
    speaker = np.repeat(np.arange(speakers), rng.integers(4, 20, speakers))
    words = rng.poisson(10, speaker.size) + 1
    skill = 0.08 * np.exp(rng.normal(0, 0.3, speakers))[speaker]
    before = rng.binomial(words, skill)
    added = rng.binomial(words, np.where(accent[speaker] == "c", 0.06, 0.001))
    return pd.DataFrame(
        {
            "speaker": speaker,
            "accent": accent[speaker],
            "words": words,
            "fp32.edits": before,
            "int8.edits": before + added,
        }
    )


def audited(table, outcome="wer=edits/words", **options):
    chosen = {"baseline": "fp32", "compressed": "int8", "by": "accent", "margin": "1pp", "subject": "speaker"}
    return fp.audit(table, outcome=outcome, **(chosen | options))


def group(report, name):
    return next(g for g in report.comparisons[0].attributes[0].groups if g.values["accent"] == name)


def test_levels_losses_and_excess_are_ratios_of_sums(runs):
    report = audited(runs)

    def ratio(rows, model):
        return rows[f"{model}.edits"].sum() / rows.words.sum()

    for name in "abc":
        inside, rest = runs[runs.accent == name], runs[runs.accent != name]
        loss = group(report, name).losses[0]
        assert [x.value for x in loss.levels] == pytest.approx(
            [ratio(inside, m) for m in ("fp32", "int8")], rel=1e-9
        )
        change = ratio(inside, "int8") - ratio(inside, "fp32")
        assert loss.estimate.value == pytest.approx(change, rel=1e-9)
        others = ratio(rest, "int8") - ratio(rest, "fp32")
        assert loss.excess.value == pytest.approx(change - others, rel=1e-9)
    assert report.verdict == "harm"
    assert [group(report, g).verdict for g in "abc"] == ["no_harm", "no_harm", "harm"]


def test_the_error_agrees_with_a_bootstrap_of_speakers(runs):
    """The interval of the change, by resampling speakers, has about the same width."""
    rng = np.random.default_rng(0)
    inside = runs[runs.accent == "c"]
    sums = inside.groupby("speaker")[["fp32.edits", "int8.edits", "words"]].sum().to_numpy()
    drawn = sums[rng.integers(0, len(sums), (4000, len(sums)))].sum(axis=1)
    deviation = ((drawn[:, 1] - drawn[:, 0]) / drawn[:, 2]).std()
    estimate = group(audited(runs), "c").losses[0].estimate
    width = (estimate.high - estimate.low) / 2
    assert 1.9 * deviation < width < 2.5 * deviation


def test_denominators_of_every_model(runs):
    own = runs.rename(columns={"words": "fp32.words"})
    own["int8.words"] = 2 * own["fp32.words"]
    report = audited(own)
    loss = group(report, "a").losses[0]
    inside = runs[runs.accent == "a"]
    assert loss.levels[1].value == pytest.approx(
        inside["int8.edits"].sum() / inside.words.sum() / 2, rel=1e-9
    )


def test_rates_are_written_in_points_and_margins_too(runs):
    report = audited(runs, margin="0.5pp")
    assert report.margins["wer"].value == 0.005
    assert "0.5 points" in str(report)
    assert "word error rate" in str(report)
    assert audited(runs, margin=0.005).margins["wer"].value == 0.005


def test_a_ratio_of_another_unit(runs):
    report = audited(runs, "ratio=edits/words,unit=edits per word", margin=0.01)
    measure = report.outcome.measures["ratio"]
    assert (measure.name, measure.unit, measure.scale) == ("edits per words", "edits per word", 1.0)
    assert report.verdict == "harm"


def test_a_ratio_can_be_the_better_the_higher(runs):
    table = runs.assign(**{f"{m}.hits": runs.words - runs[f"{m}.edits"] for m in ("fp32", "int8")})
    report = audited(table, "ratio=hits/words,better=higher", margin=0.01)
    wer = audited(runs, margin=0.01)
    assert group(report, "c").losses[0].estimate.value == pytest.approx(
        group(wer, "c").losses[0].estimate.value
    )
    assert "falls" in report.comparisons[0].headline


def test_rows_without_words_count_in_their_group(runs):
    table = pd.concat([runs, runs[:5].assign(words=0)], ignore_index=True)
    report = audited(table)
    assert any("5 rows have no words" in note for note in report.notes)
    inside = table[table.accent == "a"]
    assert group(report, "a").losses[0].levels[0].value == pytest.approx(
        inside["fp32.edits"].sum() / inside.words.sum(), rel=1e-9
    )


def test_a_group_without_any_words_is_not_assessed_with_the_reason(runs):
    table = runs.assign(words=runs.words.where(runs.accent != "b", 0))
    g = group(audited(table), "b")
    assert g.verdict == "not_estimable"
    assert "words that sum to 0" in g.losses[0].estimate.reason
    assert group(audited(table), "c").verdict == "harm"


@pytest.mark.parametrize(
    ("change", "outcome", "message"),
    [
        (lambda t: t, "wer=edits", "a ratio of two sums"),
        (lambda t: t, "wer=edits/words/rows", "a ratio of two sums"),
        (lambda t: t, "wer", "a ratio of two sums"),
        (lambda t: t, "wer=edit/words", "no column 'fp32.edit'"),
        (lambda t: t.assign(words=0), "wer=edits/words", "'words' sums to 0"),
        (
            lambda t: t.assign(words=t.words.where(t.index != 2, -1)),
            "wer=edits/words",
            "'words' is negative in row 3",
        ),
        (lambda t: t.assign(words=t.words.where(t.index != 2)), "wer=edits/words", "missing in row 3"),
        (lambda t: t, "wer=edits/words,better=higher", "no setting 'better'"),
    ],
)
def test_what_is_no_ratio_is_refused_by_name(runs, change, outcome, message):
    with pytest.raises(UserError) as error:
        audited(change(runs), outcome)
    assert message in str(error.value)


def test_a_ratio_asks_for_its_margin_and_takes_no_label(runs):
    with pytest.raises(UserError, match="needs a margin"):
        audited(runs, margin=None)
    with pytest.raises(UserError, match="needs no label"):
        audited(runs, label="words")


def test_speakers_that_are_not_named_are_warned_of(runs):
    assert any("'speaker'" in line and "subject" in line for line in audited(runs, subject=None).warnings)
    assert not audited(runs).warnings


def test_groups_that_differ_in_spelling_are_warned_of(runs):
    spelled = runs.assign(accent=runs.accent.where(runs.index % 7 != 0, runs.accent.str.upper()))
    assert any("differ only in capitalization" in line for line in audited(spelled).warnings)
