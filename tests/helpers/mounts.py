"""Commands that find a folder read-only, or TMPDIR small."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def read_only(folder: Path, command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command in whose sight a folder is mounted read-only: permissions do not hold root back."""
    return _mounted(
        f'mount -o bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}"', command, options
    )


def small(
    folder: Path, size: str, command: Sequence[str], **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a command that finds a file system of a size (``"64k"``) at a folder."""
    return _mounted(f'mount -t tmpfs -o size={size} tmpfs "{folder}"', command, options)


def _mounted(
    mount: str, command: Sequence[str], options: Mapping[str, object]
) -> subprocess.CompletedProcess[str]:
    if not sys.platform.startswith("linux") or not all(map(shutil.which, ("unshare", "mount"))):
        pytest.skip("mounting a file system for one command needs Linux with unshare and mount")
    if subprocess.run([*UNSHARE, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    settings: dict[str, object] = {"env": os.environ, **options}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*UNSHARE, f'{mount} && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        timeout=300,
        **settings,
    )
