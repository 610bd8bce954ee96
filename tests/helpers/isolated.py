"""Run a command where nothing can be reached, and report what it tried to look up: the script of `test_privacy.py`.

Started within new user, network and mount namespaces. The only network is the loopback device, the only name server is this
script, which knows no name and counts who asks. Every other address is routed to the loopback device too, where nobody
answers and each packet is seen.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

EVERY_PROTOCOL, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD


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


def watch(packets: list[str]) -> None:
    """Note the addresses outside this machine that packets are sent to."""
    for family, everywhere in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        subprocess.run(["ip", family, "route", "add", "local", everywhere, "dev", "lo"], check=family == "-4")
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERY_PROTOCOL))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    wire.bind(("lo", 0))

    def look() -> None:
        while True:
            head, where = wire.recvfrom(64)
            if where[2] != socket.PACKET_OUTGOING:
                continue
            if where[1] == IPV4:
                ends = [ipaddress.ip_address(head[at : at + 4]) for at in (12, 16)]
            elif where[1] == IPV6:
                ends = [ipaddress.ip_address(head[at : at + 16]) for at in (8, 24)]
            else:
                continue
            # An answer to such a packet comes from its address.
            packets.extend(str(end) for end in ends if not end.is_loopback)

    threading.Thread(target=look, daemon=True).start()


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
    packets: list[str] = []
    serve(asked)
    watch(packets)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    time.sleep(0.2)  # the last packets are read
    result = {
        "code": done.returncode,
        "out": done.stdout,
        "err": done.stderr,
        "asked": asked,
        "packets": packets,
    }
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
