"""What is released: one version everywhere, a wheel that holds the package and nothing else, workflows that test it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fairpress.core.version import __version__
from pages import ROOT

LARGEST_WHEEL = 1_700_000
"""Bytes: source text alone, compressed, and room to grow. A data file or a picture would not fit in."""


def read_yaml(path: str):
    return YAML(typ="safe").load((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    source = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_one_version_is_named_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert read_yaml("CITATION.cff")["version"] == __version__
    assert read_yaml("CITATION.cff")["license"] == project["license"]


def test_the_changelog_has_this_version_in_a_length_that_is_read():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.*?)\](?: - (\S+))?$", text, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert versions[1] == (__version__, read_yaml("CITATION.cff")["date-released"])
    newest = re.split(r"^## ", text, flags=re.MULTILINE)[2]
    assert len(newest.splitlines()) <= 120
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", newest):
        assert (ROOT / target).exists(), target


def test_the_wheel_is_small_typed_and_complete(wheel):
    assert wheel.stat().st_size <= LARGEST_WHEEL, f"{wheel.stat().st_size:,} bytes"
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    package = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert "fairpress/py.typed" in names
    assert {name for name in names if name.startswith("fairpress/")} == package
    rest = {name.partition("/")[0] for name in names} - {"fairpress"}
    assert rest == {f"fairpress-{__version__}.dist-info"}


def test_the_wheel_holds_text_alone(wheel):
    suffixes = {
        Path(name).suffix for name in zipfile.ZipFile(wheel).namelist() if name.startswith("fairpress/")
    }
    assert suffixes <= {".py", ".typed", ".j2", ".yaml", ".json"}


@pytest.mark.slow
def test_the_wheel_audits_without_the_repository(wheel, tmp_path):
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        site,
        wheel,
    ]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("import fairpress; print(fairpress.__file__)").startswith(str(site))
    command = "from fairpress.cli import main; main({})"
    run(command.format(["demo"]))
    arguments = [
        "audit",
        "fairpress-demo/predictions.csv",
        "--baseline",
        "fp32",
        "--compressed",
        "int8",
        "--by",
        "sex",
    ]
    assert "int8 against fp32: ✔ no harm in error rate" in run(
        command.format([*arguments, "--html", "audit.html"])
    )
    assert (tmp_path / "audit.html").is_file()


def test_every_supported_python_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = {c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)}
    tested = set(read_yaml(".github/workflows/tests.yml")["jobs"]["fast"]["strategy"]["matrix"]["python"])
    assert supported <= tested
    assert f"3.{min(int(v.partition('.')[2]) for v in tested)}" == project["requires-python"].removeprefix(
        ">="
    )


def test_publishing_needs_no_token():
    jobs = read_yaml(".github/workflows/publish.yml")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8")


def test_no_workflow_puts_what_others_wrote_into_a_script():
    """Names of branches, titles and inputs reach a script through the environment, where no shell reads them as code."""
    for path in [ROOT / "action.yml", *(ROOT / ".github/workflows").glob("*.yml")]:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
        for step in [step for job in jobs for step in job["steps"]]:
            assert "${{" not in step.get("run", ""), f"{path.name}: {step['run']}"
