"""Make candidates and run them, once: what was made, what failed and what was predicted stays in the store."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.compression.recipes import Recipe
from fairpress.core.canonical_json import digest
from fairpress.core.card import ModelCard
from fairpress.core.errors import FairpressError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.searching.bounds import BASELINE, CANDIDATE
from fairpress.searching.row_split import RowSplit
from fairpress.store.local import Store

STEP = 2  # raised when candidates are made otherwise than before
OPENING = "search/opening"


@dataclass(frozen=True)
class Candidate:
    """A candidate: its file, or the sentence that says why there is none, and the seconds it took."""

    recipe: str
    artifact: Artifact | None
    failure: str | None
    seconds: float
    reused: bool


@dataclass(frozen=True)
class CandidateStore:
    """A baseline, the data in three sets of rows, and where results are kept."""

    base: Artifact
    dataset: Dataset
    rows: RowSplit
    store: Store
    seed: int

    @property
    def origin(self) -> str:
        """The digest of everything that candidates depend on beside their recipe."""
        weights = hashlib.sha256(self.base.weights or b"").hexdigest()
        versions = {n: version(n) for n in ("torch", "torchao", "onnxruntime")}
        rows = _rows_digest(self.dataset, self.rows.choosing)
        return digest([STEP, self.base.digest, weights, self.dataset.fingerprint, rows, self.seed, versions])

    def make(self, recipe: Recipe, say: Callable[[str], None]) -> Candidate:
        """Return the candidate of a recipe, from the store where it was made before; failures are kept too.

        What `say` raises ends the making, and nothing is kept of it.
        """
        from fairpress.compression.apply import compress
        from fairpress.compression.errors import VerificationError

        key = digest(["search/candidate", self.origin, recipe.to_dict()])
        entry = self.store.get(key)
        if entry is not None:
            failure = entry.meta.get("failure")
            artifact = None
            if failure is None:
                card = ModelCard.from_json(entry.files["card.json"].decode(), "the stored card")
                artifact = Artifact(card, entry.files["model.onnx"])
            return Candidate(str(recipe), artifact, failure, float(entry.meta["seconds"]), True)
        began, artifact, failure = time.monotonic(), None, None
        try:
            (artifact,) = compress([self.base], recipe, [self.rows.making], [self.seed], say)
        except (FairpressError, VerificationError) as error:
            failure = str(error)
        seconds = time.monotonic() - began
        files = (
            {}
            if artifact is None
            else {"model.onnx": artifact.onnx, "card.json": artifact.card.to_json().encode()}
        )
        self.store.put(key, files, {"recipe": str(recipe), "failure": failure, "seconds": seconds})
        return Candidate(str(recipe), artifact, failure, seconds, False)

    def decided(self, artifact: Artifact, index: np.ndarray) -> np.ndarray:
        """Return the class index of each row [len(index)] that a file decides for, kept in the store."""
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
            ]
        )
        entry = self.store.get(key)
        if entry is not None:
            return np.asarray(np.load(io.BytesIO(entry.files["decided.npy"]), allow_pickle=False))
        view = Dataset(**{**self.dataset.__dict__, "parts": {"validation": index}})
        table = predictions({CANDIDATE: artifact}, view, "validation", runtimes={CANDIDATE: Backend()})
        at = {name: i for i, name in enumerate(self.dataset.task.classes)}
        found = np.array([at[name] for name in table[CANDIDATE].to_pylist()], dtype=np.int16)
        stream = io.BytesIO()
        np.save(stream, found)
        self.store.put(key, {"decided.npy": stream.getvalue()}, {"recipe": artifact.card.recipe})
        return found

    def evidence(self, artifact: Artifact, index: np.ndarray, by: tuple[str, ...]) -> GroupEstimator:
        """Return what these rows say of a candidate beside the baseline; people are the unit where rows repeat them."""
        classes = np.array(self.dataset.task.classes)
        names = list(dict.fromkeys(name for attribute in by for name in attribute.split("*")))
        subjects = self.dataset.subjects[index]
        repeated = len(np.unique(subjects)) < len(subjects)
        table = pa.table(
            {
                "label": pa.array(classes[self.dataset.labels[index]]),
                "subject": pa.array([str(s) for s in subjects]),
                BASELINE: pa.array(classes[self.decided(self.base, index)]),
                CANDIDATE: pa.array(classes[self.decided(artifact, index)]),
                **{f"by.{name}": pa.array(self.dataset.attributes[name][index]) for name in names},
            }
        )
        cells = count(
            TableSource(table),
            label="label",
            models=[BASELINE, CANDIDATE],
            by=["*".join(f"by.{n}" for n in attribute.split("*")) for attribute in by],
            positive=self.dataset.task.positive,
            keys={"subject": "subject"} if repeated else None,
        )
        named = {name.removeprefix("by."): coded for name, coded in cells.attributes.items()}
        return GroupEstimator(type(cells)(**{**cells.__dict__, "attributes": named}))

    def open(self, rows: str, what: Mapping[str, Any], files: Mapping[str, bytes] | None = None) -> None:
        """Write down that judging or test rows were looked at, for what; the same once more is no new opening."""
        key = self._opening(rows, what)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        meta = {"kind": OPENING, "rows": rows, "of": self._data(), "what": dict(what), "at": now}
        self.store.put(key, files or {}, meta)

    def opened(self, rows: str, what: Mapping[str, Any]) -> Mapping[str, bytes] | None:
        """Return the files kept with an opening of just this kind; None where there was none."""
        entry = self.store.get(self._opening(rows, what))
        return None if entry is None else entry.files

    def openings(self, rows: str) -> list[dict[str, Any]]:
        """Return every opening of judging or test rows for this baseline on this data, the first first."""
        metas = [m for k in self.store.all_keys() if (m := self.store.meta(k)) is not None]
        own = [m for m in metas if m.get("kind") == OPENING and m["rows"] == rows and m["of"] == self._data()]
        return sorted(({"at": m["at"], **m["what"]} for m in own), key=lambda o: str(o["at"]))

    def _opening(self, rows: str, what: Mapping[str, Any]) -> str:
        return digest([OPENING, rows, self._data(), dict(what)])

    def _data(self) -> list[str]:
        return [self.base.digest, self.dataset.fingerprint]


def _rows_digest(dataset: Dataset, index: np.ndarray) -> str:
    return hashlib.sha256("\0".join(str(v) for v in dataset.row_ids[index]).encode()).hexdigest()
