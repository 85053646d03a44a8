"""The system-call filter, run by the kernel on a process of its own, and its program for both architectures."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from pipeline.parse import confine

ALLOWED = 0x7FFF0000


def decide(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """Run a classic BPF program of loads, comparisons and returns as the kernel does."""
    instructions = list(struct.iter_unpack("HBBI", program))
    data = struct.pack("IIQQ", number, architecture, 0, argument)
    accumulator = at = 0
    while True:
        opcode, if_true, if_false, constant = instructions[at]
        at += 1
        if opcode == 0x20:
            (accumulator,) = struct.unpack_from("I", data, constant)
        elif opcode == 0x06:
            return constant
        else:
            comparison = accumulator == constant if opcode == 0x15 else accumulator >= constant
            at += if_true if comparison else if_false


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_denies_the_listed_calls_and_nothing_else(machine: str, architecture: int) -> None:
    program = confine.seccomp_filter(machine)
    denied = {number for number in range(600) if decide(program, architecture, number, socket.AF_UNIX) != ALLOWED}
    assert denied == {numbers[machine] for numbers in confine._DENIED_CALLS.values()}
    call = confine._SOCKET_CALL[machine]
    families = [family for family in range(50) if decide(program, architecture, call, family) == ALLOWED]
    assert families == [socket.AF_UNIX]
    assert decide(program, architecture, 0x40000000 + 1) != ALLOWED
    assert decide(program, 0x40000003, 1) != ALLOWED


def test_the_kernel_enforces_the_filter() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcomes = [str(confine.deny_system_calls()), str(confine.unshare(confine.CLONE_NEWUSER))]
            socket.socket(socket.AF_UNIX).close()
            try:
                socket.socket(socket.AF_INET)
            except OSError as error:
                outcomes.append(errno.errorcode[error.errno or 0])
            os.write(writer, " ".join(outcomes).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"True False EPERM"
    os.close(reader)
