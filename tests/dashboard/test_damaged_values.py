"""Files of the right shape with a wrong value somewhere: every page answers, and the index shows the others."""

from __future__ import annotations

import copy
import json
import random

import pytest

from study_folders import make_model, make_study

pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
from starlette.testclient import TestClient

from fairpress.dashboard.app import create_app

WRONG = (
    None, True, -1, 0, 10**30, 10**400, float("nan"), float("inf"), -float("inf"), 1.5, "", "x", "\ud800", "\0",
    "\u202e", "9" * 5000, [], [[]], [None], {}, {"": {}}, {"a": float("nan")}, "<script>", "harm",
)  # fmt: skip
PROGRESS = {
    "name": "n", "command": "c", "total": 3, "done": 1, "failed": 0, "running": ["a"], "process": 1, "host": "h",
    "started": 1.0, "updated": 1.0,
}  # fmt: skip
FILES = {"s/study.json": "study/s", "s/audit.json": "study/s", "s/models.json": "study/s",
         "s/progress.json": "study/s", "m/card.json": "model/m"}  # fmt: skip


def places(value, path=()):
    """Yield the way to every value in a file's content."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from places(below, (*path, key))


def damaged(content, rng):
    """Return a copy with a wrong value in one place, or without it."""
    result = copy.deepcopy(content)
    *way, last = rng.choice(list(places(content)))
    holder = result
    for key in way:
        holder = holder[key]
    if rng.random() < 0.1:
        del holder[last]
    else:
        holder[last] = rng.choice(WRONG)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_no_wrong_value_takes_a_page_down(seed, tmp_path):
    rng = random.Random(seed)
    make_study(tmp_path / "good")
    make_study(tmp_path / "s")
    make_model(tmp_path / "m")
    visitor = TestClient(create_app(tmp_path), base_url="http://127.0.0.1", raise_server_exceptions=False)
    contents = {f: PROGRESS if "progress" in f else json.loads((tmp_path / f).read_text()) for f in FILES}
    refused = 0
    for _ in range(120):
        file = rng.choice(list(FILES))
        (tmp_path / file).write_text(written := json.dumps(damaged(contents[file], rng)))
        index, page = visitor.get("/"), visitor.get(f"/{FILES[file]}")
        assert index.status_code == 200, written
        assert "/study/good" in index.text
        assert page.status_code < 500, written
        refused += page.status_code == 422
        if "progress" in file:
            (tmp_path / file).unlink()
        else:
            (tmp_path / file).write_text(json.dumps(contents[file]))
    assert refused > 10  # the damage is seen, not passed over
