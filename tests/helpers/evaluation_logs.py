"""Logs in the genuine formats: lines as lm-eval 0.4.13 writes them, samples as inspect_ai 0.3.285 reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

DATE = "2026-11-30T20-56-35.794766"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def line(
    doc_id: int,
    doc: Mapping[str, Any],
    target: str,
    arguments: Sequence[Sequence[Any]],
    filtered: Sequence[Any],
    metrics: Mapping[str, Any],
    filter: str = "none",
) -> dict[str, Any]:
    """Return one line of samples_….jsonl."""
    return {
        "doc_id": doc_id,
        "doc": dict(doc),
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": a for j, a in enumerate(request)}
            for i, request in enumerate(arguments)
        },
        "resps": [[x] for x in filtered],
        "filtered_resps": list(filtered),
        "filter": filter,
        "metrics": list(metrics),
        "doc_hash": digest(json.dumps(dict(doc), indent=2, ensure_ascii=False)),
        "prompt_hash": digest(str(arguments[0][0])),
        "target_hash": digest(target),
        **metrics,
    }


def choice_line(
    doc_id: int, likelihoods: Sequence[float], right: int, choices: Sequence[str], **doc: Any
) -> dict[str, Any]:
    """Return a line of multiple choice, with acc and acc_norm as lm-eval computes them."""
    document = {"question": f"What is number {doc_id}?", "choices": list(choices), "answer": right, **doc}
    prompt = f"{document['question']}\nAnswer:"
    lengths = np.array([len(c) for c in choices])
    acc = float(np.argmax(likelihoods) == right)
    norm = float(np.argmax(np.array(likelihoods) / lengths) == right)
    return line(
        doc_id,
        document,
        str(right),
        [(prompt, f" {c}") for c in choices],
        [[str(float(x)), "False"] for x in likelihoods],
        {"acc": acc, "acc_norm": norm},
    )


def choice_task(seed: int, model: int, items: int = 40, same_texts: bool = True) -> list[dict[str, Any]]:
    """Return the lines of a model: model 0 is the baseline, and others differ from it in some items."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng([seed, model])
    lines = []
    for i in range(items):
        right = int(rng.integers(0, 3))
        likelihoods = -10 * rng.random(3)
        likelihoods[right] += 3
        category = ("law", "health")[int(rng.integers(0, 2))]
        words = ("no", "maybe", "surely so") if same_texts else (f"a{i}", f"bb{i}", f"ccc{i}{'x' * (i % 5)}")
        if model:
            likelihoods = likelihoods + 3 * noise.normal(size=3)
        lines.append(choice_line(i, [float(x) for x in likelihoods], right, words, category=category))
    return lines


def write_task(folder: Path, task: str, lines: Sequence[Mapping[str, Any]], date: str = DATE) -> Path:
    """Write the samples of a task as lm-eval does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{date}.jsonl"
    text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
    path.write_text(text, encoding="utf-8")
    return path


def write_results(folder: Path, date: str = DATE, **content: Any) -> None:
    """Write the results file of a run."""
    (folder / f"results_{date}.json").write_text(json.dumps({"lm_eval_version": "0.4.13", **content}))


def two_models(folder: Path, tasks: Sequence[str] = ("toy",), **options: Any) -> dict[str, Path]:
    """Write the logs of two models; return model → folder."""
    for number, name in enumerate(("base", "q4")):
        for seed, task in enumerate(tasks):
            write_task(folder / name / "a__model", task, choice_task(seed, number, **options))
    return {name: folder / name for name in ("base", "q4")}


def sample(
    id: Any,
    value: Any,
    answer: str | None = None,
    target: Any = "A",
    epoch: int = 1,
    scorer: str = "choice",
    **more: Any,
) -> SimpleNamespace:
    """Return a sample as inspect_ai's reader returns it."""
    return SimpleNamespace(
        id=id,
        epoch=epoch,
        input=more.get("input", f"Question {id}?"),
        choices=more.get("choices", ["x", "y"]),
        target=target,
        metadata=more.get("metadata", {}),
        scores=more.get("scores", {scorer: SimpleNamespace(value=value, answer=answer)}),
    )
