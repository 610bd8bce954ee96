"""Trim a tokenizer's vocabulary: drop pieces from tokenizer.json so that every text can still be written.

Abdaoui et al. (2020, arXiv 2010.05609) keep the pieces of a multilingual encoder that some languages use. Here the pieces go
whose loss lengthens texts least, and of pieces that are made by merges, those that others are made of stay with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.errors import UserError

KINDS = ("BPE", "WordPiece", "Unigram")
BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
ROUNDS, RATE = 100, 0.25


@dataclass(frozen=True)
class Vocabulary:
    """The pieces of a tokenizer.

    Attributes
    ----------
    document
        The content of tokenizer.json.
    pieces
        Piece → id, added tokens included.
    lengths
        ``int64`` [ids], characters of each piece without marks of a word's start or end; 0 for an id without a piece.
    required
        ``bool`` [ids]: added tokens, the unknown piece, single characters, bytes, and pieces that single characters cannot
        write.
    """

    document: Mapping[str, Any]
    pieces: Mapping[str, int]
    lengths: np.ndarray
    required: np.ndarray


def read_vocabulary(data: bytes) -> Vocabulary:
    """Return the pieces of a tokenizer.json. Raises UserError for a tokenizer of whole words, or one of an unknown kind."""
    document = json.loads(data)
    model = document["model"]
    kind = model.get("type")
    if kind not in KINDS:
        raise UserError(
            f"trim-vocabulary drops pieces that shorter ones can replace, which a tokenizer of kind {kind!r} cannot do; "
            f"take a model with a tokenizer of kind {', '.join(KINDS)}."
        )
    pieces = (
        {piece: i for i, (piece, _) in enumerate(model["vocab"])}
        if kind == "Unigram"
        else dict(model["vocab"])
    )
    added = {token["content"]: int(token["id"]) for token in document.get("added_tokens", ())}
    every = {**pieces, **added}
    size = max(every.values()) + 1
    lengths, required = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=bool)
    always = {model.get("unk_token"), *added}
    if kind == "Unigram" and model.get("unk_id") is not None:
        always.add(model["vocab"][model["unk_id"]][0])
    by_bytes = bool(model.get("byte_fallback"))
    for piece, i in every.items():
        letters = 1 if by_bytes and BYTE.fullmatch(piece) else len(_stem(piece, model))
        lengths[i] = letters
        required[i] = (
            piece in always
            or letters <= 1
            or not (kind == "BPE" or by_bytes or _spelled(piece, model, pieces))
        )
    return Vocabulary(document, every, lengths, required)


def _stem(piece: str, model: Mapping[str, Any]) -> str:
    """Return a piece without the marks of a word's continuation or end."""
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    stem = piece.removeprefix(prefix) if len(piece) > len(prefix) else piece
    return stem.removesuffix(suffix) if len(stem) > len(suffix) else stem


def _spelled(piece: str, model: Mapping[str, Any], pieces: Mapping[str, int]) -> bool:
    """Return whether single characters of the vocabulary can write a piece."""
    prefix = model.get("continuing_subword_prefix") or ""
    inside = bool(prefix) and piece.startswith(prefix)
    return all(
        (prefix if inside or position else "") + character in pieces
        for position, character in enumerate(_stem(piece, model))
    )


def uses_with_merges(vocabulary: Vocabulary, counts: np.ndarray) -> np.ndarray:
    """Return how often each piece is made, as itself or on the way to a longer one: float64 [groups, ids].

    That is by how many token ids texts grow if the piece, and everything made of it, goes. No piece is made more often than
    the parts it is merged from, so that the pieces made most often can all be made. Pieces of tokenizers without merges
    count as they are.

    Parameters
    ----------
    counts
        [groups, ids], occurrences of each id in the encoded texts of each group.
    """
    uses: np.ndarray = np.array(counts, dtype=np.float64)
    model = vocabulary.document["model"]
    if model["type"] != "BPE":
        return uses
    pieces = vocabulary.pieces
    parts_of: dict[int, tuple[int, int]] = {}
    for left, right in _merges(model):
        parts_of.setdefault(pieces[_joined(left, right, model)], (pieces[left], pieces[right]))
    for piece in sorted(parts_of, key=lambda i: -vocabulary.lengths[i]):
        for part in parts_of[piece]:
            uses[:, part] += uses[:, piece]
    return uses


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return [(left, right) for left, right in pairs]


def _joined(left: str, right: str, model: Mapping[str, Any]) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def choose_pieces(vocabulary: Vocabulary, uses: np.ndarray, tokens: np.ndarray, n_kept: int) -> np.ndarray:
    """Return the ids of the pieces to keep, ascending.

    The texts of the group that grows most are to grow as little as possible: pieces are ranked by a weighted sum of their
    uses as shares of each group's token ids, and the weight of a group grows while its texts grow more than the mean
    (multiplicative weights). With one group, the pieces used most are kept.

    Parameters
    ----------
    uses
        [groups, ids] from `uses_with_merges`.
    tokens
        [groups], token ids of each group's texts before.
    n_kept
        Number of pieces to keep, at least that of the required ones.
    """
    growth = uses / np.maximum(tokens, 1)[:, None]
    existing = np.array(sorted(vocabulary.pieces.values()))
    weight = np.full(len(growth), 1 / len(growth))
    best, least = existing, np.inf
    for _ in range(ROUNDS if len(growth) > 1 else 1):
        score = weight @ growth[:, existing]
        # Ties go to shorter pieces, which longer ones are made of.
        order = np.lexsort((existing, vocabulary.lengths[existing], -score, ~vocabulary.required[existing]))
        kept = np.sort(existing[order[:n_kept]])
        dropped = np.setdiff1d(existing, kept, assume_unique=True)
        grown = growth[:, dropped].sum(axis=1)
        if grown.max() < least:
            best, least = kept, float(grown.max())
        weight = weight * np.exp(RATE * (grown - grown.mean()) / max(float(grown.max()), 1e-30))
        weight = weight / weight.sum()
    return best


def keep_pieces(vocabulary: Vocabulary, kept: np.ndarray) -> bytes:
    """Return tokenizer.json with these ids alone, counted anew from 0 in their order."""
    document = json.loads(json.dumps(vocabulary.document))
    new = {int(old): i for i, old in enumerate(kept)}
    model = document["model"]
    if model["type"] == "Unigram":
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new]
    else:
        model["vocab"] = {piece: new[i] for piece, i in model["vocab"].items() if i in new}
    if model["type"] == "BPE":
        here = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in _merges(model)
            if left in here and right in here and _joined(left, right, model) in here
        ]
    for token in document.get("added_tokens", ()):
        token["id"] = new[token["id"]]
    if document.get("padding"):
        document["padding"]["pad_id"] = new[document["padding"]["pad_id"]]
    _renumber(document.get("post_processor"), new)
    return json.dumps(document, ensure_ascii=False).encode("utf-8")


def _renumber(processor: dict[str, Any] | None, new: Mapping[int, int]) -> None:
    """Change the ids of special tokens that a post-processor adds, in place."""
    if processor is None:
        return
    for part in processor.get("processors", ()):
        _renumber(part, new)
    for name in ("sep", "cls"):
        if name in processor:
            token, old = processor[name]
            processor[name] = [token, new[old]]
    special = processor.get("special_tokens")
    for token in special.values() if isinstance(special, dict) else ():
        token["ids"] = [new[i] for i in token["ids"]]
