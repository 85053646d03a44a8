"""Exit codes that scripts can use. The one list of them; docs/command-line.md repeats it and a test compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import MailroomError, Refused, Unavailable

if TYPE_CHECKING:
    from pydantic import ValidationError

OK = 0
ERROR = 1
USAGE = 2
NOT_FOUND = 3
SOME_FAILED = 4
NOT_RUNNING = 5
UNAVAILABLE = 6
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    ERROR: "an error, named on standard error as `error: CODE: what happened and what to do`",
    USAGE: "the command line is wrong, or a request that cannot be right",
    NOT_FOUND: "there is no such document or key, or nothing was found",
    SOME_FAILED: "done, but some documents or queries failed",
    NOT_RUNNING: "no Mailroom runs on this data folder, and the command needs one",
    UNAVAILABLE: "a store, the broker or the disk does not answer: try again; or the kernel grants no namespaces",
    INTERRUPTED: "interrupted by Ctrl-C",
}


def exit_code(error: MailroomError) -> int:
    """Return the exit code for an error."""
    if error.code == "not-found":
        return NOT_FOUND
    if error.code in ("bad-request", "bad-query", "contradictory"):
        return USAGE
    if isinstance(error, Unavailable) and not isinstance(error, Refused):
        return UNAVAILABLE
    return ERROR


def first_fault(error: ValidationError) -> str:
    """Return the first field that does not fit, and why."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
