"""How the parsing process is confined: namespaces, file and network rules, resource limits. Linux system calls only.

Three layers, each optional where the kernel or the container refuses it; `sandbox_level` gives the honest label:

- strong: no network (own network namespace), processes die with the document (own pid namespace), files by Landlock;
- medium: one of the two (namespaces or Landlock);
- weak: resource limits only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import socket
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
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *values: int) -> bool:
    """Call prctl(2) with up to four arguments. Return True if it succeeded."""
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(option, *arguments)
    return result == 0


def unshare(flags: int) -> bool:
    """Call unshare(2), which Python has from 3.12. Return True if it succeeded."""
    result: int = _libc.unshare(flags)
    return result == 0


def _system_call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    return result


def sandbox_level(network_isolated: bool, files_restricted: bool) -> str:
    """Return the honest label of what is in effect: "strong", "medium" or "weak"."""
    if network_isolated and files_restricted:
        return "strong"
    return "medium" if network_isolated or files_restricted else "weak"


def isolate_network() -> bool:
    """Move this process into an empty network namespace, and into a user namespace of its own where it may create one.

    The process must have a single thread. Return True if it succeeded.
    """
    uid, gid = os.getuid(), os.getgid()
    if unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC):
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        return True
    return unshare(CLONE_NEWNET | CLONE_NEWIPC)


# --- privileges and resources -----------------------------------------------------------------------------------------

_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64  # more than any kernel has; an unknown one is refused without effect


def drop_privileges() -> None:
    """Drop every capability, and the way to gain one by running a program."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(_CAPABILITIES):
        prctl(PR_CAPBSET_DROP, capability)
    header = struct.pack("II", _CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = struct.pack("IIIIII", 0, 0, 0, 0, 0, 0)
    _libc.capset(header, effective_permitted_inheritable)


def limit_resources(memory: int, cpu_seconds: int, file_bytes: int) -> None:
    """Set the limits of this process, in bytes and seconds.

    ``memory`` bounds private memory; the limit of address space comes on top of what is already mapped.
    """
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, memory + mapped),
        (resource.RLIMIT_CPU, cpu_seconds),  # soft equals hard: the first process of a namespace ignores SIGXCPU
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def limit_processes(count: int) -> None:
    """Allow this user ``count`` processes more than now.

    Does not bind uid 0; its processes end with the pid namespace.
    """
    with contextlib.suppress(OSError, ValueError):
        uid = os.getuid()
        running = sum(1 for path in Path("/proc").iterdir() if path.name.isdigit() and path.stat().st_uid == uid)
        resource.setrlimit(resource.RLIMIT_NPROC, (running + count, running + count))


# --- Landlock: the files that the child may open (linux/landlock.h) ---------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
#: every file right of an ABI: 13 in the first, then REFER, TRUNCATE and (from 5) IOCTL_DEV
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_LATEST_FILE_RIGHTS = (1 << 16) - 1
_NETWORK_ABI, _SCOPE_ABI = 4, 6  # the first ABI that restricts these
_TCP_RIGHTS = 0b11  # bind, connect
_SCOPES = 0b11  # abstract unix sockets, signals


def landlock_abi() -> int:
    """Return the version of the kernel's Landlock ABI; 0 without Landlock."""
    return max(0, _create_ruleset(None, 0, _CREATE_RULESET_VERSION))


def _create_ruleset(attributes: bytes | None, size: int, flags: int) -> int:
    return _system_call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(flags))


def restrict_files(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Allow reading and running below ``readable``, everything below ``writable``, nothing else; no TCP.

    Return True if the kernel enforces it.
    """
    abi = landlock_abi()
    if not abi:
        return False
    rights = _FILE_RIGHTS.get(abi, _LATEST_FILE_RIGHTS)
    attributes = struct.pack("Q", rights)
    if abi >= _NETWORK_ABI:
        attributes += struct.pack("Q", _TCP_RIGHTS)
    if abi >= _SCOPE_ABI:
        attributes += struct.pack("Q", _SCOPES)
    ruleset = _create_ruleset(attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    for path in readable:
        _allow(ruleset, path, (_EXECUTE | _READ_FILE | _READ_DIR) & rights)
    for path in writable:
        _allow(ruleset, path, rights)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    enforced = _system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    return enforced


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not path.is_dir():
        rights &= _RIGHTS_ON_FILES
    rule = struct.pack("=QI", rights, handle)
    _system_call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, ctypes.c_uint32(0))
    os.close(handle)


def runtime_paths() -> list[Path]:
    """List what readers and their programs must read: the interpreter, its packages, the system's libraries."""
    names = {sys.prefix, sys.base_prefix, *(sysconfig.get_paths()[k] for k in ("stdlib", "purelib", "platlib"))}
    names |= {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    names |= {"/usr", "/lib", "/lib64", "/bin", "/proc", "/sys/devices/system/cpu"}
    names |= {"/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/etc/mime.types"}
    return [Path(name) for name in names] + [Path(__file__).parents[1], Path("/dev/urandom"), Path("/dev/zero")]


# --- seccomp: the system calls that no reader needs (linux/seccomp.h, linux/audit.h, linux/filter.h) ------------------

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: name -> number by architecture
_DENIED_CALLS = {
    "add_key": {"x86_64": 248, "aarch64": 217},
    "bpf": {"x86_64": 321, "aarch64": 280},
    "chroot": {"x86_64": 161, "aarch64": 51},
    "delete_module": {"x86_64": 176, "aarch64": 106},
    "finit_module": {"x86_64": 313, "aarch64": 273},
    "fsconfig": {"x86_64": 431, "aarch64": 431},
    "fsmount": {"x86_64": 432, "aarch64": 432},
    "fsopen": {"x86_64": 430, "aarch64": 430},
    "init_module": {"x86_64": 175, "aarch64": 105},
    "io_uring_enter": {"x86_64": 426, "aarch64": 426},
    "io_uring_register": {"x86_64": 427, "aarch64": 427},
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},
    "kexec_file_load": {"x86_64": 320, "aarch64": 294},
    "kexec_load": {"x86_64": 246, "aarch64": 104},
    "keyctl": {"x86_64": 250, "aarch64": 219},
    "mount": {"x86_64": 165, "aarch64": 40},
    "mount_setattr": {"x86_64": 442, "aarch64": 442},
    "move_mount": {"x86_64": 429, "aarch64": 429},
    "open_tree": {"x86_64": 428, "aarch64": 428},
    "perf_event_open": {"x86_64": 298, "aarch64": 241},
    "pivot_root": {"x86_64": 155, "aarch64": 41},
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "process_vm_writev": {"x86_64": 311, "aarch64": 271},
    "ptrace": {"x86_64": 101, "aarch64": 117},
    "reboot": {"x86_64": 169, "aarch64": 142},
    "request_key": {"x86_64": 249, "aarch64": 218},
    "setns": {"x86_64": 308, "aarch64": 268},
    "umount2": {"x86_64": 166, "aarch64": 39},
    "unshare": {"x86_64": 272, "aarch64": 97},
    "userfaultfd": {"x86_64": 323, "aarch64": 282},
}
_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
_FIRST_X32_CALL = 0x40000000  # x86_64's second table of calls, which would evade the list
_SECCOMP_MODE_FILTER = 2
_ALLOW_CALL, _DENY_CALL = 0x7FFF0000, 0x00050000 | errno.EPERM

#: offsets in struct seccomp_data
_CALL_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
#: opcodes of classic BPF: load a 32-bit word, compare the accumulator with a constant, return a constant
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
#: struct sock_filter: opcode, instructions to skip if a comparison is true, if it is false, constant
_INSTRUCTION = struct.Struct("HBBI")


def kill_descendants() -> None:
    """Kill this process's children until there are none: as a subreaper it inherits what its children started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(1000):
        pids = children.read_text().split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def deny_system_calls() -> bool:
    """Refuse ptrace, mount, keyrings, bpf, io_uring, namespaces, modules and every socket but a unix one.

    Return True if the kernel enforces it.
    """
    machine = platform.machine()
    if machine not in _AUDIT_ARCH or sys.maxsize < 2**32:
        return False
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    program = seccomp_filter(machine)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // _INSTRUCTION.size, ctypes.addressof(buffer))
    result: int = _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, 0, 0)
    return result == 0


def seccomp_filter(machine: str) -> bytes:
    """Return the BPF program that the kernel runs at every system call of the process."""
    denied = [numbers[machine] for numbers in _DENIED_CALLS.values()]
    return b"".join([
        _instruction(_LOAD, _ARCHITECTURE),
        _skip_if(_IF_EQUAL, _AUDIT_ARCH[machine]),
        _instruction(_RETURN, _DENY_CALL),
        _instruction(_LOAD, _CALL_NUMBER),
        _skip_unless(_IF_AT_LEAST, _FIRST_X32_CALL),
        _instruction(_RETURN, _DENY_CALL),
        *(_skip_unless(_IF_EQUAL, number) + _instruction(_RETURN, _DENY_CALL) for number in denied),
        _skip_unless(_IF_EQUAL, _SOCKET_CALL[machine], instructions=3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _skip_if(_IF_EQUAL, socket.AF_UNIX),
        _instruction(_RETURN, _DENY_CALL),
        _instruction(_RETURN, _ALLOW_CALL),
    ])  # fmt: skip


def _skip_if(comparison: int, value: int) -> bytes:
    """Skip the next instruction if the comparison with the accumulator is true."""
    return _INSTRUCTION.pack(comparison, 1, 0, value)


def _skip_unless(comparison: int, value: int, instructions: int = 1) -> bytes:
    """Skip the next instructions if the comparison with the accumulator is false."""
    return _INSTRUCTION.pack(comparison, 0, instructions, value)


def _instruction(opcode: int, constant: int) -> bytes:
    return _INSTRUCTION.pack(opcode, 0, 0, constant)
