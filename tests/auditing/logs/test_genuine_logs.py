"""Logs that lm-evaluation-harness and inspect_ai write here, of a tiny network: accuracies are those that they report.

Skipped where they are not installed. They were written and read with lm-eval 0.4.13 and inspect_ai 0.3.285 (2026-11-30):
``pip install lm-eval inspect-ai transformers accelerate``, then ``pytest -m slow tests/auditing/logs/test_genuine_logs.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

import fairpress as fp
from fairpress.core.errors import UserError

HELPER = Path(__file__).parents[2] / "helpers" / "tiny_causal.py"
MISSING = [
    name for name in ("transformers", "tokenizers", "lm_eval", "inspect_ai") if util.find_spec(name) is None
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.filterwarnings("ignore"),
]


def python(folder: Path, *arguments: str) -> None:
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    python(folder, str(HELPER), "models", str(folder))
    return folder


@pytest.fixture(scope="module")
def lm_eval_logs(networks):
    tasks = networks / "tasks"
    tasks.mkdir()
    python(networks, str(HELPER), "tasks", str(tasks))
    for name in ("base", "q4"):
        python(
            networks,
            *(
                "-m",
                "lm_eval",
                "--model",
                "hf",
                "--model_args",
                f"pretrained={networks / name}",
                "--device",
                "cpu",
            ),
            *("--tasks", "toymc_eng,toymc_swa,toymc_amh,toyyn,toygen,toyppl", "--include_path", str(tasks)),
            *("--batch_size", "8", "--output_path", str(networks / "out" / name), "--log_samples"),
        )
    return {name: networks / "out" / name for name in ("base", "q4")}


def reported(folder, task, metric):
    (file,) = folder.rglob("results_*.json")
    return json.loads(file.read_text())["results"][task][metric]


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_accuracies_by_language_are_those_of_lm_eval(lm_eval_logs, metric):
    table = fp.read_lm_eval(lm_eval_logs, tasks="toymc_*", metric=metric)
    assert set(table["label"].to_pylist()) <= {f"choice {i}" for i in range(1, 5)}
    report = fp.audit(table, by="language")
    for model in report.models:
        for group in model.groups:
            language = group.values.get("language")
            expected = reported(lm_eval_logs[model.name], f"toymc_{language}", f"{metric},none")
            assert group.rates["accuracy"].value == pytest.approx(expected, abs=1e-12)


def test_answers_with_the_same_texts_are_classes(lm_eval_logs):
    report = fp.audit(fp.read_lm_eval(lm_eval_logs, tasks="toyyn"), by="category")
    assert (report.classes, report.positive) == (("no", "yes"), "yes")
    for model in report.models:
        expected = reported(lm_eval_logs[model.name], "toyyn", "acc,none")
        assert model.overall.rates["accuracy"].value == pytest.approx(expected, abs=1e-12)


def test_generated_answers(lm_eval_logs):
    with pytest.raises(UserError, match="filtered in 2 ways"):
        fp.read_lm_eval(lm_eval_logs, tasks="toygen")
    table = fp.read_lm_eval(lm_eval_logs, tasks="toygen", filter="word")
    assert table.column_names == ["item", "task", "label", "base", "q4", "answer", "category"]
    assert b"drawn at random" in table.schema.metadata[b"fairpress.notes"]


def test_perplexities_follow_from_the_log_likelihoods(lm_eval_logs):
    import math

    table = fp.read_lm_eval(lm_eval_logs, tasks="toyppl", metric="word_perplexity")
    for name, folder in lm_eval_logs.items():
        nats, words = sum(table[f"{name}.nats"].to_pylist()), sum(table["words"].to_pylist())
        expected = reported(folder, "toyppl", "word_perplexity,none")
        assert math.exp(nats / words) == pytest.approx(expected, rel=1e-9)


def test_logs_of_inspect_ai_in_both_formats(networks):
    from inspect_ai.log import read_eval_log

    python(networks, str(HELPER), "inspect", str(networks))
    logs = {name: networks / "inspect" / name for name in ("base", "q4")}
    for task, scorer in (("toymc", "choice"), ("toyqa", "includes")):
        table = fp.read_inspect(logs, tasks=task)
        right = {
            m: [p == t for p, t in zip(table[m].to_pylist(), table["label"].to_pylist(), strict=True)]
            for m in logs
        }
        for name, folder in logs.items():
            (file,) = (f for f in folder.iterdir() if task in f.name)
            (score,) = (s for s in read_eval_log(str(file)).results.scores if s.name == scorer)
            assert sum(right[name]) / len(right[name]) == pytest.approx(
                score.metrics["accuracy"].value, abs=1e-12
            )
        assert "metadata.language" in table.column_names
    with pytest.raises(UserError, match="no scorer in common"):
        fp.read_inspect(logs)
    damaged = networks / "damaged.eval"
    damaged.write_bytes(next(logs["base"].iterdir()).read_bytes()[:5000])
    with pytest.raises(UserError, match=r"inspect_ai cannot read .*damaged\.eval"):
        fp.read_inspect({"base": damaged, "q4": logs["q4"]})
