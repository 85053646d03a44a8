"""Fault injection for tests: a document that makes the child crash, hang or flood its owner.

Active only in a parser made with ``faults=True``. The document's first line is ``x-fault:NAME [ARGUMENT]``; NAME is a
function of this module, called with the argument, or without one with the handle of the child's output.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

_PREFIX = b"x-fault:"
_FAULTS: dict[str, Callable[[int], None]] = {}


def inject(content: int, output: int) -> None:
    """Run the fault that the document's first line names, if it names one."""
    line = os.pread(content, 200, 0).split(b"\n")[0].strip()
    if line.startswith(_PREFIX):
        name, _, argument = line.removeprefix(_PREFIX).decode().partition(" ")
        _FAULTS[name](int(argument) if argument else output)


def _fault(function: Callable[[int], None]) -> Callable[[int], None]:
    _FAULTS[function.__name__] = function
    return function


@_fault
def segv(output: int) -> None:
    """Read from address 0."""
    ctypes.string_at(0)


@_fault
def exit0(output: int) -> None:
    """End with success and without an answer."""
    os._exit(0)


@_fault
def oom(output: int) -> None:
    """Allocate 64 GiB."""
    blocks = [bytearray(64 << 20) for _ in range(1024)]
    raise AssertionError(len(blocks))


@_fault
def spin(output: int) -> None:
    """Use the processor without end."""
    while True:
        pass


@_fault
def sleep(output: int) -> None:
    """Wait without end and ignore signals."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(3600)


@_fault
def fork(output: int) -> None:
    """Leave a grandchild behind that holds every handle and ignores signals, then end."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path("marker").write_text("alive")
            sleep(output)
        os._exit(0)
    os.wait()
    os._exit(0)


@_fault
def flood(output: int) -> None:
    """Answer without end, with an impossible length."""
    block = b"\xff" * (1 << 20)
    while True:
        os.write(output, block)


@_fault
def stderr(output: int) -> None:
    """Write messages without end."""
    while True:
        os.write(2, b"x" * (1 << 20))


@_fault
def lie(output: int) -> None:
    """Answer with values of the wrong types and out of range."""
    body = b'{"elements": [["Title", 7, -1, null, null, []]], "pages": 1e99, "media_type": "a", "document": "another"}'
    os.write(output, len(body).to_bytes(8, "big") + body)
    os._exit(0)


@_fault
def short(output: int) -> None:
    """Announce more bytes than follow."""
    os.write(output, (1000).to_bytes(8, "big") + b'{"elements": [')
    os._exit(0)


@_fault
def network(port: int) -> None:
    """Connect to a port of this machine."""
    socket.create_connection(("127.0.0.1", port), 1)


@_fault
def write(output: int) -> None:
    """Write a file outside the document's folder."""
    Path("/tmp/mailroom-escaped").write_text("out")


@_fault
def secret(output: int) -> None:
    """Read a file outside the readable paths."""
    Path("/etc/passwd").read_text()
    os.write(output, b"read it")
