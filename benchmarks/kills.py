"""Kill a study's processes at random moments, go on until it is finished, and compare with one that nobody disturbed.

    python benchmarks/kills.py --kills 60 --where local                       tasks that read, wait and write
    python benchmarks/kills.py --kills 20 --where local --study networks      networks that train, are compressed and audited
    python benchmarks/kills.py --kills 40 --where s3                          needs fairpress[s3] and moto[server]
    python benchmarks/kills.py --kills 30 --where ray                         needs fairpress[ray]; two raylets here

Killed are the driver (SIGKILL, SIGTERM), a worker (SIGKILL, SIGTERM) and, on Ray, a raylet. A round ends when the study has
finished; then every result is compared byte for byte, and what lies about is counted: processes, files in TMPDIR, hidden and
half-written files, objects in the bucket that are no results. Linux only: processes are found through /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARK = "FAIRPRESS_KILLS"
CHAINS, SECONDS, BYTES = 15, 0.3, 20_000
FROM_THE_START = 0.15
STUDY = """
title: Killed
dataset: compas
model: {name: mlp, widths: [8]}
training: {max_epochs: 1}
recipes: [w8]
seeds: 2
networks_per_task: 1
audit: {by: [sex]}
"""
LIMIT = 600.0


def tasks() -> list[Any]:
    """Return `CHAINS` times a task and one that reads its result."""
    from fairpress.studies.plan import make

    found = []
    for i in range(CHAINS):
        first = make("naive", f"first-{i}", {"number": i})
        found += [first, make("join", f"second-{i}", {"number": i}, [first.key])]
    return found


def perform(root: str, task: Any) -> float:
    """Do what a real task does in its order: lock, read, compute beside a temporary file, write."""
    from fairpress.store.remote import open_store

    store = open_store(root)
    with store.lock(task.key):
        if store.get(task.key) is None:
            read = b"".join(store.get(key).files["a"] for key in task.inputs)  # type: ignore[union-attr]
            with tempfile.NamedTemporaryFile() as file:
                file.write(b"x" * BYTES)
                time.sleep(SECONDS)
            content = hashlib.sha256(task.key.encode() + read).digest() * (BYTES // 32)
            store.put(task.key, {"a": content, "b": content[::-1]}, {"kind": task.kind, "seconds": SECONDS})
    return SECONDS


def drive(store: str, address: str) -> int:
    """Run the tasks, as a study does; a process of its own calls this."""
    from fairpress.core import temporary
    from fairpress.store.remote import open_store
    from fairpress.studies import executor
    from fairpress.studies.pool import Interruptible
    from fairpress.studies.ray_engine import RayEngine

    executor.perform = perform
    with contextlib.ExitStack() as stack:
        stack.enter_context(temporary.used(temporary.folder()))
        place = open_store(store)
        engine = stack.enter_context(RayEngine(address, place)) if address else None
        stack.enter_context(Interruptible())
        try:
            outcome = executor.execute(tasks(), place, workers=2, engine=engine)
        except KeyboardInterrupt:
            return 143
    return 0 if outcome.complete else 3


class Place:
    """Where results go and tasks run: a folder and processes of this machine."""

    victims = ("driver SIGKILL", "driver SIGTERM", "worker SIGKILL", "worker SIGTERM")
    codes: tuple[int, ...] = ()

    def __init__(self, root: Path) -> None:
        self.root = root

    def variables(self) -> dict[str, str]:
        return {}

    def store(self, number: int) -> str:
        return str(self.root / f"round-{number}" / "store")

    def address(self) -> str:
        return ""

    def kill(self, what: str, driver: subprocess.Popen[bytes], mark: str, rng: random.Random) -> bool:
        """Kill; return whether there was something to kill."""
        who, number = what.split()
        found = [driver.pid] if who == "driver" else self.workers(driver, mark)
        if not found or driver.poll() is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(found), getattr(signal, number))
            return True
        return False

    def workers(self, driver: subprocess.Popen[bytes], mark: str) -> list[int]:
        """Return the processes that perform tasks: children of the server of processes, a child of the driver."""
        parents = {pid: parent_of(pid) for pid in marked(mark)}
        return [p for p, parent in parents.items() if parents.get(parent) == driver.pid]

    def lies_about(self, number: int) -> list[str]:
        """Return what is in the store that is no result."""
        store = Path(self.store(number))
        entries = store / "entries"
        known = ("entries", "locks")
        beside = [p for p in store.rglob("*") if p.is_file() and p.relative_to(store).parts[0] not in known]
        hidden = list(entries.rglob(".*"))
        return [str(p.relative_to(store)) for p in (*beside, *hidden)]

    def close(self) -> None:
        return


class Bucket(Place):
    """A bucket of a server that speaks S3, and processes of this machine."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        os.environ |= self.variables()
        import s3fs

        self.files = s3fs.S3FileSystem()
        self.files.mkdir("bucket")

    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def store(self, number: int) -> str:
        return f"s3://bucket/round-{number}"

    def lies_about(self, number: int) -> list[str]:
        self.files.invalidate_cache()
        found = self.files.find(f"bucket/round-{number}")
        unfinished = self.files.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads", [])
        return [p for p in found if not p.endswith(".tar")] + [str(u["Key"]) for u in unfinished]

    def close(self) -> None:
        self.server.stop()


class Raylets(Place):
    """A folder, and a Ray cluster of two raylets on this machine, with a core each."""

    victims = ("driver SIGKILL", "driver SIGTERM", "worker SIGKILL", "raylet SIGKILL", "head SIGKILL")
    codes = (1, -signal.SIGABRT)  # how Ray ends a driver whose raylet is lost

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.start()

    def start(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False}
        self.cluster = patient(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.second = patient(lambda: self.cluster.add_node(num_cpus=1))
        self.cluster.wait_for_nodes(60)

    def address(self) -> str:
        return str(self.cluster.address)

    def workers(self, driver: subprocess.Popen[bytes], mark: str) -> list[int]:
        def title(pid: int) -> bytes:
            with contextlib.suppress(OSError):
                return Path(f"/proc/{pid}/cmdline").read_bytes()
            return b""

        raylets = {self.pid(n) for n in self.cluster.list_all_nodes()}
        found = [int(p.name) for p in Path("/proc").glob("[0-9]*") if parent_of(int(p.name)) in raylets]
        # Not its agents: a raylet ends with them.
        there = {p: t for p in found if (t := title(p)).startswith(b"ray::") and b"Agent" not in t}
        return [p for p, t in there.items() if b"IDLE" not in t] or list(there)

    def pid(self, node: Any) -> int:
        return int(node.all_processes["raylet"][0].process.pid)

    def kill(self, what: str, driver: subprocess.Popen[bytes], mark: str, rng: random.Random) -> bool:
        if driver.poll() is not None:
            return False
        if what.startswith("raylet"):
            self.cluster.remove_node(self.second, allow_graceful=False)
            self.second = patient(lambda: self.cluster.add_node(num_cpus=1))
            return True
        if what.startswith("head"):  # the driver is lost with it, and the cluster
            os.kill(self.pid(self.cluster.head_node), signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(60)
            driver.kill()
            self.cluster.shutdown()
            self.start()
            return True
        return super().kill(what, driver, mark, rng)

    def close(self) -> None:
        self.cluster.shutdown()


def patient(start: Callable[[], Any]) -> Any:
    """Start a node of Ray, again where it does not come up within Ray's 30 seconds on a busy machine."""
    for _ in range(4):
        with contextlib.suppress(Exception):
            return start()
    return start()


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def marked(mark: str) -> list[int]:
    """Return the processes that were started with a mark, without those that have ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            there = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if there and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(folder.name))
    return found


class Rounds:
    """Rounds of one study at one place."""

    def __init__(self, place: Place, root: Path, study: str, rng: random.Random) -> None:
        self.place, self.root, self.study, self.rng = place, root, study, rng
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        (root / "killed.yaml").write_text(STUDY)

    def start(self, number: int, mark: str) -> subprocess.Popen[bytes]:
        folder = self.root / f"round-{number}"
        folder.mkdir(exist_ok=True)
        store, address = self.place.store(number), self.place.address()
        if self.study == "tasks":
            command = [sys.executable, __file__, "--drive", store, address]
        else:
            # The folder of the study has one name, which is in its report.
            engine = ["--engine", "ray", "--address", address] if address else []
            line = [
                "study",
                "run",
                "../killed.yaml",
                "--out",
                "out",
                "--store",
                store,
                "--workers",
                "2",
                *engine,
            ]
            command = [sys.executable, "-c", "from fairpress.cli import main; main()", *line]
        environment = {
            **os.environ,
            **self.place.variables(),
            MARK: mark,
            "TMPDIR": str(self.temporary),
            "FAIRPRESS_CACHE": str(self.root / "cache"),
        }
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def results(self, number: int) -> dict[str, str]:
        """Return what a round made: name → sha256, without what holds timings."""
        from fairpress.store.remote import open_store

        store = open_store(self.place.store(number))
        found = {}
        for key in store.all_keys():
            entry = store.get(key)
            assert entry is not None, f"{key} is damaged"
            for name, data in entry.files.items():
                found[f"{key[:12]}/{name}"] = hashlib.sha256(data).hexdigest()
        out = self.root / f"round-{number}" / "out"
        for path in (p for p in out.rglob("*") if p.is_file()):
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def undisturbed(self) -> tuple[dict[str, str], float]:
        began = time.monotonic()
        driver = self.start(0, f"{self.root}-0")
        if driver.wait(LIMIT):
            raise SystemExit((self.root / "round-0" / "log").read_text())
        return self.results(0), time.monotonic() - began

    def disturbed(self, number: int, span: float, most: int) -> Iterator[str]:
        """Run a round to its end, and yield each kill."""
        mark, kills = f"{self.root}-{number}", 0
        driver = self.start(number, mark)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if kills < most:
                # Most kills come while tasks run, some while the driver starts.
                late = self.rng.random() > FROM_THE_START
                while late and driver.poll() is None and not self.place.workers(driver, mark):
                    time.sleep(0.05)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(self.rng.uniform(0.0, span))
                what = self.rng.choice(self.place.victims)
                at_work = bool(self.place.workers(driver, mark))
                if driver.poll() is None and self.place.kill(what, driver, mark, self.rng):
                    kills += 1
                    yield what
                    if at_work:
                        yield "at work"
                    if what.startswith(("driver", "head")):
                        driver.wait(60)
            else:
                driver.wait(LIMIT)
            code = driver.poll()
            if code == 0:
                return
            if code is not None:
                if code not in (2, 3, 143, -signal.SIGKILL, -signal.SIGTERM, *self.place.codes):
                    raise SystemExit(
                        f"code {code}: {(self.root / f'round-{number}' / 'log').read_text()[-3000:]}"
                    )
                yield f"exit {code}"
                driver = self.start(number, mark)
        raise SystemExit(f"round {number} does not end")

    def left(self, number: int) -> Counter[str]:
        """Count what a finished round has left."""
        found: Counter[str] = Counter()
        end = time.monotonic() + 15
        while (alive := marked(f"{self.root}-{number}")) and time.monotonic() < end:
            time.sleep(0.1)
        found["processes"] = len(alive)
        for path in self.temporary.iterdir():
            found["in TMPDIR"] += 1
            print("left:", path, [p.name for p in path.rglob("*")][:5] if path.is_dir() else "", flush=True)
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        for name in self.place.lies_about(number):
            found["in the store"] += 1
            print("left:", name, flush=True)
        out = self.root / f"round-{number}" / "out"
        hidden = [p for p in out.rglob("*") if p.name.startswith(".") and p.name != ".fairpress.json"]
        found["in the study's folder"] = len(hidden) + (out / "progress.json").exists()
        return found


PLACES = {"local": Place, "s3": Bucket, "ray": Raylets}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--where", choices=PLACES, default="local")
    parser.add_argument("--study", choices=("tasks", "networks"), default="tasks")
    parser.add_argument("--a-round", type=int, default=10, help="the most kills a round")
    parser.add_argument("--span", type=float, default=3.0, help="the most seconds to the next kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=2, metavar=("STORE", "ADDRESS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        return drive(*given.drive)
    rng = random.Random(given.seed)
    kills: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    left: Counter[str] = Counter()
    other = number = at_work = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = PLACES[given.where](Path(folder))
        try:
            rounds = Rounds(place, Path(folder), given.study, rng)
            wanted, took = rounds.undisturbed()
            print(f"undisturbed: {len(wanted)} files, {took:.1f} s", flush=True)
            left += rounds.left(0)
            while sum(kills.values()) < given.kills:
                number += 1
                most = min(given.a_round, given.kills - sum(kills.values()))
                for event in rounds.disturbed(number, given.span, most):
                    if event == "at work":
                        at_work += 1
                    else:
                        (ends if event.startswith("exit") else kills)[event] += 1
                found = rounds.results(number)
                differ = sorted(k for k in {*wanted, *found} if wanted.get(k) != found.get(k))
                other += len(differ)
                left += rounds.left(number)
                print(
                    f"round {number}: {sum(kills.values())} kills, {len(differ)} files differ {differ[:3]}",
                    flush=True,
                )
        finally:
            place.close()
    print(f"\n| {given.where}, {given.study} | |\n|---|---|")
    for name, count in sorted(kills.items()):
        print(f"| {name} | {count} |")
    print(f"| kills | {sum(kills.values())} in {number} rounds |")
    print(f"| of these while workers were there | {at_work} |")
    print(f"| drivers that ended before the study | {dict(sorted(ends.items()))} |")
    print(f"| results, files each | {len(wanted)} |")
    print(f"| files that differ from the undisturbed run | {other} |")
    print(f"| left behind | {dict(+left) or 0} |")
    return 1 if other or +left else 0


if __name__ == "__main__":
    sys.exit(main())
