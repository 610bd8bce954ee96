"""No packet leaves unasked: commands run where a name server counts who asks, and home and TMPDIR are looked through."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from fairpress.core.telemetry import SWITCHES, silence

HERE = Path(__file__).parent


def can_isolate() -> bool:
    if not sys.platform.startswith("linux") or not all(map(shutil.which, ("unshare", "ip", "mount"))):
        return False
    tried = subprocess.run(
        ["unshare", "--map-root-user", "--net", "--mount", "ip", "link", "set", "lo", "up"],
        capture_output=True,
    )
    return tried.returncode == 0


isolated_only = pytest.mark.skipif(not can_isolate(), reason="no network namespace can be made here")


def isolated(folder: Path, *command: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a command without a network and with a home and a TMPDIR of its own."""
    home, temporary, result = folder / "home", folder / "tmp", folder / "result.json"
    for path in (home, temporary, folder / "work"):
        path.mkdir(exist_ok=True)
    retained = {
        k: v
        for k, v in os.environ.items()
        if k not in SWITCHES and not k.startswith(("XDG_", "FAIRPRESS_CACHE"))
    }
    subprocess.run(
        [
            "unshare",
            "--map-root-user",
            "--net",
            "--mount",
            sys.executable,
            str(HERE / "helpers" / "isolated.py"),
            str(result),
            *command,
        ],
        cwd=folder / "work",
        env={**retained, "HOME": str(home), "TMPDIR": str(temporary), **(environment or {})},
        check=True,
        timeout=700,
    )
    return dict(json.loads(result.read_text()))


def fairpress(folder: Path, *arguments: str) -> dict[str, Any]:
    return isolated(folder, sys.executable, "-c", "from fairpress.cli import main; main()", *arguments)


def left(folder: Path) -> list[str]:
    """Return the files in home and TMPDIR, without fairpress's own cache."""
    outcome = [p for part in ("home", "tmp") for p in (folder / part).rglob("*") if p.is_file()]
    cache = folder / "home" / ".cache" / "fairpress"
    return sorted(p.relative_to(folder).as_posix() for p in outcome if not p.is_relative_to(cache))


def test_switches_are_set_but_not_over_a_users_choice():
    environment = {"ORT_DISABLE_TELEMETRY": "0"}
    silence(environment)
    assert environment == {**SWITCHES, "ORT_DISABLE_TELEMETRY": "0"}


def test_switches_are_set_before_anything_is_imported():
    code = (
        "import sys, os, fairpress; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    retained = {k: v for k, v in os.environ.items() if k not in SWITCHES}
    done = subprocess.run(
        [sys.executable, "-c", code], env=retained, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "1"]


@isolated_only
def test_the_trap_sees_a_look_up(tmp_path):
    code = "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: print('unknown')"
    outcome = isolated(tmp_path, sys.executable, "-c", code)
    assert outcome["out"].strip() == "unknown"
    assert "example.org" in outcome["asked"]
    assert outcome["packets"] == []


@isolated_only
@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
def test_the_trap_sees_a_packet_to_an_address(tmp_path, address):
    code = (
        f"import socket\ntry: socket.create_connection(({address!r}, 80), 5)\nexcept OSError: print('nobody')"
    )
    outcome = isolated(tmp_path, sys.executable, "-c", code)
    assert outcome["out"].strip() == "nobody"
    assert address in outcome["packets"]


@isolated_only
@pytest.mark.slow
def test_commands_look_nothing_up_and_write_where_they_were_asked_to(tmp_path, data_folder):
    commands = [
        ["demo"],
        ["doctor"],
        [
            "audit",
            "fairpress-demo/predictions.csv",
            "--baseline",
            "fp32",
            "--compressed",
            "int8",
            "--by",
            "sex",
        ],
        ["train", "mlp", "--data", "compas", "--epochs", "2", "--out", "base"],
        ["compress", "base", "--recipe", "int8", "--out", "int8"],
        ["predict", "fp32=base", "int8=int8", "--out", "p.parquet"],
        ["bench", "base", "int8", "--seconds", "12"],
    ]
    for command in commands:
        outcome = fairpress(tmp_path, *command)
        assert outcome["code"] == 0, (command, outcome["err"])
        assert outcome["asked"] == outcome["packets"] == [], command
        assert left(tmp_path) == [], command
    assert {p.name for p in (tmp_path / "work").iterdir()} == {"fairpress-demo", "base", "int8", "p.parquet"}


@isolated_only
@pytest.mark.slow
def test_a_long_lived_process_reports_nothing(tmp_path):
    code = """
import time
import fairpress
import numpy as np, onnx.parser, onnxruntime
text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n,3] x) => (float[n,3] y) { y = Relu(x) }'
session = onnxruntime.InferenceSession(onnx.parser.parse_model(text).SerializeToString())
session.run(None, {"x": np.zeros((2, 3), np.float32)})
time.sleep(20)
"""
    outcome = isolated(tmp_path, sys.executable, "-c", code)
    assert outcome["code"] == 0, outcome["err"]
    assert outcome["asked"] == outcome["packets"] == []
    assert left(tmp_path) == []


DASHBOARD = """
import re, signal, subprocess, sys, time, urllib.error, urllib.request
def get(address):
    for _ in range(300):  # the address is printed before anybody listens
        try:
            return urllib.request.urlopen(address, timeout=60)
        except urllib.error.URLError:
            time.sleep(0.2)
command = [sys.executable, "-uc", "from fairpress.cli import main; main()", "dashboard", ".", "--port", "0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
try:
    address = server.stdout.readline().split()[0]
    pages, seen = [""], set()
    while pages and len(seen) < 12:
        page = pages.pop(0)
        seen.add(page)
        with get(address + page) as answer:
            text = answer.read().decode("utf-8", "replace")
            kind = answer.headers["Content-Type"]
        links = re.findall('href="/([^"#]+)"', text) if kind.startswith("text/html") else []
        pages += [link for link in dict.fromkeys(links) if link not in seen and link not in pages]
    time.sleep(10)
    server.send_signal(signal.SIGINT)
    server.wait(30)
    print(len(seen))
finally:
    server.kill()
"""


@isolated_only
@pytest.mark.slow
def test_workers_servers_and_other_runtimes_look_nothing_up(tmp_path, data_folder):
    study = [
        "compas",
        "seeds=1",
        "folds=2",
        "recipes=[int8]",
        "training.max_epochs=2",
        "size_accuracy_bias=null",
        "claims={}",
    ]
    commands = [
        ["study", "run", *study, "--workers", "2", "--out", "small"],
        ["report", "small"],
        ["study", "export", "small", "--only", "seed=0,fold=0", "--out", "models"],
        ["predict", "ort=models/fp32", "ov=models/fp32@openvino", "--out", "p.parquet"],
        ["mitigate", "models/fp32", "--by", "race", "--out", "repaired"],
    ]
    search = [
        "search",
        "models/fp32",
        "--by",
        "sex",
        "--max-group-loss",
        "0.5",
        "--budget",
        "20s",
        "--no-train",
    ]
    commands.append([*search, "--recipe", "int8", "--out", "best"])
    written = {"small", "models", "p.parquet", "repaired", "best"}
    if util.find_spec("mlflow"):
        commands.append(["study", "mlflow", "small", "--uri", (tmp_path / "work" / "mlruns").as_uri()])
        written.add("mlruns")
    if util.find_spec("ray"):
        commands.append(["study", "run", *study, "--engine", "ray", "--address", "local", "--out", "ray"])
        written.add("ray")
    for command in commands:
        outcome = fairpress(tmp_path, *command)
        # A slow machine ends a search before anything is found.
        late = command[0] == "search" and "budget of 20 s ended" in outcome["err"]
        assert late or outcome["code"] == 0, (command, outcome["out"], outcome["err"])
        assert outcome["asked"] == outcome["packets"] == [], command
        assert left(tmp_path) == [], command
    outcome = isolated(tmp_path, sys.executable, "-c", DASHBOARD)
    assert outcome["code"] == 0, outcome["err"]
    assert int(outcome["out"]) > 3
    assert outcome["asked"] == outcome["packets"] == []
    assert left(tmp_path) == []
    # What belongs to a study or a search lies beside it, and begins with a dot.
    assert {p.name for p in (tmp_path / "work").iterdir() if not p.name.startswith(".")} | {"best"} == written


@isolated_only
@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("ai_edge_litert") is None, reason="the extra litert is not installed")
def test_litert_reports_nothing_while_it_loads_and_runs_a_file(tmp_path):
    code = """
import pathlib, time
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.external.engines.litert import load_litert
from fairpress.runtime.external.engines.litert_file import one_node
import numpy as np
pathlib.Path("m.tflite").write_bytes(one_node())
engine = load_litert(pathlib.Path("m.tflite"), Backend("litert"))
print(engine.run(["y"], {"x": np.ones((1, 1), np.float32)})[0])
time.sleep(10)
"""
    outcome = isolated(tmp_path, sys.executable, "-c", code)
    assert (outcome["code"], outcome["out"].strip()) == (0, "[[-1.]]"), outcome["err"]
    assert outcome["asked"] == outcome["packets"] == []
    assert left(tmp_path) == []
