"""Pairs are drawn so that blocks share nobody; pairs that share people are linked, or refused where all are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import fairpress as fp
from fairpress.auditing.biometrics.linked_people import connected
from fairpress.core.errors import UserError


def people(count: int = 60, each: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(count), each)
    group = np.where(person % 3 == 0, "A", "B")
    centre = rng.normal(size=(count, 8))
    vectors = centre[person] + 0.3 * rng.normal(size=(len(person), 8))
    return {"fp32": vectors, "int8": vectors.round(1)}, person, {"group": group}


def test_a_pair_has_the_cosine_of_its_rows_and_blocks_share_nobody():
    embeddings, person, by = people()
    table = fp.draw_pairs(embeddings, person, by, people_per_block=5)
    first, second, block = (np.array(table[c]) for c in ("first", "second", "block"))
    for model, vectors in embeddings.items():
        a, b = vectors[first], vectors[second]
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        np.testing.assert_allclose(table[f"{model}.score"], cosine, rtol=1e-12)
    same = person[first] == person[second]
    assert (np.array(table["label"]) == np.where(same, "same", "different")).all()
    assert same.sum() == 60 * 3  # every pair of the three rows of a person
    assert (by["group"][first] == by["group"][second]).all()
    blocks_of = {p: set(block[(person[first] == p) | (person[second] == p)]) for p in range(60)}
    assert all(len(found) == 1 for found in blocks_of.values())
    assert (~same).sum() == 12 * 10  # 4 blocks of A and 8 of B, 5 people each
    assert fp.draw_pairs(embeddings, person, by, people_per_block=5).equals(table)
    assert not fp.draw_pairs(embeddings, person, by, people_per_block=5, seed=1).equals(table)


def test_pairs_linked_by_a_chain_of_people_are_one_cluster():
    assert connected(np.array([0, 1, 4, 6]), np.array([1, 2, 5, 6])).tolist() == [0, 0, 1, 2]
    table = pa.table(
        {"a": [f"p{2 * i}" for i in range(20)], "b": [f"p{2 * i + 1 + 2 * (i == 0)}" for i in range(20)]}
    )
    linked = np.array(fp.link_people(table, "a", "b")["linked"])
    assert linked[0] == linked[1]  # p0, p3 and p2, p3
    assert len(set(linked)) == 19


def test_scores_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    whole = fp.draw_pairs(*people())
    monkeypatch.setattr("fairpress.auditing.biometrics.draw_pairs.CHUNK", 7)
    assert fp.draw_pairs(*people()).equals(whole)
    assert fp.link_people(whole.slice(0, 0), "first", "second").num_rows == 0


def test_drawn_pairs_are_linked_within_their_blocks():
    embeddings, person, by = people()
    table = fp.draw_pairs(embeddings, person, by)
    table = table.append_column("one", pa.array(person[np.array(table["first"])]))
    table = table.append_column("other", pa.array(person[np.array(table["second"])]))
    with pytest.raises(UserError, match=r"link .* of the pairs"):  # 5 blocks are as few as nothing
        fp.link_people(table.filter(pa.compute.less(table["block"], 2)), "one", "other")
    embeddings, person, by = people(600)
    table = fp.draw_pairs(embeddings, person, by)
    table = table.append_column("one", pa.array(person[np.array(table["first"])]))
    table = table.append_column("other", pa.array(person[np.array(table["second"])]))
    linked = np.array(fp.link_people(table, "one", "other")["linked"])
    assert len(set(zip(linked, np.array(table["block"]), strict=True))) == len(set(linked))


def test_pairs_of_everybody_with_everybody_have_no_independent_clusters():
    first, second = np.triu_indices(30, 1)
    with pytest.raises(UserError, match=r"100% of the pairs to one another.*draw_pairs"):
        fp.link_people({"a": first, "b": second}, "a", "b")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"person": [0, None, 1, 1]}, "the person of row 1 is missing"),
        ({"person": [0, 1]}, "person has 2 rows|has 4 rows, and person 2"),
        ({"by": {"group": ["A", "B", "A", "A"]}}, "several values of 'group'"),
        ({"embeddings": {"m": np.zeros((4, 2))}}, "row 0 under 'm' is zero"),
        ({"embeddings": {"m": np.ones(4)}}, "the embeddings of 'm' are 4; give a vector for each row"),
        ({"embeddings": np.ones((4, 2))}, "`embeddings` is a dict"),
        ({"by": {"label": ["A", "A", "A", "A"]}}, "a column 'label' of its own"),
        ({"by": {"m.score": ["A", "A", "A", "A"]}}, "a column 'm.score' of its own"),
        ({"people_per_block": 1}, "too small"),
        ({"person": [0, 1, 2, 3], "by": {"group": ["A", "B", "C", "D"]}}, "there are no pairs"),
    ],
)
def test_what_makes_no_pairs_is_one_sentence(change, sentence):
    given = {
        "embeddings": {"m": np.ones((4, 2))},
        "person": [0, 0, 1, 1],
        "by": {"group": ["A", "A", "A", "A"]},
        **change,
    }
    with pytest.raises(UserError, match=sentence):
        fp.draw_pairs(given.pop("embeddings"), given.pop("person"), given.pop("by"), **given)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"a": [1], "c": [2]}, "no column 'b'"),
        ({"a": [1, None], "b": [2, 3]}, "missing values"),
        ({"a": [1], "b": [2], "linked": [0]}, "has a column 'linked' already"),
        ({"a": [[1]], "b": [2]}, "the column 'a' holds lists"),
    ],
)
def test_a_table_without_people_is_refused(table, sentence):
    with pytest.raises(UserError, match=sentence):
        fp.link_people(table, "a", "b")
