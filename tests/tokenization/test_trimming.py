"""Trimmed vocabularies, against the tokenizers library itself."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from fairpress.core.errors import UserError
from fairpress.tokenization.byte_pair import train_byte_pair
from fairpress.tokenization.tokenizer import TextTokenizer
from fairpress.tokenization.trimming import choose_pieces, keep_pieces, read_vocabulary, uses_with_merges

LONG = 400
MANY = "the weather is good today and nobody stayed at work because the weathermen were right about the sun"
FEW = "hali ya hewa ni nzuri leo na hakuna mtu aliyebaki kazini kwa sababu watabiri walisema kweli"


def sentences(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    few = np.arange(rows) % 6 == 0
    words = [np.array(text.split()) for text in (MANY, FEW)]
    return [" ".join(rng.choice(words[int(f)], rng.integers(3, 14))) for f in few], few


def counted(tokenizer, texts, groups, size):
    ids = [np.array(e.ids) for e in tokenizer.encode_batch(texts)]
    return np.stack(
        [
            np.bincount(
                np.concatenate([i for i, g in zip(ids, groups, strict=True) if g == group]), minlength=size
            )
            for group in np.unique(groups)
        ]
    )


def trimmed(data, texts, groups, n_kept):
    vocabulary = read_vocabulary(data)
    counts = counted(Tokenizer.from_str(data.decode()), texts, groups, len(vocabulary.required))
    kept = choose_pieces(vocabulary, uses_with_merges(vocabulary, counts), counts.sum(axis=1), n_kept)
    return kept, Tokenizer.from_str(keep_pieces(vocabulary, kept).decode())


def growth(before, after, texts, groups):
    lengths = [np.array([len(e.ids) for e in t.encode_batch(texts)]) for t in (before, after)]
    return np.array(
        [lengths[1][groups == g].sum() / lengths[0][groups == g].sum() - 1 for g in (False, True)]
    )


def byte_pairs(size=420):
    texts, few = sentences()
    return train_byte_pair(texts, size, LONG), texts, few


def test_every_text_is_written_with_the_pieces_that_are_left():
    tokenizer, texts, _ = byte_pairs()
    kept, after = trimmed(tokenizer.data, texts, np.zeros(len(texts)), 300)
    before = Tokenizer.from_str(tokenizer.data.decode())
    assert after.get_vocab_size() == 300 == len(kept)
    assert {after.id_to_token(i): int(old) for i, old in enumerate(kept)} == {
        before.id_to_token(int(old)): int(old) for old in kept
    }
    for text in [*texts[:20], "Ünknown ẹkún 天気 🙂", ""]:
        encoding = after.encode(text)
        assert after.decode(encoding.ids).strip() == text
        assert encoding.ids[0] == after.token_to_id("[CLS]") == 1


def test_every_piece_that_is_left_can_still_be_made():
    """A piece of which a part was dropped would take up a row of the table for nothing."""
    tokenizer, texts, few = byte_pairs()
    _, after = trimmed(tokenizer.data, texts, few, 320)
    document = json.loads(after.to_str())
    made = {left + right for left, right in document["model"]["merges"]}
    pieces = {p for p in document["model"]["vocab"] if len(p) > 1 and not p.startswith("[")}
    assert pieces == made


def test_texts_grow_by_no_more_than_the_uses_of_what_goes():
    tokenizer, texts, _ = byte_pairs()
    vocabulary = read_vocabulary(tokenizer.data)
    before = Tokenizer.from_str(tokenizer.data.decode())
    counts = counted(before, texts, np.zeros(len(texts)), len(vocabulary.required))
    uses = uses_with_merges(vocabulary, counts)[0]
    kept, after = trimmed(tokenizer.data, texts, np.zeros(len(texts)), 300)
    dropped = np.setdiff1d(np.arange(len(uses)), kept)
    total = sum(len(e.ids) for e in after.encode_batch(texts)) - counts.sum()
    assert 0 < total <= uses[dropped].sum()
    # In any other choice that can be made, it would be more: here the uses of the kept pieces are the largest.
    free = kept[~vocabulary.required[kept]]
    assert uses[free].min() >= uses[dropped].max()


def test_the_group_whose_texts_grow_most_grows_less_when_groups_are_weighed():
    tokenizer, texts, few = byte_pairs()
    before = Tokenizer.from_str(tokenizer.data.decode())
    pooled = growth(before, trimmed(tokenizer.data, texts, np.zeros(len(texts)), 330)[1], texts, few)
    weighed = growth(before, trimmed(tokenizer.data, texts, few, 330)[1], texts, few)
    assert pooled.argmax() == 1  # the texts of the small group
    assert weighed.max() < 0.8 * pooled.max()


def word_piece():
    texts, _ = sentences()
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer, texts


def unigram():
    texts, _ = sentences()
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=["<s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer, texts


@pytest.mark.parametrize(("make", "n_kept", "unknown"), [(word_piece, 60, "[UNK]"), (unigram, 40, "<unk>")])
def test_tokenizers_without_merges_keep_what_is_used_most_and_all_characters(make, n_kept, unknown):
    before, texts = make()
    data = before.to_str().encode()
    kept, after = trimmed(data, texts, np.zeros(len(texts)), n_kept)
    assert after.get_vocab_size() == len(kept) == n_kept
    encodings = after.encode_batch(texts)
    assert not any(unknown in e.tokens for e in encodings)
    letters = {c for text in texts for c in text if c != " "}
    spelled = {piece.removeprefix("##").lstrip("▁") for piece in after.get_vocab()}
    assert letters <= spelled
    assert sum(len(e.ids) for e in encodings) > sum(len(e.ids) for e in before.encode_batch(texts))
    for special in ("[CLS]", "[SEP]") if make is word_piece else ():
        assert encodings[0].ids.count(after.token_to_id(special)) == 1


def test_ids_that_a_post_processor_adds_are_counted_anew():
    tokenizer, texts = word_piece()
    document = json.loads(tokenizer.to_str())
    # Special tokens behind pieces that go: their ids change.
    size = len(document["model"]["vocab"])
    for i, name in enumerate(("[CLS]", "[SEP]")):
        document["model"]["vocab"][f"unused{i}"] = document["model"]["vocab"].pop(name)
        document["model"]["vocab"][name] = size + i
    document["added_tokens"] = [
        {**t, "id": document["model"]["vocab"][t["content"]]} for t in document["added_tokens"]
    ]
    document["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "RobertaProcessing", "sep": ["[SEP]", size + 1], "cls": ["[CLS]", size], "trim_offsets": True,
             "add_prefix_space": False}
        ],
    }  # fmt: skip
    _, after = trimmed(json.dumps(document).encode(), texts, np.zeros(len(texts)), 100)
    ids = after.encode(texts[0]).ids
    assert (ids[0], ids[-1]) == (98, 99)
    assert [after.id_to_token(i) for i in (98, 99)] == ["[CLS]", "[SEP]"]


def test_a_tokenizer_of_whole_words_is_refused():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match="'WordLevel' cannot do; take a model with a tokenizer of kind BPE"):
        read_vocabulary(tokenizer.to_str().encode())


def test_a_trimmed_tokenizer_reads_as_shipped():
    tokenizer, texts, few = byte_pairs()
    vocabulary = read_vocabulary(tokenizer.data)
    kept, after = trimmed(tokenizer.data, texts, few, 300)
    shipped = TextTokenizer(keep_pieces(vocabulary, kept), 32, 0)
    assert shipped.size == 300
    encoded = shipped.encode(texts[:9])
    for row, text in zip(encoded.ids, texts[:9], strict=True):
        ids = after.encode(text).ids[:32]
        assert row.tolist() == ids + [0] * (32 - len(ids))
