"""A finished study told to MLflow: every network once, with what its audit says, and no credentials anywhere."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fairpress import cli
from fairpress.auditing.audit import audit
from fairpress.core.errors import UserError
from fairpress.studies.tracking.mlflow import _credentials_in_environment, export_mlflow
from fairpress.studies.tracking.networks import metric_name, read_finished_study
from made_study import made_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made_study(tmp_path_factory.mktemp("runs") / "small")


def test_a_trial_holds_what_its_own_audit_says(study):
    reported = read_finished_study(study)
    trials = {t.name: t for t in reported.trials()}
    assert len(trials) == len({t.key for t in trials.values()}) == 4
    result = trials["int8, seed 1, fold 0"]
    assert result.params == {"dataset": "compas", "model": "mlp", "recipe": "int8", "seed": "1", "fold": "0"}
    table = pq.read_table(study / "predictions.parquet", filters=[("seed", "=", 1)])
    own = audit(
        table.drop_columns([c for c in table.column_names if c.endswith(".score")]),
        baseline="fp32", compressed=["int8"], by=["sex"], positive="yes",
    )  # fmt: skip
    women = next(g for a in own.comparisons[0].attributes for g in a.groups if g.values == {"sex": "<25"})
    loss = next(x.estimate for x in women.losses if x.metric == "accuracy")
    name = "loss/accuracy/sex: below 25"
    assert [result.metrics[name + end] for end in ("", ".low", ".high", ".n")] == [
        loss.value, loss.low, loss.high, loss.n,
    ]  # fmt: skip
    assert result.metrics["accuracy"] == own.models[1].overall.rates["accuracy"].value
    assert result.metrics["bytes"] == 3000
    assert result.tags["fairpress.verdict"] == own.comparisons[0].verdict
    assert set(json.loads(result.files["audit.json"])["comparisons"]) == {"int8"}
    assert result.files["model_card.md"].startswith(b"---\n")
    assert not [k for k in trials["fp32, seed 0, fold 0"].metrics if k.startswith("loss")]
    # What cannot be estimated is absent, not 0 or NaN.
    assert "tpr/sex: Nobody positive" not in result.metrics
    assert "accuracy/sex: Nobody positive" in result.metrics


def test_keys_stay_and_filters_choose(study):
    whole, part = read_finished_study(study), read_finished_study(study, ["recipe=int8,seed=0"])
    assert [f.recipe for f in part.facts] == ["int8"]
    assert set(part.keys) < set(whole.keys)
    assert [t.key for t in whole.trials(frozenset(whole.keys) - set(part.keys))] == part.keys
    with pytest.raises(UserError, match="the study has no recipe 'int2'"):
        read_finished_study(study, ["recipe=int2"])


@pytest.mark.parametrize(
    ("text", "name"), [("<25", "below 25"), ("a/b", "a-b"), ("x=1", "x_3d_1"), ("é, ü", "é ü"), ("..", "_")]
)  # fmt: skip
def test_names_of_metrics_hold_letters_that_mlflow_takes(text, name):
    assert metric_name(text) == name


def test_what_is_wrong_is_one_sentence_without_credentials(study, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="set `uri=` or MLFLOW_TRACKING_URI"):
        export_mlflow(study)
    with pytest.raises(UserError, match="`uri=` takes an address"):
        export_mlflow(study, "runs/")
    with pytest.raises(UserError, match=r"is not a study's folder"):
        export_mlflow(tmp_path, "http://localhost:1")
    with _credentials_in_environment("https://me:se%2Fcret@host:1/x") as bare:
        assert bare == "https://host:1/x"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "se/cret"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        UserError, match=r"needs its client; run `python -m pip install 'fairpress\[mlflow\]'"
    ):
        export_mlflow(study, "http://localhost:1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an MLflow server that ends with the tests."""
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    pytest.importorskip("mlflow.server", reason="MLflow's server is not installed; `pip install mlflow`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("mlflow")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=folder
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1500):
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_server_holds_every_network_once(study, server, capsys, monkeypatch, tmp_path):
    from mlflow import MlflowClient

    address = server.replace("://", "://me:secret-word@")
    export_mlflow(study, address, only=["recipe=int8,seed=0"])
    # Interrupted: a run that has not ended is gone on with.
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("small").experiment_id
    reported = read_finished_study(study)
    (above,) = client.search_runs([experiment], f"tags.`fairpress.trial` = '{reported.key}'")
    tags = {
        "fairpress.study": reported.key,
        "fairpress.trial": reported.keys[0],
        "mlflow.parentRunId": above.info.run_id,
    }
    left = client.create_run(experiment, tags=tags)
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", "mlflow", str(study), "--uri", address])
    assert stop.value.code == 0
    output = capsys.readouterr()
    assert f"experiment small at {server}: 3 networks exported, 1 were there" in output.out
    assert "secret-word" not in output.out + output.err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    again = export_mlflow(study)
    assert (again.new, again.existing) == (0, 4)
    runs = client.search_runs([experiment])
    assert len(runs) == 5
    assert {r.info.status for r in runs} == {"FINISHED"}
    (above,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    assert {f.path for f in client.list_artifacts(above.info.run_id)} >= {
        "report.html",
        "audit.json",
        "study.json",
    }
    # A report that was written again is told again, in the same run.
    (study / "report.html").write_text((study / "report.html").read_text() + "<!-- again -->")
    assert export_mlflow(study).new == 0
    runs = client.search_runs([experiment])
    assert len(runs) == 5
    page = client.download_artifacts(above.info.run_id, "report.html", str(tmp_path))
    assert Path(page).read_text().endswith("<!-- again -->")
    by_key = {r.data.tags["fairpress.trial"]: r for r in runs}
    assert by_key[reported.keys[0]].info.run_id == left.info.run_id
    for trial in reported.trials():
        run = by_key[trial.key]
        assert run.data.params == trial.params
        assert run.data.metrics == pytest.approx(trial.metrics)
        assert run.data.tags["mlflow.parentRunId"] == above.info.run_id
        assert {f.path for f in client.list_artifacts(run.info.run_id)} == set(trial.files)
        assert "secret-word" not in str(run.to_dictionary())
    with pytest.raises(UserError, match=r"MLflow at http://.*/nowhere refused") as error:
        export_mlflow(study, f"{address}/nowhere")
    assert "secret-word" not in str(error.value)
