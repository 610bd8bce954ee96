"""The tokenizer of a Hugging Face folder, and how long its sequences may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.core.json_file import parse_json, read_regular
from fairpress.models.huggingface.transformers_calls import local_and_quiet
from fairpress.tokenization.tokenizer import MAX_TOKENIZER_BYTES, TOKENIZER_FILE, TextTokenizer

SETTINGS_FILE = "tokenizer_config.json"
SLOW_FILES = ("vocab*", "*.model", "merges.txt", "*.tiktoken")
DEFAULT_MAX_LENGTH = 512
# Position embeddings of these models begin after the padding id (`create_position_ids_from_input_ids`).
POSITIONS_AFTER_PADDING = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
SAVE_AGAIN = "save it next to the model with tokenizer.save_pretrained"


def read_tokenizer(path: Path, config: Mapping[str, Any], max_length: int | None) -> TextTokenizer:
    """Return the tokenizer of a folder. A slow tokenizer is converted by transformers.

    Raises UserError if there is none, it cannot be converted, or it does not fit the model or the length.
    """
    file = path / TOKENIZER_FILE
    data = read_regular(file, "a tokenizer", MAX_TOKENIZER_BYTES) if file.is_file() else _converted(path)
    settings_file = path / SETTINGS_FILE
    settings: Any = {}
    if settings_file.is_file():
        settings = parse_json(
            read_regular(settings_file, "a tokenizer's settings", MAX_TOKENIZER_BYTES),
            str(settings_file),
            MAX_TOKENIZER_BYTES,
            remedy=SAVE_AGAIN,
            finite=False,
        )
    return fitted(data, settings if isinstance(settings, dict) else {}, config, max_length, str(path))


def fitted(
    data: bytes, settings: Mapping[str, Any], config: Mapping[str, Any], max_length: int | None, name: str
) -> TextTokenizer:
    """Return the tokenizer for a model.

    Parameters
    ----------
    data
        The bytes of tokenizer.json.
    settings
        ``pad_token`` and ``model_max_length``, as in tokenizer_config.json.
    config
        The model's config.json.
    name
        Names the tokenizer's origin in messages.

    Raises
    ------
    UserError
        The tokenizer cannot be read, has no padding token or another than the model, has ids that the embedding table does
        not have, or `max_length` is more than the model's positions.
    """
    pad_id = _pad_id(data, settings, config, name)
    limit = position_limit(config)
    if max_length is not None and limit is not None and max_length > limit:
        raise UserError(
            f"the maximum length {max_length} is more than the {limit} positions of {name}; choose at most {limit}."
        )
    stated = settings.get("model_max_length")
    stated_limit = stated if isinstance(stated, int) and 0 < stated < 2**20 else None
    length = max_length or min(n for n in (limit, stated_limit, DEFAULT_MAX_LENGTH) if n)
    tokenizer = TextTokenizer(data, length, pad_id)
    size, rows = tokenizer.max_id + 1, config.get("vocab_size")
    if isinstance(rows, int) and size > rows:
        raise UserError(
            f"the tokenizer of {name} has ids up to {size - 1:,}, and the embedding table {rows:,} rows; give the tokenizer "
            "that the model was trained with, or enlarge the table (model.resize_token_embeddings), train it and save both."
        )
    encoded = tokenizer.encode(["a"])
    if bool((encoded.ids[0, : encoded.lengths[0]] == pad_id).any()):
        raise UserError(
            f"the tokenizer of {name} pads with a token that it also puts into texts (id {pad_id}); give it a padding token "
            "of its own (tokenizer.add_special_tokens), resize the embedding table, train the model and save both."
        )
    if any(tokenizer.token_types("a")):
        raise UserError(
            f"the tokenizer of {name} gives tokens of one text different types, which fairpress does not pass on; pass a "
            "module that makes them of the token ids, with batches of token ids as `data=`."
        )
    return tokenizer


def position_limit(config: Mapping[str, Any]) -> int | None:
    """Return the longest sequence that a model has position embeddings for; None if positions are not stored."""
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(positions, int) or positions < 1:
        return None
    if config["model_type"] in POSITIONS_AFTER_PADDING:
        return positions - int(config.get("pad_token_id") or 0) - 1
    return positions


def _pad_id(data: bytes, settings: Mapping[str, Any], config: Mapping[str, Any], name: str) -> int:
    token = settings.get("pad_token")
    token = token.get("content") if isinstance(token, Mapping) else token
    from_model = config.get("pad_token_id")
    if isinstance(token, str):
        pad_id = TextTokenizer(data, DEFAULT_MAX_LENGTH, 0).id_of(token)
        if pad_id is None:
            raise UserError(
                f"the tokenizer of {name} has no id for its padding token {token!r}; {SAVE_AGAIN}."
            )
        if isinstance(from_model, int) and from_model != pad_id:
            raise UserError(
                f"the tokenizer of {name} pads with id {pad_id}, and the model's pad_token_id is {from_model}; give the "
                "tokenizer that the model was trained with, or correct pad_token_id in config.json."
            )
        return pad_id
    if isinstance(from_model, int) and from_model >= 0:
        return from_model
    padding = json.loads(data).get("padding")
    if isinstance(padding, Mapping) and isinstance(padding.get("pad_id"), int):
        return int(padding["pad_id"])
    raise UserError(
        f"{name} names no padding token; set tokenizer.pad_token and model.config.pad_token_id to one that texts do not "
        "contain, and save both."
    )


def _converted(path: Path) -> bytes:
    """Return tokenizer.json of a folder that has the files of a slow tokenizer only.

    Without any file, transformers would make a tokenizer that knows no word.
    """
    if not any(file for pattern in SLOW_FILES for file in path.glob(pattern)):
        raise UserError(f"{path} has no tokenizer ({TOKENIZER_FILE}); {SAVE_AGAIN}.")
    with local_and_quiet():
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False, use_fast=True
            )
            return tokenizer_json(tokenizer)
        except UserError:
            raise
        except Exception as error:  # a tokenizer class may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(
                f"{path} has no {TOKENIZER_FILE}, and transformers cannot make one of its files ({reason[:200]}); "
                f"{SAVE_AGAIN}."
            ) from None


def tokenizer_json(tokenizer: Any) -> bytes:
    """Return the bytes of tokenizer.json of a transformers tokenizer. Raises UserError if it is a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        raise UserError(
            f"{type(tokenizer).__name__} has no tokenizer.json; give a fast tokenizer: "
            "AutoTokenizer.from_pretrained(…, use_fast=True)."
        )
    return str(backend.to_str()).encode("utf-8")
