"""Feed the texts of a dataset to an external model: token ids, attention mask and token types, or the texts themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.json_file import parse_json, read_regular
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.cast import NUMPY
from fairpress.runtime.backends.text_batches import MAX_IDS, MAX_ROWS, length_batches
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.external_file import ExternalFile, FileInput
from fairpress.runtime.onnx.per_call_ranges import PER_CALL_RANGES
from fairpress.tokenization.tokenizer import (
    MAX_TOKENIZER_BYTES,
    TOKENIZER_FILE,
    TextTokenizer,
    TokenIds,
)

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
SETTINGS_FILE, MODEL_FILE = "tokenizer_config.json", "config.json"
UNLIMITED = 2**16
"""A maximum length above this in tokenizer_config.json means that none was set."""


def plan_texts(
    file: ExternalFile,
    config: ExternalModelConfig,
    dataset: Dataset,
    source_name: str,
    guessed: list[str],
) -> ExternalModelConfig:
    """Return the configuration with the tokenizer, the maximum length, the padding id and the names of the inputs.

    What it does not name is taken from tokenizer.json, tokenizer_config.json and config.json beside the file. A file with
    one input of strings reads the texts themselves.

    Raises
    ------
    UserError
        The model does not read texts, or the tokenizer, its maximum length or its padding id is missing.
    """
    if config.columns is not None or config.layout is not None or config.scale is not None:
        raise UserError(f"{source_name}: {dataset.name!r} has texts; omit `columns`, `layout` and `scale`.")
    if reads_strings(file):
        if config.tokenizer is not None:
            raise UserError(
                f"{source_name}: the model reads the texts themselves, without a tokenizer; omit `tokenizer`."
            )
        return config
    roles = _roles(file, config, dataset, source_name)
    path = locate_tokenizer(file.path, config, source_name)
    if config.tokenizer is None:
        guessed.append("tokenizer")
    tokenizer = _json(path)
    max_length = config.max_length
    if max_length is None:
        max_length = _max_length(tokenizer, _json(path.with_name(SETTINGS_FILE)))
        if max_length is None:
            raise UserError(
                f"{path} does not say how long texts may be; set the longest sequence of token ids that the model reads in "
                f"{source_name}, such as `max_length: 128`."
            )
        guessed.append("max_length")
    fixed = _fixed_length(file)
    if fixed is not None and max_length > fixed:
        if config.max_length is not None:
            raise UserError(
                f"{source_name}: `max_length` is {max_length}, but the model reads exactly {fixed} token ids; set "
                f"`max_length: {fixed}`."
            )
        max_length = fixed
    pad_id = config.pad_id
    if pad_id is None:
        pad_id = _pad_id(tokenizer, _json(file.path.with_name(MODEL_FILE)))
        if pad_id is None and MASK not in roles.values():
            raise UserError(
                f"the model has no attention mask, and {path} names no padding token; set `pad_id` in {source_name} to the "
                "token id that fills up shorter texts."
            )
        pad_id = pad_id or 0
        guessed.append("pad_id")
    update = {
        "inputs": roles,
        "tokenizer": config.tokenizer or TOKENIZER_FILE,
        "max_length": max_length,
        "pad_id": pad_id,
    }
    return config.model_copy(update=update)


def reads_strings(file: ExternalFile) -> bool:
    """Return whether the only input of a file reads texts themselves."""
    return len(file.inputs) == 1 and file.inputs[0].type == "tensor(string)"


def text_batches(
    file: ExternalFile, encoded: TokenIds | None, rows: int, size: int | None = None
) -> list[np.ndarray]:
    """Return the positions of the texts of each call: similar lengths together; alone where ranges are computed per call."""
    if size is None and file.operators & PER_CALL_RANGES:
        size = 1
    limit = file.batch or size or MAX_ROWS
    if encoded is None:
        return [np.arange(start, min(start + limit, rows)) for start in range(0, rows, limit)]
    return length_batches(encoded.ids, encoded.lengths, limit, MAX_IDS)


def encode_rows(
    file: ExternalFile, config: ExternalModelConfig, dataset: Dataset, rows: np.ndarray, source_name: str
) -> TokenIds | None:
    """Return the token ids of some rows; None for data without texts, and for a file that reads the texts themselves."""
    if dataset.texts is None or reads_strings(file):
        return None
    encoded = _tokenizer(file, config, source_name).encode(dataset.texts[rows])
    _check_embedding(file, config, encoded)
    return encoded


def feed_texts(
    file: ExternalFile,
    config: ExternalModelConfig,
    texts: np.ndarray,
    encoded: TokenIds | None,
    batches: list[np.ndarray],
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays that the inputs of a file read for each batch of texts, padded to its longest text."""
    fixed = _fixed_length(file)
    for batch in batches:
        if encoded is None:
            spec = file.inputs[0]
            shape = (len(batch), *(1 for _ in (spec.shape or ())[1:]))
            yield {spec.name: texts[batch].reshape(shape)}
            continue
        width = fixed or int(encoded.lengths[batch].max())
        ids = np.full((len(batch), width), config.pad_id or 0, dtype=np.int64)
        kept = min(width, encoded.ids.shape[1])
        ids[:, :kept] = encoded.ids[batch, :kept]
        present = np.arange(width) < encoded.lengths[batch][:, None]
        ids[~present] = config.pad_id or 0
        arrays = {IDS: ids, MASK: present, TYPES: np.zeros_like(ids)}
        assert config.inputs is not None
        yield {
            spec.name: arrays[str(config.inputs[spec.name])].astype(NUMPY[spec.type]) for spec in file.inputs
        }


def class_names(file: ExternalFile, source_name: str) -> tuple[str, ...] | None:
    """Return the names of the outputs in config.json beside a file (id2label); None without names, such as LABEL_0.

    Raises UserError if they are not numbered from 0.
    """
    path = file.path.with_name(MODEL_FILE)
    names = _json(path).get("id2label")
    if names is None:
        return None
    numbers = [str(i) for i in range(len(names))] if isinstance(names, Mapping) else []
    if not numbers or set(names) != set(numbers) or not all(isinstance(n, str) for n in names.values()):
        raise UserError(
            f"id2label in {path} does not name the outputs 0, 1 … of the model; list the classes under `classes` in "
            f"{source_name}, in the order of the outputs."
        )
    ordered = tuple(names[number] for number in numbers)
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(ordered)) else ordered


def _roles(
    file: ExternalFile, config: ExternalModelConfig, dataset: Dataset, source_name: str
) -> dict[str, str]:
    """Return what each input reads: token ids, attention mask or token types."""
    known = (IDS, MASK, TYPES)
    given = {name: str(role) for name, role in (config.inputs or {}).items()}
    names = [spec.name for spec in file.inputs]
    for name, role in given.items():
        if name not in names:
            raise UserError(f"{source_name}: the model has no input {name!r}." + did_you_mean(name, names))
        if role not in known:
            raise UserError(
                f"{source_name}: `inputs` names {role!r} for {name!r}; it takes {', '.join(known)}."
                + did_you_mean(role, known)
            )
    roles = {spec.name: given.get(spec.name, spec.name) for spec in file.inputs}
    listed = "; ".join(map(str, file.inputs))
    if not any(_may_be_ids(spec) for spec in file.inputs):
        raise UserError(
            f"the model does not read texts, which {dataset.name!r} has: its inputs are {listed}."
        )
    unknown = [name for name, role in roles.items() if role not in known]
    if len(names) == 1 and unknown:
        roles, unknown = {names[0]: IDS}, []
    if unknown or IDS not in roles.values():
        raise UserError(
            f"the model's inputs are {listed}, and which of them reads what of a text is not known; say in {source_name} "
            f"under `inputs`, such as `{unknown[0] if unknown else names[0]}: {IDS}` ({', '.join(known)})."
        )
    for spec in file.inputs:
        if spec.type not in NUMPY or spec.type == "tensor(string)" or len(spec.shape or (1, 1)) != 2:
            raise UserError(
                f"the model's input {spec.name!r} is {spec}, and {roles[spec.name]} has numbers in rows × token ids; "
                "export it again."
            )
    return roles


def _may_be_ids(spec: FileInput) -> bool:
    return spec.type in ("tensor(int64)", "tensor(int32)") and len(spec.shape or (1, 1)) == 2


def _fixed_length(file: ExternalFile) -> int | None:
    """Return the number of token ids that a file requires; None for any."""
    return next(
        (s.shape[1] for s in file.inputs if s.shape is not None and len(s.shape) == 2 and s.shape[1]), None
    )


def _max_length(tokenizer: Mapping[str, Any], settings: Mapping[str, Any]) -> int | None:
    """Return the longest sequence that tokenizer.json or tokenizer_config.json names; None if neither does."""
    truncation = tokenizer.get("truncation")
    limit = truncation.get("max_length") if isinstance(truncation, Mapping) else None
    candidates: tuple[Any, ...] = (limit, settings.get("model_max_length"))
    return min((int(n) for n in candidates if _is_count(n, 1, UNLIMITED)), default=None)


def _pad_id(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> int | None:
    padding = tokenizer.get("padding")
    filler = padding.get("pad_id") if isinstance(padding, Mapping) else None
    return next((n for n in (model.get("pad_token_id"), filler) if _is_count(n, 0, 2**31 - 1)), None)


def _is_count(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _json(path: Path) -> Mapping[str, Any]:
    """Return the content of a JSON file; empty if there is none. Raises UserError if it is damaged."""
    if not path.is_file():
        return {}
    data = read_regular(path, "a JSON file", MAX_TOKENIZER_BYTES)
    content = parse_json(data, str(path), MAX_TOKENIZER_BYTES, remedy="copy it again", finite=False)
    return content if isinstance(content, Mapping) else {}


def locate_tokenizer(model: Path, config: ExternalModelConfig, source_name: str) -> Path:
    """Return the path of the tokenizer, which is beside the YAML or beside the ONNX file."""
    name = config.tokenizer or TOKENIZER_FILE
    places = [Path(source_name).parent / name, model.parent / name]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise UserError(
            f"{model} reads token ids, and there is no {places[0]}; copy the model's {TOKENIZER_FILE} there, or name it "
            f"under `tokenizer` in {source_name}."
        )
    return path


def _tokenizer(file: ExternalFile, config: ExternalModelConfig, source_name: str) -> TextTokenizer:
    path = locate_tokenizer(file.path, config, source_name)
    return _read_tokenizer(path, path.stat().st_mtime_ns, config.max_length or 1, config.pad_id or 0)


@lru_cache(maxsize=4)
def _read_tokenizer(path: Path, modified: int, max_length: int, pad_id: int) -> TextTokenizer:
    return TextTokenizer(read_regular(path, "a tokenizer", MAX_TOKENIZER_BYTES), max_length, pad_id)


def _check_embedding(file: ExternalFile, config: ExternalModelConfig, encoded: TokenIds) -> None:
    """Raise UserError if a token id is outside the embedding."""
    assert config.inputs is not None
    name = next(n for n, role in config.inputs.items() if role == IDS)
    known, largest = file.embedding_rows(name), int(encoded.ids.max(initial=0))
    if known is not None and largest >= known:
        raise UserError(
            f"the tokenizer {config.tokenizer} gives the token id {largest:,}, and the embedding of {file.path} has only "
            f"{known:,} rows; name the tokenizer that the model was trained with."
        )
