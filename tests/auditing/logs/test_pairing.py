"""Items are paired by their keys, whatever their order; what cannot be paired is refused or left out by name."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fairpress.auditing.logs.pairing import ItemLog, pair_items
from fairpress.core.errors import UserError

SAME = {"prompt": "other prompts"}


def log(model, items, prompts=None, values=None):
    prompts = [f"p{i}" for i in items] if prompts is None else prompts
    values = list(range(len(items))) if values is None else values
    task = ["t"] * len(items)
    return ItemLog(model, pa.table({"task": task, "id": list(items), "prompt": prompts, "value": values}))


def pair(*logs, unpaired="refuse"):
    return pair_items(logs, ("task", "id"), SAME, unpaired=unpaired, remedies={"prompt": "; or do without"})


def test_lines_are_matched_by_key_in_the_order_of_the_first_model():
    paired = pair(log("a", "xyz"), log("b", "zxy"), log("c", "yxz"))
    ids = [t["id"].to_pylist() for t in paired.tables]
    assert ids == [["x", "y", "z"]] * 3
    assert [t["value"].to_pylist() for t in paired.tables] == [[0, 1, 2], [1, 2, 0], [1, 0, 2]]
    assert paired.warnings == ()


@pytest.mark.parametrize("seed", range(20))
def test_random_logs_agree_with_plain_python(seed):
    rng = np.random.default_rng(seed)
    logs, plain = [], []
    for name in "abc"[: 2 + seed % 2]:
        items = [f"i{x}" for x in rng.integers(0, 30, size=25)]
        prompts = [f"p{i}{'!' if rng.random() < 0.1 else ''}" for i in items]
        logs.append(log(name, items, prompts))
        plain.append([(i, p, n) for n, (i, p) in enumerate(zip(items, prompts, strict=True))])
    expected = []
    for item, prompt, _ in plain[0]:
        hits = [[(p, n) for i, p, n in rows if i == item] for rows in plain]
        if all(len(h) == 1 and h[0][0] == prompt for h in hits):
            expected.append((item, *(h[0][1] for h in hits)))
    if not expected:
        with pytest.raises(UserError, match="no item in common"):
            pair(*logs, unpaired="drop")
        return
    paired = pair(*logs, unpaired="drop")
    rows = zip(
        paired.tables[0]["id"].to_pylist(), *(t["value"].to_pylist() for t in paired.tables), strict=True
    )
    assert list(rows) == expected
    distinct = len({i for rows in plain for i, _, _ in rows})
    assert f"{distinct - len(expected):,} of {distinct:,} items are left out" in paired.warnings[0]


def test_a_missing_item_is_refused_by_name():
    with pytest.raises(UserError, match=r"of 3 items, 1 is missing from b \(t/y\)\..*`unpaired='drop'`\.$"):
        pair(log("a", "xyz"), log("b", "zx"))


def test_a_repeated_item_is_refused_by_name_in_both_models():
    with pytest.raises(
        UserError, match=r"1 is more than once in a \(t/x\); 1 is more than once in b \(t/x\)"
    ):
        pair(log("a", "xxy"), log("b", "xxy"))


def test_another_prompt_is_refused_with_the_other_remedy():
    with pytest.raises(UserError, match=r"1 has other prompts \(t/y\).*; or do without\.$"):
        pair(log("a", "xy"), log("b", "yx", prompts=["other", "px"]))


def test_a_prompt_that_only_one_model_has_is_another():
    with pytest.raises(UserError, match="1 has other prompts"):
        pair(log("a", "xy"), log("b", "xy", prompts=["px", None]))
    assert pair(log("a", "xy", ["px", None]), log("b", "xy", ["px", None])).warnings == ()


def test_no_more_than_three_items_are_named():
    items = [str(i) for i in range(9)]
    with pytest.raises(UserError, match=r"8 are missing from b \(t/1, t/2, t/3, …\)"):
        pair(log("a", items), log("b", ["0"]))


def test_lines_without_a_key_are_refused():
    with pytest.raises(UserError, match="b: 1 of 2 lines have no id"):
        pair(log("a", "xy"), log("b", ["x", None]))


def test_keys_that_look_alike_when_joined_stay_apart():
    a = ItemLog("a", pa.table({"task": ["t/1", "t"], "id": ["2", "1/2"], "prompt": ["p", "q"]}))
    b = ItemLog("b", pa.table({"task": ["t", "t/1"], "id": ["1/2", "2"], "prompt": ["q", "p"]}))
    assert pair_items([a, b], ("task", "id"), SAME).tables[1]["prompt"].to_pylist() == ["p", "q"]


def test_an_unknown_word_for_what_is_unpaired_is_refused():
    with pytest.raises(UserError, match="must be refuse or drop, not 'ignore'"):
        pair(log("a", "x"), log("b", "x"), unpaired="ignore")


def test_what_differs_in_two_ways_is_counted_once_and_a_remedy_for_one_way_is_not_offered_for_both():
    tables = [
        pa.table({"id": list("xyz"), "hash": list(hashes), "text": list(texts), "prompt": ["p", "p", prompt]})
        for hashes, texts, prompt in (("abc", "def", "p"), ("abd", "dgf", "p"), ("abc", "def", "q"))
    ]
    first, other, prompted = (ItemLog(m, t) for m, t in zip("abc", tables, strict=True))
    same = {"hash": "other documents", "text": "other documents", "prompt": "other prompts"}
    remedies = {"prompt": "; or do without"}
    with pytest.raises(UserError) as error:
        pair_items([first, other], ["id"], same, remedies=remedies)
    assert "of 3 items, 2 have other documents (y, z). " in str(error.value)
    assert "do without" not in str(error.value)
    with pytest.raises(UserError, match=r"1 has other prompts \(z\)\. .*; or do without\.$"):
        pair_items([first, prompted], ["id"], same, remedies=remedies)
