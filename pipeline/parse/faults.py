"""Orders that a test gives the child in its document: crash, hang, flood. Obeyed only by a parser made with faults=True."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

_PREFIX = b"x-fault:"


def obey(content: int, output: int) -> None:
    """Do what the first line says, if it is an order."""
    first = os.pread(content, 200, 0).split(b"\n")[0].strip()
    if first.startswith(_PREFIX):
        order, _, argument = first.removeprefix(_PREFIX).decode().partition(" ")
        _ORDERS[order](int(argument) if argument else output)


def _segv(output: int) -> None:
    ctypes.string_at(0)


def _exit0(output: int) -> None:
    os._exit(0)


def _oom(output: int) -> None:
    hog = [bytearray(64 << 20) for _ in range(1024)]
    raise AssertionError(len(hog))


def _spin(output: int) -> None:
    while True:
        pass


def _sleep(output: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def _fork(output: int) -> None:
    """Leave a grandchild behind that holds every handle and ignores signals, then end."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path("marker").write_text("alive")
            _sleep(output)
        os._exit(0)
    os.wait()
    os._exit(0)


def _flood(output: int) -> None:
    block = b"\xff" * (1 << 20)
    while True:
        os.write(output, block)


def _stderr(output: int) -> None:
    while True:
        os.write(2, b"x" * (1 << 20))


def _lie(output: int) -> None:
    body = b'{"elements": [["Title", 7, -1, null, null, []]], "pages": 1e99, "media_type": "a", "document": "another"}'
    os.write(output, len(body).to_bytes(8, "big") + body)
    os._exit(0)


def _short(output: int) -> None:
    os.write(output, (1000).to_bytes(8, "big") + b'{"elements": [')
    os._exit(0)


def _network(port: int) -> None:
    import socket

    socket.create_connection(("127.0.0.1", port), 1)


def _write(output: int) -> None:
    Path("/tmp/mailroom-escaped").write_text("out")


def _secret(output: int) -> None:
    Path("/etc/passwd").read_text()
    os.write(output, b"read it")


_ORDERS = {
    "segv": _segv, "exit0": _exit0, "oom": _oom, "spin": _spin, "sleep": _sleep, "fork": _fork, "flood": _flood,
    "stderr": _stderr, "lie": _lie, "short": _short, "network": _network, "write": _write, "secret": _secret,
}  # fmt: skip
