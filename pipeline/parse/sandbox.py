"""The parser that the path in uses: one locked-in, killable process per document, and a typed outcome for every file."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import signal
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.classify import text_quality
from pipeline.documents import Parsed
from pipeline.errors import MailroomError, Rejected
from pipeline.parse.launch import Ending, Zygote
from pipeline.parse.limits import MIB, ParseLimits
from pipeline.parse.protocol import Malformed, Receiver, to_parsed

#: raised when the readers' output changes, so that cached results are made anew
READERS_VERSION = 1
#: signals with which native code ends when it gets no memory, and the share of the limit that makes this the likely reason
_ABORTS = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP})
_FULL = 0.6
#: the kernel kills at the limit of CPU time by its own, coarser clock
_SPENT = 0.95
_OUT_OF_MEMORY = (b"memory allocation of", b"bad_alloc", b"out of memory", b"Out of memory", b"MemoryError")


class SandboxedParser:
    """Implements ports.Parser.

    Args:
        limits: what one document may cost.
        scratch: a folder for the private, short-lived folder of each document; the system's temporary folder by default.
        faults: for tests only: obey a document that begins with ``x-fault:`` (crash, hang, flood ...).

    Each instance owns one warm process (about 155 MB, mostly shared with its forks), started at the first document.
    Safe to use from several threads and across a fork of the owner. ``close`` ends the process.
    """

    def __init__(self, limits: ParseLimits | None = None, scratch: Path | None = None, faults: bool = False) -> None:
        self.limits = limits or ParseLimits()
        self.digest = _digest(self.limits)
        self._scratch = scratch
        self._faults = faults
        self._zygote = Zygote()
        #: the largest resident size that a child of this parser has had so far, in KiB
        self.peak_rss_kb = 0

    @property
    def sandbox_level(self) -> str:
        """One of "strong", "medium" and "weak": see `confine`. Starts the warm process."""
        return self._zygote.sandbox_level

    def parse(self, content: BinaryIO, name: str, media_type: str | None = None) -> Parsed:
        """Read the whole of ``content`` (from its beginning, wherever it stands).

        Returns a Parsed; without readable text it has no elements and the flag "no-text" (and "needs-ocr" when OCR would
        have been tried). Raises Rejected with the reason; MailroomError("internal") when the surroundings broke down.
        """
        folder = Path(tempfile.mkdtemp(prefix="mailroom-parse-", dir=self._scratch))
        try:
            handle = _readable(content, folder, self.limits.max_bytes)
            try:
                self._check_size(os.fstat(handle).st_size)
                return self._run(handle, folder, name, media_type)
            finally:
                os.close(handle)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self._zygote.stop()

    def _check_size(self, size: int) -> None:
        if size == 0:
            raise Rejected("empty", "The file holds no bytes; send it again if it should not be empty.")
        if size > self.limits.max_bytes:
            raise Rejected(
                "too-large", f"The file has {size // MIB} MiB; the limit is {self.limits.max_bytes // MIB} MiB."
            )

    def _run(self, handle: int, folder: Path, name: str, media_type: str | None) -> Parsed:
        receiver = Receiver(self.limits)
        try:
            ending = self._zygote.run(self._request(folder, name, media_type), handle, self.limits, receiver)
            self.peak_rss_kb = max(self.peak_rss_kb, ending.rss_kb if ending else 0)
            if receiver.complete:
                untrusted, contents = receiver.answer()
                parsed = to_parsed(untrusted, contents, self.limits)
                return dataclasses.replace(parsed, text_quality=text_quality(parsed.text))
        except Malformed as error:
            raise Rejected("crashed", "The parser's answer was malformed; look at the file by hand.") from error
        raise _failure(ending, folder, self.limits)

    def _request(self, folder: Path, name: str, media_type: str | None) -> dict[str, Any]:
        limits = {field: getattr(self.limits, field) for field in ParseLimits.__dataclass_fields__}
        return {
            "name": name[-255:],
            "media_type": (media_type or "")[:200],
            "folder": str(folder),
            "limits": limits,
            "faults": self._faults,
        }


def _failure(ending: Ending | None, folder: Path, limits: ParseLimits) -> MailroomError:
    """Why there is no answer."""
    if ending is None:
        return MailroomError(
            "internal", "The parsing process was lost while it read the file; the attempt will be repeated."
        )
    if ending.killed or ending.cpu > _SPENT * limits.cpu_seconds:
        text = (
            f"Reading took longer than {limits.wall_seconds:g} s ({limits.cpu_seconds} s of computing); split the file."
        )
        return Rejected("timeout", text)
    starved = ending.signal in _ABORTS and ending.rss_kb * 1024 > _FULL * limits.memory_mb * MIB
    if starved or ending.signal == signal.SIGKILL or _complained_of_memory(folder):
        return Rejected("memory", f"Reading needed more than {limits.memory_mb} MB of memory; split the file.")
    if ending.signal == signal.SIGXFSZ:
        return Rejected("output-limit", "The parser wrote a larger file than the limit; look at the file by hand.")
    how = f"signal {ending.signal}" if ending.signal else f"status {os.WEXITSTATUS(ending.status)}"
    return Rejected("crashed", f"The parser ended abnormally ({how}); look at the file by hand, it may be malicious.")


def _complained_of_memory(folder: Path) -> bool:
    try:
        with (folder / "stderr").open("rb") as errors:
            tail = errors.read(65536)
    except OSError:
        return False
    return any(words in tail for words in _OUT_OF_MEMORY)


def _readable(content: BinaryIO, folder: Path, most: int) -> int:
    """A read-only handle of its own on the content: the same file opened anew, or a copy where it is no regular file."""
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
        left = most + 1  # one byte too many is enough to know
        while left > 0 and (block := content.read(min(left, MIB))):
            left -= target.write(block)
    handle = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
    copy.unlink()
    return handle


def _digest(limits: ParseLimits) -> str:
    """Names everything that an answer depends on: readers, libraries, limits, and whether OCR is there."""
    libraries = [version(n) for n in ("unstructured", "pypdfium2", "python-calamine", "pillow")]
    programs = [bool(shutil.which("tesseract"))]
    return hashlib.sha256(repr((READERS_VERSION, libraries, programs, limits)).encode()).hexdigest()
