"""Create and evaluate each candidate once; artifacts, failures and predictions are kept in the store."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.compression.recipes import Recipe
from fairpress.core.attribute import Attribute, names_of
from fairpress.core.canonical_json import digest
from fairpress.core.card import ModelCard
from fairpress.core.errors import FairpressError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import CARD_FILE, ONNX_FILE, Artifact
from fairpress.searching.bounds import BASELINE, CANDIDATE
from fairpress.searching.row_split import RowSplit
from fairpress.store.local import Store
from fairpress.tokenization.tokenizer import TOKENIZER_FILE

CACHE_VERSION = 2  # increment when the way candidates are made changes
OPENING_KIND = "search/opening"


@dataclass(frozen=True)
class Candidate:
    """A candidate: its artifact or the reason why it failed, and the seconds that it took."""

    recipe: str
    artifact: Artifact | None
    failure: str | None
    seconds: float
    reused: bool


@dataclass(frozen=True)
class CandidateStore:
    """A baseline, the data divided into three sets of rows, and the store of results."""

    base: Artifact
    dataset: Dataset
    rows: RowSplit
    store: Store
    seed: int

    @property
    def origin(self) -> str:
        """Digest of everything that candidates depend on apart from their recipe."""
        weights = hashlib.sha256(self.base.weights or b"").hexdigest()
        versions = {n: version(n) for n in ("torch", "torchao", "onnxruntime")}
        rows = _rows_digest(self.dataset, self.rows.choosing)
        return digest(
            [
                *(
                    CACHE_VERSION,
                    self.base.digest,
                    weights,
                    self.dataset.fingerprint,
                    rows,
                    self.seed,
                    versions,
                ),
                *_tokenization(self.base),
            ]
        )

    def make(self, recipe: Recipe, on_message: OnMessage) -> Candidate:
        """Return the candidate of a recipe, from the store if it exists there; failures are stored, too.

        An exception raised by `on_message` stops the work, and nothing is stored.
        """
        from fairpress.compression.apply import compress

        key = digest(["search/candidate", self.origin, recipe.to_dict()])
        entry = self.store.get(key)
        if entry is not None:
            failure = entry.meta.get("failure")
            artifact = None
            if failure is None:
                card = ModelCard.from_json(entry.files[CARD_FILE].decode(), "the stored card")
                artifact = Artifact(card, entry.files[ONNX_FILE], tokenizer=entry.files.get(TOKENIZER_FILE))
            return Candidate(str(recipe), artifact, failure, float(entry.meta["seconds"]), True)
        began, artifact, failure = time.monotonic(), None, None
        try:
            (artifact,) = compress([self.base], recipe, [self.rows.recipe_data], [self.seed], on_message)
        except FairpressError as error:
            failure = str(error)
        seconds = time.monotonic() - began
        files = (
            {}
            if artifact is None
            else {
                n: data for n, data in artifact.files().items() if n in (ONNX_FILE, CARD_FILE, TOKENIZER_FILE)
            }
        )
        self.store.put(key, files, {"recipe": str(recipe), "failure": failure, "seconds": seconds})
        return Candidate(str(recipe), artifact, failure, seconds, False)

    def predicted_classes(self, artifact: Artifact, index: np.ndarray) -> np.ndarray:
        """Return the predicted class index of each row [len(index)]; predictions are cached in the store."""
        from fairpress.runtime.backends.base import Backend
        from fairpress.runtime.predict import predictions

        key = digest(
            [
                "search/decided",
                artifact.digest,
                artifact.card.threshold,
                self.dataset.fingerprint,
                _rows_digest(self.dataset, index),
                version("onnxruntime"),
                *_tokenization(artifact),
            ]
        )
        entry = self.store.get(key)
        if entry is not None:
            return np.asarray(np.load(io.BytesIO(entry.files["decided.npy"]), allow_pickle=False))
        view = Dataset(**{**self.dataset.__dict__, "parts": {"validation": index}})
        table = predictions(
            {CANDIDATE: artifact}, view, "validation", runtimes={CANDIDATE: Backend()}, batch_dependence=False
        )
        class_index = {name: i for i, name in enumerate(self.dataset.task.classes)}
        predicted = np.array([class_index[name] for name in table[CANDIDATE].to_pylist()], dtype=np.int16)
        stream = io.BytesIO()
        np.save(stream, predicted)
        self.store.put(key, {"decided.npy": stream.getvalue()}, {"recipe": artifact.card.recipe})
        return predicted

    def evidence(self, artifact: Artifact, index: np.ndarray, by: tuple[str, ...]) -> GroupEstimator:
        """Return an estimator of a candidate and the baseline on these rows, clustered by subject if subjects repeat."""
        import pyarrow as pa

        classes = np.array(self.dataset.task.classes)
        attributes = [Attribute.from_text(text) for text in by]
        names = names_of(attributes)
        subjects = self.dataset.subjects[index]
        repeated = len(np.unique(subjects)) < len(subjects)
        table = pa.table(
            {
                "label": pa.array(classes[self.dataset.labels[index]]),
                "subject": pa.array([str(s) for s in subjects]),
                BASELINE: pa.array(classes[self.predicted_classes(self.base, index)]),
                CANDIDATE: pa.array(classes[self.predicted_classes(artifact, index)]),
                **{f"by.{name}": pa.array(self.dataset.attributes[name][index]) for name in names},
            }
        )
        cells = count(
            TableSource(table),
            label="label",
            models=[BASELINE, CANDIDATE],
            by=[Attribute(tuple(f"by.{n}" for n in attribute.names)) for attribute in attributes],
            positive=self.dataset.task.positive,
            keys={"subject": "subject"} if repeated else None,
        )
        named = {name.removeprefix("by."): coded for name, coded in cells.attributes.items()}
        return GroupEstimator(replace(cells, attributes=named))

    def record_opening(
        self, rows: str, purpose: Mapping[str, Any], files: Mapping[str, bytes] | None = None
    ) -> None:
        """Record that judging or test rows were evaluated, and for what purpose; the same purpose is recorded once."""
        key = self._opening_key(rows, purpose)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        meta = {
            "kind": OPENING_KIND,
            "rows": rows,
            "of": self._baseline_key(),
            "what": dict(purpose),
            "at": now,
        }
        self.store.put(key, files or {}, meta)

    def opening_files(self, rows: str, purpose: Mapping[str, Any]) -> Mapping[str, bytes] | None:
        """Return the files stored with the opening for this purpose; None if there was none."""
        entry = self.store.get(self._opening_key(rows, purpose))
        return None if entry is None else entry.files

    def openings(self, rows: str) -> list[dict[str, Any]]:
        """Return every opening of judging or test rows for this baseline and dataset, in order of time."""
        metas = [m for k in self.store.all_keys() if (m := self.store.meta(k)) is not None]
        matches = [
            m
            for m in metas
            if m.get("kind") == OPENING_KIND and m["rows"] == rows and m["of"] == self._baseline_key()
        ]
        return sorted(({"at": m["at"], **m["what"]} for m in matches), key=lambda o: str(o["at"]))

    def _opening_key(self, rows: str, purpose: Mapping[str, Any]) -> str:
        return digest([OPENING_KIND, rows, self._baseline_key(), dict(purpose)])

    def _baseline_key(self) -> list[str]:
        return [self.base.digest, self.dataset.fingerprint]


def _tokenization(artifact: Artifact) -> list[object]:
    """Return what a model's answers depend on besides its ONNX file: tokenizer, maximum length and padding id of texts."""
    tokenizer = artifact.text_tokenizer
    return [] if tokenizer is None else [tokenizer.facts()]


def _rows_digest(dataset: Dataset, index: np.ndarray) -> str:
    return hashlib.sha256("\0".join(str(v) for v in dataset.row_ids[index]).encode()).hexdigest()
