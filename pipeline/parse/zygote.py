"""The process that parses are forked from: it has imported the readers once and never opens a document itself.

    owner (a worker)  --one request, three handles-->  zygote  --fork-->  monitor  --fork-->  child

The *monitor* of a document leads its own session, gives the child a pid namespace, kills it when the owner hangs up or
the time is over, and reports how it ended. The *child* confines itself (`confine`), reads one document (`read`), writes
one answer and ends. When the owner dies, the zygote sees the end of its control socket; monitor and child die
with their parents (PDEATHSIG). Importing the readers costs 1.4 CPU seconds, a fork a few milliseconds.

Started by `launch` as ``python -P -m pipeline.parse.zygote``; standard input is the control socket.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from pipeline.parse import confine
from pipeline.parse.limits import MIB
from pipeline.parse.protocol import ChildExit, ParseRequest, SandboxSupport

#: the largest file that the child may write
_FILE_BYTES = 256 * MIB
_STACK_BYTES = 64 * MIB
_PROCESSES = 64
#: seconds over the limit after which a monitor kills on its own, should the owner have forgotten to hang up
_EXTRA_SECONDS = 10.0


def main() -> None:
    """Serve requests on standard input until the owner hangs up or dies."""
    control = socket.socket(fileno=os.dup(0))
    owner = os.getppid()
    isolated = confine.isolate_network()  # before any import that might start a thread
    from pipeline.parse import read

    read.warm_up()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the monitors
    control.send(json.dumps(dataclasses.asdict(SandboxSupport(isolated, confine.landlock_abi()))).encode())
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while os.getppid() == owner:
        if not poll.poll(2000):
            continue
        request, handles = _receive(control)
        if request is None:
            return
        if os.fork() == 0:
            _monitor(control, request, handles, isolated)
        for handle in handles:
            os.close(handle)


def _receive(control: socket.socket) -> tuple[ParseRequest | None, list[int]]:
    handles = array.array("i")
    data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(3 * handles.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            handles.frombytes(payload[: len(payload) - len(payload) % handles.itemsize])
    return (ParseRequest.from_json(data) if data else None), list(handles)


# --- the monitor ------------------------------------------------------------------------------------------------------


def _monitor(control: socket.socket, request: ParseRequest, handles: list[int], isolated: bool) -> NoReturn:
    """Run one child to its end and report it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    zygote = os.getppid()
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)
    os.setsid()
    control.close()
    content, output, report = handles
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    contained = isolated and confine.unshare(confine.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        os.close(report)
        _child(request, content, output)
    os.close(content)
    os.close(output)
    _wait_and_report(child, report, request.limits.wall_seconds + _EXTRA_SECONDS)
    if not contained:
        confine.kill_descendants()
    os._exit(0)


def _wait_and_report(child: int, report: int, seconds: float) -> None:
    """Wait until the child ends, the owner hangs up or the time is over; then report how the child ended."""
    owner = socket.socket(fileno=report)
    process = os.pidfd_open(child)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(owner, select.POLLIN)
    deadline = time.monotonic() + seconds
    events = poll.poll(max(0, deadline - time.monotonic()) * 1000)
    killed = process not in [handle for handle, _ in events]
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    end = ChildExit(status, killed, usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
    with contextlib.suppress(OSError):
        owner.send(json.dumps(dataclasses.asdict(end)).encode())


# --- the child --------------------------------------------------------------------------------------------------------


def _child(request: ParseRequest, content: int, output: int) -> NoReturn:
    """Confine this process, read the document, and answer."""
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    code = 70
    try:
        _confine(request, content, output)
        from pipeline.parse import read

        code = read.answer(request, content, output)
    except BaseException:
        traceback.print_exc()  # into the document's folder: the owner searches it for messages about memory
    finally:
        os._exit(code)


def _confine(request: ParseRequest, content: int, output: int) -> None:
    folder = Path(request.folder)
    os.umask(0o077)
    os.chdir(folder)
    os.environ.update(HOME=str(folder), TMPDIR=str(folder))
    null = os.open("/dev/null", os.O_RDWR)
    errors = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, handle in ((0, null), (1, errors), (2, errors)):
        os.dup2(handle, target)
    for handle in {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, content, output}:  # noqa: PTH208
        with contextlib.suppress(OSError):
            os.close(handle)
    confine.restrict_files(confine.runtime_paths(), [folder, Path("/dev/null")])
    confine.limit_processes(_PROCESSES)
    confine.drop_privileges()
    confine.deny_system_calls()
    confine.limit_resources(request.limits.memory_mb * MIB, request.limits.cpu_seconds, _FILE_BYTES)
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, _STACK_BYTES))


if __name__ == "__main__":
    main()
    sys.exit(0)
