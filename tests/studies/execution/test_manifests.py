"""What the documentation hands out for clusters: a script that the shell can read, a manifest of fields that KubeRay has."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from fairpress.cli.app import app
from fairpress.cli.commands import register
from pages import ROOT

MANIFESTS = ROOT / "docs" / "manifests"
PROGRAM = "fairpress study run compas --engine ray --address auto"


class Known(BaseModel):
    """Fields by KubeRay's API reference (https://ray-project.github.io/kuberay/reference/api/); no others."""

    model_config: ClassVar = ConfigDict(extra="forbid", strict=True)


class Amounts(Known):
    cpu: str
    memory: str


class Resources(Known):
    requests: Amounts
    limits: Amounts


class Container(Known):
    name: str
    image: str
    env: list[dict[Literal["name", "value"], str]]
    resources: Resources
    volumeMounts: list[dict[Literal["name", "mountPath"], str]]


class Volume(Known):
    name: str
    persistentVolumeClaim: dict[Literal["claimName"], str]


class PodSpec(Known):
    containers: list[Container] = Field(min_length=1)
    volumes: list[Volume]


class Template(Known):
    spec: PodSpec


class Head(Known):
    rayStartParams: dict[str, str]
    template: Template


class Workers(Head):
    groupName: str
    replicas: int = Field(ge=1)
    minReplicas: int = Field(ge=1)
    maxReplicas: int = Field(ge=1)


class Auth(Known):
    mode: Literal["token", "disabled"]


class Cluster(Known):
    rayVersion: str
    authOptions: Auth
    headGroupSpec: Head
    workerGroupSpecs: list[Workers] = Field(min_length=1)


class Spec(Known):
    entrypoint: str
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    backoffLimit: int
    rayClusterSpec: Cluster


class RayJob(Known):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: dict[Literal["name"], str]
    spec: Spec


def test_the_manifest_has_fields_of_kuberay_and_runs_a_command_that_there_is():
    result = RayJob.model_validate(YAML(typ="safe", pure=True).load(MANIFESTS / "rayjob.yaml"))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", result.metadata["name"])
    assert result.spec.entrypoint.startswith(PROGRAM)
    _parses(result.spec.entrypoint)
    cluster = result.spec.rayClusterSpec
    images = set()
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        pod = group.template.spec
        (container,) = pod.containers
        images.add(container.image)
        # Every pod sees the store and the data.
        assert {m["name"] for m in container.volumeMounts} == {v.name for v in pod.volumes}
        assert container.volumeMounts[0]["mountPath"] == "/shared"
        assert {"name": "FAIRPRESS_CACHE", "value": "/shared/cache"} in container.env
    assert len(images) == 1


def test_the_script_for_slurm_is_read_by_the_shell_and_tells_every_node_one_token():
    script = MANIFESTS / "study.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    assert text.index("RAY_AUTH_MODE=token") < text.index("srun ray symmetric-run")
    command = text.partition(" -- \\\n")[2].strip()
    assert command.startswith(PROGRAM)
    _parses(command)


def test_symmetric_run_takes_what_the_script_gives_it():
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.scripts.symmetric_run import symmetric_run

    assert {"address", "min_nodes"} <= {p.name for p in symmetric_run.params}


def _parses(command):
    """Let the program read its arguments, without running anything."""
    program, *arguments = shlex.split(command)
    assert program == "fairpress"
    register(arguments)
    app.parse_args(arguments, exit_on_error=False, print_error=False)
