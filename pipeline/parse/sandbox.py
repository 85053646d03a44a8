"""The parser of the pipeline: a confined, killable process for each document, and a typed outcome for every file."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from pipeline.documents import Parsed
from pipeline.errors import MailroomError, Rejected
from pipeline.parse.launch import Zygote
from pipeline.parse.limits import MIB, ParseLimits
from pipeline.parse.protocol import ChildExit, Malformed, ParseRequest, Receiver, to_parsed

#: raised when the readers' output changes, so that cached results are computed again
READERS_VERSION = 1
#: native code that gets no memory often ends by one of these signals
_ABORTS = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP})
#: share of the memory limit above which such a signal is attributed to the limit
_MEMORY_SHARE = 0.6
#: shares of the CPU limit above which any end, and a kill far from the memory limit, is attributed to it: the kernel
#: kills by a coarser clock than it reports, on a busy machine up to 8 % early
_CPU_SHARE, _CPU_SHARE_OF_A_KILL = 0.95, 0.8
_OUT_OF_MEMORY = (b"memory allocation of", b"bad_alloc", b"out of memory", b"Out of memory", b"MemoryError")


class SandboxedParser:
    """Implements ports.Parser.

    Args:
        limits: what one document may cost.
        scratch: the folder for each document's private, short-lived folder; by default the system's temporary folder.
        faults: for tests only: obey a document that begins with ``x-fault:`` (crash, hang, flood ...).

    Each instance owns one warm process (about 155 MB, mostly shared with its forks), started at the first document.
    Safe to use from several threads and across a fork of the owner. ``close`` ends the process.
    """

    def __init__(self, limits: ParseLimits | None = None, scratch: Path | None = None, faults: bool = False) -> None:
        self.limits = limits or ParseLimits()
        libraries = [version(name) for name in ("unstructured", "pypdfium2", "python-calamine", "pillow")]
        programs = [bool(shutil.which("tesseract"))]
        #: the hash of everything that an answer depends on
        self.digest = hashlib.sha256(repr((READERS_VERSION, libraries, programs, self.limits)).encode()).hexdigest()
        self._scratch = scratch
        self._faults = faults
        self._zygote = Zygote()
        #: the largest resident size of any child of this parser so far, in KiB
        self.peak_rss_kb = 0

    @property
    def sandbox_level(self) -> str:
        """One of "strong", "medium" and "weak": see `confine`. Starts the warm process."""
        return self._zygote.sandbox_level

    def parse(self, content: BinaryIO, name: str) -> Parsed:
        """Read the whole of ``content``, from its beginning whatever its position, and return its text and properties.

        A document without readable text has no elements and the flag "no-text" (also "needs-ocr" where OCR would have
        been tried). Raises Rejected with the reason; MailroomError("internal") if the parsing process was lost.
        """
        folder = Path(tempfile.mkdtemp(prefix="mailroom-parse-", dir=self._scratch))
        try:
            handle = _open_read_only(content, folder, self.limits.max_bytes)
            try:
                size = os.fstat(handle).st_size
                if size == 0:
                    raise Rejected("empty", "The file holds no bytes; send it again if it should not be empty.")
                if size > self.limits.max_bytes:
                    limit = self.limits.max_bytes // MIB
                    raise Rejected("too-large", f"The file has {size // MIB} MiB; the limit is {limit} MiB.")
                return self._run(handle, folder, name)
            finally:
                os.close(handle)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End the warm process and everything that it started."""
        self._zygote.stop()

    def _run(self, handle: int, folder: Path, name: str) -> Parsed:
        request = ParseRequest(name[-255:], str(folder), self.limits, self._faults)
        receiver = Receiver(self.limits)
        try:
            child = self._zygote.run(request, handle, receiver)
            self.peak_rss_kb = max(self.peak_rss_kb, child.rss_kb if child else 0)
            if receiver.complete:
                untrusted, contents = receiver.answer()
                return to_parsed(untrusted, contents, self.limits)
        except Malformed as error:
            raise Rejected("crashed", "The parser's answer was malformed; look at the file by hand.") from error
        raise failure(child, folder, self.limits)


def failure(child: ChildExit | None, folder: Path, limits: ParseLimits) -> MailroomError:
    """Return the error that explains why a child ended without an answer."""
    if child is None:
        return MailroomError(
            "internal", "The parsing process was lost while it read the file; the attempt will be repeated."
        )
    cpu_share = child.cpu / limits.cpu_seconds
    near_memory_limit = child.rss_kb * 1024 > _MEMORY_SHARE * limits.memory_mb * MIB
    killed_by_kernel = child.signal == signal.SIGKILL
    out_of_cpu = cpu_share > (_CPU_SHARE_OF_A_KILL if killed_by_kernel and not near_memory_limit else _CPU_SHARE)
    if child.killed or out_of_cpu:
        text = (
            f"Reading took longer than {limits.wall_seconds:g} s ({limits.cpu_seconds} s of computing); split the file."
        )
        return Rejected("timeout", text)
    if (child.signal in _ABORTS and near_memory_limit) or killed_by_kernel or _reports_no_memory(folder):
        return Rejected("memory", f"Reading needed more than {limits.memory_mb} MB of memory; split the file.")
    if child.signal == signal.SIGXFSZ:
        return Rejected("output-limit", "The parser wrote a larger file than the limit; look at the file by hand.")
    how = f"signal {child.signal}" if child.signal else f"status {os.WEXITSTATUS(child.status)}"
    return Rejected("crashed", f"The parser ended abnormally ({how}); look at the file by hand, it may be malicious.")


def _reports_no_memory(folder: Path) -> bool:
    """Search the beginning of the child's standard error for a message about memory."""
    try:
        with (folder / "stderr").open("rb") as errors:
            head = errors.read(65536)
    except OSError:
        return False
    return any(words in head for words in _OUT_OF_MEMORY)


def _open_read_only(content: BinaryIO, folder: Path, limit: int) -> int:
    """Return a read-only handle on the content: the same file opened again, or a copy if it is not a regular file."""
    try:
        handle = os.open(f"/proc/self/fd/{content.fileno()}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
    except (OSError, AttributeError, ValueError):
        pass
    copy = folder / "content"
    if content.seekable():
        content.seek(0)
    with copy.open("wb") as target:
        remaining = limit + 1  # one byte over the limit suffices for the check of the size
        while remaining > 0 and (block := content.read(min(remaining, MIB))):
            remaining -= target.write(block)
    handle = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
    copy.unlink()
    return handle
