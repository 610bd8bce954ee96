"""Scores are probabilities, or they are refused with the remedy; an explicit threshold may decide by any number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress.auditing.audit import audit
from fairpress.core.errors import UserError

PAIR = {"baseline": "m", "compressed": ["n"], "by": ["sex"]}


def table(rows: int = 1000, decisions: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    frame = pd.DataFrame({"label": y, "sex": rng.choice(["F", "M"], rows)})
    for model in "mn":
        frame[f"{model}.score"] = np.clip(np.where(y, 0.7, 0.3) + 0.5 * (rng.random(rows) - 0.5), 0, 1)
        if decisions:
            frame[model] = (frame[f"{model}.score"] >= 0.5).astype(int)
    return frame


@pytest.mark.parametrize("decisions", [True, False])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: 100 * s, r"range from .* to .* outside 0 to 1 in 1,000 of 1,000 rows.*divide them by 100"),
        (
            lambda s: np.log((s + 0.01) / (1.01 - s)),
            r"logits or margins.*sigmoid.*`decide=\{'n': 'n\.score>=0'\}`",
        ),
        (lambda s: 2 * s - 1, "logits or margins"),
        (lambda s: s.where(s.index != 3, 1.2), "in 1 of 1,000 rows"),
        (lambda s: s.where(s.index != 3, np.inf), "in 1 of 1,000 rows"),
        (lambda s: s.astype(str).where(s.index != 3, "n/a"), "must hold numbers, but row 4 has 'n/a'"),
        (lambda s: s.astype(str).where(s.index != 3, "0_5"), "must hold numbers, but row 4 has '0_5'"),
    ],
)
def test_what_is_not_a_probability_is_refused_whether_it_decides_or_not(
    change, sentence, decisions, tmp_path
):
    frame = table(decisions=decisions)
    frame["n.score"] = change(frame["n.score"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    for given in (frame, tmp_path / "t.csv"):
        with pytest.raises(UserError, match=sentence) as raised:
            audit(given, **PAIR)
        assert "'n.score'" in str(raised.value)


def test_rounding_beyond_0_and_1_is_no_fault():
    frame = table()
    frame.loc[:1, "m.score"] = [1 + 1e-7, -1e-7]
    assert "auc" in audit(frame, **PAIR).models[0].overall.rates


def test_an_explicit_threshold_decides_by_logits_and_leaves_score_metrics_out_with_a_note():
    frame = table()
    logits = frame.assign(**{f"{m}.score": 8 * (frame[f"{m}.score"] - 0.5) for m in "mn"})
    expected = audit(frame, **PAIR).comparisons[0]
    report = audit(logits, **PAIR, decide={"m": "m.score>=0", "n": "n.score>=0"})
    assert report.comparisons[0].overall.losses == expected.overall.losses
    assert "auc" not in report.models[0].overall.rates
    assert any("No score metrics of 'n': 'n.score' ranges from -" in note for note in report.notes)


def classes(rows: int = 900) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 1, 1], rows)
    names = np.array(["ant", "bee", "cat"])
    y = np.array([rng.choice(3, p=q) for q in p])
    frame = pd.DataFrame({f"{m}.score.{c}": p[:, i] for m in "mn" for i, c in enumerate(names)})
    return frame.assign(label=names[y], sex=rng.choice(["F", "M"], rows)), p


def test_scores_per_class_are_held_to_be_a_distribution():
    frame, p = classes()
    assert audit(frame, **PAIR, positive="bee").notes[-1:] != ("",)
    logits = frame.assign(**{f"n.score.{c}": np.log(p[:, i]) for i, c in enumerate(("ant", "bee", "cat"))})
    with pytest.raises(UserError, match=r"'n\.score\.ant' range from .*softmax over all classes"):
        audit(logits, **PAIR)
    halves = frame.assign(**{f"n.score.{c}": p[:, i] / 2 for i, c in enumerate(("ant", "bee", "cat"))})
    notes = audit(halves, **PAIR, positive="bee").notes
    assert any("scores of 'n' do not sum to 1 over the classes in 900 rows" in n for n in notes)
    lacking = audit(frame.drop(columns="n.score.cat"), **PAIR, positive="bee").notes
    assert any("'n' has no column 'n.score.cat'" in n for n in lacking)


def test_scores_per_class_are_found_by_the_class_they_name_however_it_is_spelled():
    frame = table()
    scores = pd.DataFrame({f"{m}.score.{c}": abs(1 - c - frame[f"{m}.score"]) for m in "mn" for c in (0, 1)})
    scores = scores.assign(label=frame.label.astype(bool), sex=frame.sex)
    report = audit(scores, **PAIR)
    assert report.classes == ("False", "True")
    assert report.models[0].overall.rates["auc"].value > 0.9
    assert report.models[0].overall.rates["accuracy"].value > 0.8
