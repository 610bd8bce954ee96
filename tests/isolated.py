"""Run a command where nothing can be reached, and report what it tried to look up: the script of `test_privacy.py`.

Started within new user, network and mount namespaces. The only network is the loopback device, the only name server is this
script, which knows no name and counts who asks.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path


def serve(asked: list[str]) -> None:
    """Answer every question with "no such name"."""
    trap = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    trap.bind(("127.0.0.1", 53))

    def answer() -> None:
        while True:
            query, address = trap.recvfrom(4096)
            asked.append(name(query))
            trap.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], address)

    threading.Thread(target=answer, daemon=True).start()


def name(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels)


def main() -> None:
    out, *command = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    servers = Path(out).with_suffix(".resolv")
    servers.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", str(servers), "/etc/resolv.conf"], check=True)
    asked: list[str] = []
    serve(asked)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    Path(out).write_text(
        json.dumps({"code": done.returncode, "out": done.stdout, "err": done.stderr, "asked": asked})
    )


if __name__ == "__main__":
    main()
