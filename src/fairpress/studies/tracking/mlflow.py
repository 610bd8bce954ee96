"""Export a finished study to MLflow as an experiment with a run for the study and a nested run per network.

A run has the key of its trial as a tag, and a trial whose run has ended is not exported again. Credentials are passed to
MLflow in the environment, not in the address, which MLflow repeats in messages.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fairpress.core.env import environment
from fairpress.core.errors import UserError
from fairpress.core.network import connection_problem
from fairpress.core.progress import Progress
from fairpress.core.urls import credentials_in, first_line, redact_url
from fairpress.studies.tracking.networks import FinishedStudy, NetworkTrial, read_finished_study

TRIAL, STUDY, STATE = "fairpress.trial", "fairpress.study", "fairpress.state"
BATCH = 500  # MLflow takes 1,000 values at a time


@dataclass(frozen=True)
class MlflowExport:
    """Server and experiment of an export, and the numbers of new and of existing runs."""

    server: str
    experiment: str
    new: int
    existing: int


def export_mlflow(
    folder: Path,
    uri: str | None = None,
    *,
    experiment: str | None = None,
    only: Sequence[str] = (),
    progress: Progress | None = None,
) -> MlflowExport:
    """Export a finished study to an MLflow server.

    Parameters
    ----------
    folder
        The folder written by `run_study`. The store is not needed.
    uri
        The server's address, or a database (``sqlite:///runs.db``); by default the value of MLFLOW_TRACKING_URI.
    experiment
        Name of the MLflow experiment; by default that of the study.
    only
        Filters, as for a run; by default all networks.
    progress
        Called with what is being done, the number of networks exported, and their total.

    Raises
    ------
    UserError
        MLflow is not installed, no server responds or it refuses, or the folder is not a study's. Messages never contain
        credentials.
    """
    address = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address:
        raise UserError("no MLflow server is given; set `uri=` or MLFLOW_TRACKING_URI.")
    if "://" not in address:
        raise UserError("`uri=` takes an address, such as http://host:5000 or sqlite:///runs.db.")
    study = read_finished_study(folder, only)
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        raise UserError(
            "exporting to MLflow needs its client; run `python -m pip install 'fairpress[mlflow]'`."
        ) from None
    name = redact_url(address)
    _check_reachable(address, name)
    with _credentials_in_environment(address) as server, _quiet():
        try:
            client = mlflow.MlflowClient(server)
            return _Export(client, name, experiment or study.name).export(study, progress)
        except (MlflowException, OSError, ModuleNotFoundError, ValueError) as error:
            raise UserError(
                f"MLflow at {name} refused ({type(error).__name__}{first_line(error, credentials_in(server))}). "
                "Networks already exported are kept; the same command continues from there."
            ) from None


class _Export:
    def __init__(self, client: Any, server: str, name: str) -> None:
        self.client, self.server, self.name = client, server, name

    def export(self, study: FinishedStudy, progress: Progress | None) -> MlflowExport:
        self.experiment = self._experiment()
        runs = self._existing_runs(study.key)
        finished = frozenset(k for k, (_, ended) in runs.items() if ended)
        parent = self._study_run(study, runs.get(study.key))
        keys = study.keys
        total, n_done = len(keys), sum(k in finished for k in keys)
        n_existing = n_done
        for trial in study.trials(finished):
            self._network_run(trial, study, parent, runs.get(trial.key))
            n_done += 1
            if progress is not None:
                progress("exported", n_done, total)
        return MlflowExport(self.server, self.name, n_done - n_existing, n_existing)

    def _experiment(self) -> str:
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment is None:
            return str(self.client.create_experiment(self.name))
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"the experiment {self.name!r} was deleted at {self.server}; restore it, or choose another `experiment=`."
            )
        return str(experiment.experiment_id)

    def _existing_runs(self, key: str) -> dict[str, tuple[str, bool]]:
        """Return key of a trial → the id of its run, and whether that run has ended."""
        runs: dict[str, tuple[str, bool]] = {}
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment], f"tags.`{STUDY}` = '{key}'", max_results=1000, page_token=token
            )
            for run in page:
                ended = run.info.status == "FINISHED"
                trial = run.data.tags.get(TRIAL, "")
                if ended or trial not in runs:
                    runs[trial] = (run.info.run_id, ended)
            token = page.token
            if not token:
                return runs

    def _study_run(self, study: FinishedStudy, existing: tuple[str, bool] | None) -> str:
        """Return the id of the run of the study itself, which contains its report."""
        state = _state(study.files.values())
        if existing is not None and existing[1]:
            stored_state = self.client.get_run(existing[0]).data.tags.get(STATE)
            if stored_state == state:
                return existing[0]
        tags = {STUDY: study.key, TRIAL: study.key, "mlflow.note.content": study.title}
        run_id = existing[0] if existing else self._create(study.name, tags)
        params = {"study": study.name, "command": study.manifest.command, "data": study.data}
        self._log(run_id, {k: v for k, v in params.items() if v}, {"networks": float(len(study.facts))})
        for path in study.files.values():
            self.client.log_artifact(run_id, str(path))
        self.client.set_tag(run_id, STATE, state)
        self.client.set_terminated(run_id)
        return run_id

    def _network_run(
        self, trial: NetworkTrial, study: FinishedStudy, parent: str, existing: tuple[str, bool] | None
    ) -> None:
        tags = {STUDY: study.key, TRIAL: trial.key, "mlflow.parentRunId": parent, **trial.tags}
        run_id = existing[0] if existing else self._create(trial.name, tags)
        self._log(run_id, trial.params, trial.metrics)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in trial.files.items():
                (Path(folder) / name).write_bytes(content)
            self.client.log_artifacts(run_id, folder)
        self.client.set_terminated(run_id)

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self.client.create_run(self.experiment, tags=dict(tags), run_name=name).info.run_id)

    def _log(self, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        values = [Metric(k, v, now, 0) for k, v in metrics.items()]
        self.client.log_batch(run_id, params=[Param(k, str(v)[:6000]) for k, v in params.items()])
        for start in range(0, len(values), BATCH):
            self.client.log_batch(run_id, metrics=values[start : start + BATCH])


def _state(files: Iterable[Path]) -> str:
    """Return the sha256 of a study's report and audits, to detect a rewritten report."""
    state = hashlib.sha256()
    for path in sorted(files):
        state.update(f"{path.name}\0".encode() + path.read_bytes())
    return state.hexdigest()


@contextmanager
def _credentials_in_environment(address: str) -> Iterator[str]:
    """Yield the address without user and password, which are set in the environment for MLflow's client.

    A database's address is yielded unchanged: its driver reads credentials only from the address.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.username:
        yield address
        return
    names = {"MLFLOW_TRACKING_USERNAME": parts.username, "MLFLOW_TRACKING_PASSWORD": parts.password or ""}
    with environment({name: unquote(value) for name, value in names.items()}):
        yield parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log of MLflow, which repeats addresses, and its two printed lines per run."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with environment({"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_reachable(address: str, name: str) -> None:
    """Raise UserError if nothing listens at the address: MLflow itself would retry for minutes."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return
    try:
        problem = connection_problem(
            parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        )
    except ValueError:  # of `port`
        problem = "the port is not a number"
    if problem is not None:
        raise UserError(f"no MLflow server responds at {name} ({problem}); start one with `mlflow server`.")
