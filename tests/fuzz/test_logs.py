"""Damaged logs against plain Python: no traceback, and no item is compared with another one."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

import fairpress as fp
from evaluation_logs import choice_task, two_models
from fairpress.core.errors import UserError
from fuzz_damage import HOSTILE, holder, places

LOGS = int(os.environ.get("FAIRPRESS_FUZZ_LOGS", "200"))
FEW = 24
ITEMS = 12
KEYS = (
    "doc_id",
    "doc_hash",
    "prompt_hash",
    "target_hash",
    "target",
    "filter",
    "acc",
    "filtered_resps",
    "doc",
    "arguments",
)

Lines = list[dict[str, Any]]


def text(lines: Lines) -> bytes:
    return "".join(json.dumps(x) + "\n" for x in lines).encode()


def truncated(rng: random.Random, lines: Lines) -> bytes:
    data = text(lines)
    return data[: rng.randrange(len(data))]


def swapped(rng: random.Random, lines: Lines) -> bytes:
    a, b = rng.sample(lines, 2)
    key = rng.choice(("doc_hash", "prompt_hash", "target_hash", "target", "doc", "doc_id"))
    a[key], b[key] = b[key], a[key]
    return text(lines)


def repeated(rng: random.Random, lines: Lines) -> bytes:
    lines.insert(rng.randrange(len(lines)), dict(rng.choice(lines)))
    return text(lines)


def renumbered(rng: random.Random, lines: Lines) -> bytes:
    rng.choice(lines)["doc_id"] = rng.choice((0, 1, 99, "0", -1, 0.5, None, True, [1]))
    return text(lines)


def shuffled(rng: random.Random, lines: Lines) -> bytes:
    rng.shuffle(lines)
    return text(lines)


def shifted(rng: random.Random, lines: Lines) -> bytes:
    for x in lines:
        x["doc_id"] += 1
    return text(lines)


def without(rng: random.Random, lines: Lines) -> bytes:
    del lines[rng.randrange(len(lines)) :: rng.choice((1, 2, 50))]
    return text(lines)


def other_value(rng: random.Random, lines: Lines) -> bytes:
    line = rng.choice(lines)
    line[rng.choice(KEYS)] = rng.choice(HOSTILE)
    return text(lines)


def other_part(rng: random.Random, lines: Lines) -> bytes:
    line = rng.choice(lines)
    path = rng.choice(places(line))
    holder(line, path)[path[-1]] = rng.choice(HOSTILE)
    return text(lines)


def other_values(rng: random.Random, lines: Lines) -> bytes:
    key, value = rng.choice(KEYS), rng.choice(HOSTILE)
    for x in lines:
        x[key] = value
    return text(lines)


def renamed(rng: random.Random, lines: Lines) -> bytes:
    key = rng.choice(KEYS)
    for x in lines if rng.random() < 0.5 else [rng.choice(lines)]:
        x[f"{key}2"] = x.pop(key)
    return text(lines)


def other_task(rng: random.Random, lines: Lines) -> bytes:
    return text(choice_task(77, 0, ITEMS))


def other_filter(rng: random.Random, lines: Lines) -> bytes:
    for x in lines[: rng.randrange(1, len(lines))]:
        x["filter"] = "other"
    return text(lines)


def nested(rng: random.Random, lines: Lines) -> bytes:
    depth = rng.choice((50, 500, 5_000, 100_000))
    deep = "[" * depth + "]" * depth
    first, rest = text(lines).split(b"\n", 1)
    key = rng.choice(("doc", "acc", "more")).encode()
    return first[:-1] + b', "' + key + b'x": ' + deep.encode() + b"}\n" + rest


def bytes_of_noise(rng: random.Random, lines: Lines) -> bytes:
    data = bytearray(text(lines))
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def no_log(rng: random.Random, lines: Lines) -> bytes:
    return rng.choice(
        (
            b"",
            b"\n\n",
            b"null\n",
            b"[]\n",
            b"3\n",
            b'"x"\n',
            bytes(range(256)),
            b"\x1f\x8b\x08\x00",
            b"PK\x03\x04",
            b"{}\n" * 4,
        )
    )


def joined_lines(rng: random.Random, lines: Lines) -> bytes:
    return text(lines).replace(b"\n", b"", rng.choice((1, 2)))


def twice(rng: random.Random, lines: Lines) -> bytes:
    return text(lines) * 2


def key_twice(rng: random.Random, lines: Lines) -> bytes:
    key = rng.choice(KEYS)
    return text(lines).replace(f'"{key}": '.encode(), f'"{key}": 1, "{key}": '.encode(), 1)


DAMAGE = (
    *(
        truncated,
        swapped,
        repeated,
        renumbered,
        shuffled,
        shifted,
        without,
        other_value,
        other_part,
        other_values,
    ),
    *(renamed, other_task, other_filter, nested, bytes_of_noise, no_log, joined_lines, twice, key_twice),
)


def parsed(data: bytes) -> Lines | None:
    """Return the lines as Python reads them; None if one is no object, or has a key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        lines = [json.loads(x, object_pairs_hook=unique) for x in data.decode().splitlines() if x.strip()]
    except (ValueError, RecursionError):
        return None
    return lines if all(isinstance(x, dict) for x in lines) else None


def spelled(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def identity(line: dict[str, Any], hashed: bool) -> tuple[Any, ...]:
    """Return what makes an item the same; prompts themselves, where a log lacks their hashes."""
    hashes = tuple(spelled(line.get(f"{part}_hash")) for part in ("doc", "target"))
    prompt = spelled(line.get("prompt_hash")) if hashed else json.dumps(line.get("arguments"), sort_keys=True)
    return (*hashes, prompt, json.dumps(line.get("doc"), sort_keys=True), spelled(line.get("target")))


def check(seed: int, folder: Path) -> str:
    """Damage one of two logs, read both, and compare what is returned with what plain Python finds in the files."""
    rng = random.Random(f"log {seed}")
    logs = two_models(folder / str(seed), items=ITEMS)
    (damaged,) = logs[rng.choice(("base", "q4"))].rglob("samples_*.jsonl")
    damage = DAMAGE[seed % len(DAMAGE)]
    damaged.write_bytes(damage(rng, [json.loads(x) for x in damaged.read_text().splitlines()]))
    unpaired = rng.choice(("refuse", "refuse", "drop"))
    try:
        table = fp.read_lm_eval(logs, metric="acc", unpaired=unpaired, fields="category")
    except UserError as error:
        sentence = str(error)
        assert len(sentence) < 1500, (damage.__name__, sentence)
        assert "Error" not in sentence or "DuckDB" in sentence, (damage.__name__, sentence)
        return "refused"
    files = [parsed(next(p.rglob("samples_*.jsonl")).read_bytes()) for p in logs.values()]
    assert None not in files, (damage.__name__, "a file that is no log was read")
    by_id = []
    for lines in files:
        entries: dict[str, Lines] = {}
        for x in lines or ():
            entries.setdefault(f"toy/{spelled(x.get('doc_id'))}", []).append(x)
        by_id.append(entries)
    hashed = all(isinstance(x.get("prompt_hash"), str) for lines in files for x in lines or ())
    items = table["item"].to_pylist()
    if unpaired == "refuse":
        assert set(items) == set(by_id[0]) == set(by_id[1]), damage.__name__
    assert len(set(items)) == len(items)
    right = [
        [p == t for p, t in zip(table[m].to_pylist(), table["label"].to_pylist(), strict=True)] for m in logs
    ]
    for i, item in enumerate(items):
        one, other = (entries[item] for entries in by_id)
        assert len(one) == len(other) == 1, (damage.__name__, item)
        assert identity(one[0], hashed) == identity(other[0], hashed), (damage.__name__, item)
        for of_model, line in zip(right, (one[0], other[0]), strict=True):
            assert of_model[i] == (float(line["acc"]) == 1), (damage.__name__, item)
    if unpaired == "drop" and len(items) < len(set(by_id[0]) | set(by_id[1])):
        assert b"fairpress.warnings" in table.schema.metadata, damage.__name__
    return "read"


def test_a_damaged_log_is_refused_or_read_rightly(tmp_path):
    outcomes = [check(seed, tmp_path) for seed in range(FEW)]
    assert {"read", "refused"} == set(outcomes)


@pytest.mark.slow
def test_damaged_logs_are_refused_or_read_rightly(tmp_path):
    outcomes = [check(seed, tmp_path) for seed in range(FEW, FEW + LOGS)]
    assert outcomes.count("refused") > LOGS / 2
    assert outcomes.count("read") > LOGS / 20
