"""The process that parses are forked from: it has imported the readers once and never opens a document itself.

    owner (a worker)  --one request, three handles-->  zygote  --fork-->  keeper  --fork-->  child

The *keeper* of a document leads its own session, gives the child a pid namespace, kills it when the owner hangs up or
the time is over, and reports how it ended. The *child* locks itself in (`confine`), reads exactly one document
(`read`), writes one answer and ends. When the owner dies, the zygote sees the end of its control socket; keeper and
child die with their parents (PDEATHSIG). Importing the readers costs 1.4 CPU seconds, a fork a few milliseconds.

Started by `launch` as ``python -P -m pipeline.parse.zygote``; standard input is the control socket.
"""

from __future__ import annotations

import array
import contextlib
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
from typing import Any

from pipeline.parse import confine

#: what the child may write into one file
FILE_BYTES = 256 * 1024 * 1024
_PROCESSES = 64
#: seconds after which a keeper kills by itself, should its owner have forgotten to
_PATIENCE = 10.0


def main() -> None:
    control = socket.socket(fileno=os.dup(0))
    owner = os.getppid()
    networkless = confine.leave_the_network()  # before any import that might start a thread
    from pipeline.parse import read

    read.warm_up()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, lambda *_: _reap())
    control.send(
        json.dumps({"ready": True, "networkless": networkless, "landlock": confine.landlock_version()}).encode()
    )
    waiter = select.poll()
    waiter.register(control, select.POLLIN)
    while os.getppid() == owner:
        if not waiter.poll(2000):
            continue
        request, handles = _receive(control)
        if request is None:
            return
        if os.fork() == 0:
            _keep(control, request, handles, networkless)
        for handle in handles:
            os.close(handle)


def _receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    handles = array.array("i")
    data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(3 * handles.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            handles.frombytes(payload[: len(payload) - len(payload) % handles.itemsize])
    return (json.loads(data) if data else None), list(handles)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


# --- the keeper ----------------------------------------------------------------------------------------------------------


def _keep(control: socket.socket, request: dict[str, Any], handles: list[int], networkless: bool) -> None:
    """Run one child to its end and report; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    zygote = os.getppid()
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)
    os.setsid()
    control.close()
    content, output, status = handles
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    contained = networkless and confine.unshare(confine.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        os.close(status)
        _child(request, content, output)
    os.close(content)
    os.close(output)
    _watch(child, status, request["limits"]["wall_seconds"] + _PATIENCE)
    if not contained:
        _kill_descendants()
    os._exit(0)


def _watch(child: int, status: int, seconds: float) -> None:
    """Wait for the child, the owner's hanging up, or the end of the time; then report how the child ended."""
    report = socket.socket(fileno=status)
    process = os.pidfd_open(child)
    waiter = select.poll()
    waiter.register(process, select.POLLIN)
    waiter.register(report, select.POLLIN)
    deadline = time.monotonic() + seconds
    events = waiter.poll(max(0, deadline - time.monotonic()) * 1000)
    killed = process not in [handle for handle, _ in events]
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, code, usage = os.wait4(child, 0)
    answer = {"status": code, "killed": killed, "rss_kb": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime}
    with contextlib.suppress(OSError):
        report.send(json.dumps(answer).encode())


def _kill_descendants() -> None:
    """Without a pid namespace: what the child left behind became this process's children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(1000):
        left = children.read_text().split()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


# --- the child -----------------------------------------------------------------------------------------------------------


def _child(request: dict[str, Any], content: int, output: int) -> None:
    """Lock in, read the document, answer; never returns."""
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    code = 70
    try:
        _lock_in(request, content, output)
        from pipeline.parse import read

        code = read.answer(request, content, output)
    except BaseException:
        traceback.print_exc()  # to the document's own folder: the owner looks there for want of memory
    finally:
        os._exit(code)


def _lock_in(request: dict[str, Any], content: int, output: int) -> None:
    folder = Path(request["folder"])
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
    confine.lock_files(confine.program_paths(), [folder, Path("/dev/null")])
    confine.bound_processes(_PROCESSES)
    confine.drop_privileges()
    confine.deny_system_calls()
    limits = request["limits"]
    confine.set_limits(limits["memory_mb"] << 20, limits["cpu_seconds"], FILE_BYTES)
    resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, 64 << 20))


if __name__ == "__main__":
    main()
    sys.exit(0)
