"""Fault injection for tests: a document that makes the child crash, hang or flood its owner.

Active only in a parser made with ``faults=True``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from pathlib import Path

_PREFIX = b"x-fault:"


def inject(content: int, output: int) -> None:
    """Run the fault that the document's first line names, if it names one (``x-fault:NAME [ARGUMENT]``)."""
    line = os.pread(content, 200, 0).split(b"\n")[0].strip()
    if line.startswith(_PREFIX):
        name, _, argument = line.removeprefix(_PREFIX).decode().partition(" ")
        _FAULTS[name](int(argument) if argument else output)


def _segfault(output: int) -> None:
    ctypes.string_at(0)


def _exit_silently(output: int) -> None:
    os._exit(0)


def _exhaust_memory(output: int) -> None:
    blocks = [bytearray(64 << 20) for _ in range(1024)]
    raise AssertionError(len(blocks))


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


def _flood_output(output: int) -> None:
    block = b"\xff" * (1 << 20)
    while True:
        os.write(output, block)


def _flood_stderr(output: int) -> None:
    while True:
        os.write(2, b"x" * (1 << 20))


def _send_wrong_types(output: int) -> None:
    body = b'{"elements": [["Title", 7, -1, null, null, []]], "pages": 1e99, "media_type": "a", "document": "another"}'
    os.write(output, len(body).to_bytes(8, "big") + body)
    os._exit(0)


def _send_half_a_frame(output: int) -> None:
    os.write(output, (1000).to_bytes(8, "big") + b'{"elements": [')
    os._exit(0)


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 1)


def _write_outside(output: int) -> None:
    Path("/tmp/mailroom-escaped").write_text("out")


def _read_outside(output: int) -> None:
    Path("/etc/passwd").read_text()
    os.write(output, b"read it")


_FAULTS = {
    "segv": _segfault,
    "exit0": _exit_silently,
    "oom": _exhaust_memory,
    "spin": _spin,
    "sleep": _sleep,
    "fork": _fork,
    "flood": _flood_output,
    "stderr": _flood_stderr,
    "lie": _send_wrong_types,
    "short": _send_half_a_frame,
    "network": _connect,
    "write": _write_outside,
    "secret": _read_outside,
}
