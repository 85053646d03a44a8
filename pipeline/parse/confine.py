"""How the parsing process is locked in: namespaces, file and network rules, resource limits. Linux system calls only.

Three layers, each optional where the kernel or the container refuses it; `level` gives the honest label:

- strong: no network (own network namespace), processes die with the document (own pid namespace), files by Landlock;
- medium: one of the two (namespaces or Landlock);
- weak: resource limits only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWPID = 0x20000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_ABI_QUERY = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILE_RIGHTS_LATEST = (1 << 16) - 1
_ON_FILES_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | (1 << 14)
_TCP_RIGHTS = 3
_SCOPES = 3  # abstract unix sockets, signals

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *values: int) -> bool:
    padded = [ctypes.c_ulong(v) for v in (*values, 0, 0, 0, 0)[:4]]
    return _libc.prctl(option, *padded) == 0


def unshare(flags: int) -> bool:
    return _libc.unshare(flags) == 0


def leave_the_network() -> bool:
    """Give this process an empty network namespace, in a user namespace of its own; needs a single thread. True if done."""
    uid, gid = os.getuid(), os.getgid()
    if unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC):
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        return True
    return unshare(CLONE_NEWNET | CLONE_NEWIPC)


def drop_privileges() -> None:
    """No capability now, and none to be gained by running a program."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability)
    header = struct.pack("II", _CAPABILITY_VERSION_3, 0)
    _libc.capset(header, struct.pack("IIIIII", 0, 0, 0, 0, 0, 0))


def set_limits(memory: int, cpu_seconds: int, file_bytes: int) -> None:
    """Resource limits of this process. ``memory`` bounds private memory; address space gets what is mapped already on top."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, soft, hard in (
        (resource.RLIMIT_DATA, memory, memory),
        (resource.RLIMIT_AS, memory + mapped, memory + mapped),
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds),  # the first process of a namespace ignores SIGXCPU
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, 256, 256),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))


def bound_processes(count: int) -> None:
    """At most ``count`` processes more than this user has now. Does not bind for uid 0, where the pid namespace has to do."""
    with contextlib.suppress(OSError, ValueError):
        own = sum(1 for p in Path("/proc").iterdir() if p.name.isdigit() and p.stat().st_uid == os.getuid())
        resource.setrlimit(resource.RLIMIT_NPROC, (own + count, own + count))


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 where there is none."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_ABI_QUERY)))


def lock_files(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Allow reading and running below ``readable``, everything below ``writable``, nothing else; no TCP. True if done."""
    version = landlock_version()
    if not version:
        return False
    rights = _ALL_FILE_RIGHTS.get(version, _ALL_FILE_RIGHTS_LATEST)
    attributes = struct.pack("QQQ", rights, _TCP_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if rules < 0:
        return False
    for path in readable:
        _allow(rules, path, (_EXECUTE | _READ_FILE | _READ_DIR) & rights)
    for path in writable:
        _allow(rules, path, rights)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    done = _libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0
    os.close(rules)
    return done


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not path.is_dir():
        rights &= _ON_FILES_ONLY
    rule = struct.pack("=QI", rights, handle)
    _libc.syscall(_LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    os.close(handle)


def program_paths() -> list[Path]:
    """What the readers and their helper programs need to read: the interpreter, its packages, the system's libraries."""
    names = {sys.prefix, sys.base_prefix, *(sysconfig.get_paths()[k] for k in ("stdlib", "purelib", "platlib"))}
    names |= {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    names |= {"/usr", "/lib", "/lib64", "/bin", "/proc", "/sys/devices/system/cpu"}
    names |= {"/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/etc/mime.types"}
    return [Path(name) for name in names] + [Path(__file__).parents[1], Path("/dev/urandom"), Path("/dev/zero")]


# --- seccomp: system calls that no reader needs -------------------------------------------------------------------------

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_DENIED = {
    "x86_64": (
        *(101, 165, 166, 155, 161, 169, 246, 248, 249, 250, 298, 310, 311, 313, 175, 176, 320, 321, 323),
        *(425, 426, 427, 428, 429, 430, 431, 432, 442, 272, 308),
    ),
    "aarch64": (
        *(117, 40, 39, 41, 51, 142, 104, 217, 218, 219, 241, 270, 271, 273, 105, 106, 294, 280, 282),
        *(425, 426, 427, 428, 429, 430, 431, 432, 442, 97, 268),
    ),
}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_ALLOW, _DENY_EPERM = 0x7FFF0000, 0x00050000 | 1


def deny_system_calls() -> bool:
    """Refuse ptrace, mount, keyrings, bpf, io_uring, namespaces, modules and every socket but a unix one. True if done."""
    machine = platform.machine()
    if machine not in _AUDIT_ARCH or sys.maxsize < 2**32:
        return False
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    program = _filter(_AUDIT_ARCH[machine], _DENIED[machine], _SOCKET[machine])
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    return _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), header, 0, 0) == 0


def _filter(architecture: int, denied: tuple[int, ...], socket_call: int) -> bytes:
    """A classic BPF program over (system call, architecture, first argument)."""
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    refuse = len(denied) + 7  # the two last lines; jumps count from the line after their own
    allow = refuse + 1
    lines = [
        (load, 0, 0, 4),
        (equal, 0, refuse - 2, architecture),
        (load, 0, 0, 0),
        (at_least, refuse - 4, 0, 0x40000000),  # x32 numbers
    ]
    lines += [(equal, refuse - (5 + i), 0, number) for i, number in enumerate(denied)]
    lines += [
        (equal, 0, 3, socket_call),
        (load, 0, 0, 16),
        (equal, 1, 0, 1),  # AF_UNIX
        (give, 0, 0, _DENY_EPERM),
        (give, 0, 0, _ALLOW),
    ]
    assert len(lines) == allow + 1
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def level(networkless: bool, files: bool) -> str:
    """The honest label of what holds."""
    return "strong" if networkless and files else "medium" if networkless or files else "weak"
