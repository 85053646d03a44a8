"""Errors by what to do next.

MailroomError
├── Rejected       the document's fault: park it with a reason, never retry
├── Unavailable    a store or service failed: retry with backoff
├── Refused        the caller's fault: a 4xx answer
└── Misconfigured  the installation's fault: stop with an error

Every error has a ``code``: a stable, dash-separated word that is the same in the job store, the log, the metric label
and the ``type`` of the problem+json answer. ``CODES`` is the closed list; a test fails if code and list disagree.
Exceptions of libraries are translated once, where they are raised.
"""

from __future__ import annotations

#: code -> one sentence for people. The key set is the vocabulary of metrics and of problem types.
CODES: dict[str, str] = {
    # Rejected
    "empty": "The file holds no bytes, or no readable text.",
    "encrypted": "The file is protected by a password.",
    "damaged": "The file is incomplete or damaged.",
    "unsupported": "This type of file is not supported.",
    "mismatch": "The file's content is not what its name or structure claims.",
    "too-large": "The file exceeds a size limit.",
    "expansion": "The file would expand beyond the limits (archive bomb).",
    "too-many-pages": "The file has more pages than the limit.",
    "too-deep": "The file is nested more deeply than the limit.",
    "unsafe": "The file holds a construct that is never opened.",
    "timeout": "Reading the file took longer than the limit.",
    "memory": "Reading the file needed more memory than the limit.",
    "crashed": "The parser ended abnormally on this file.",
    "output-limit": "The parser produced more output than the limit.",
    "no-text": "The document has no readable text (an image without OCR, or an empty page).",
    "attempts-exhausted": "The document failed on every attempt and was quarantined.",
    # Unavailable
    "store-unavailable": "A store did not answer.",
    "disk-full": "The disk is full.",
    "index-unavailable": "The index folder cannot be read or written.",
    "broker-unavailable": "The broker did not answer.",
    "overloaded": "The server is busy with other requests; try again.",
    "not-ready": "A part of the installation does not work.",
    "no-namespaces": "The kernel grants no network namespace.",
    "receiver-unavailable": "A webhook receiver did not accept the delivery.",
    # Refused
    "bad-request": "The request is malformed.",
    "bad-query": "The query cannot be parsed.",
    "bad-labels": "These labels cannot train a good classifier.",
    "unauthorized": "An API key is needed.",
    "forbidden": "The key does not allow this.",
    "not-found": "There is no such thing, or it is not visible to this key.",
    "conflict": "The request contradicts the present state.",
    "contradictory": "The parts of the request do not fit together.",
    "upload-too-large": "The upload exceeds the size limit.",
    "legal-hold": "The document is under a legal hold and cannot be erased.",
    "unsupported-encoding": "The body is compressed or encoded; send it as it is.",
    "request-timeout": "The request did not arrive in time.",
    "too-many-requests": "There are too many requests from this key or address; try again.",
    "packets-out": "A packet would have left the machine.",
    "not-proven": "Whether packets leave the machine could not be shown.",
    # Misconfigured
    "bad-settings": "A setting is missing or wrong.",
    "bad-rules": "The routing rules cannot be used.",
    "bad-model": "A model file is missing, altered or unusable.",
    "bad-index": "An index file is missing, altered or unusable.",
    "bad-store": "A store cannot be used as configured.",
    "training-failed": "A training ended before it was done.",
    "missing-program": "A program that this needs is not installed.",
    # anything not foreseen
    "internal": "An unexpected error; the log has the details.",
}


class MailroomError(Exception):
    """Base of all errors of the project.

    ``code`` is a key of ``CODES``; ``detail`` says what happened, to which document, and what to do next, in plain text
    without document content. ``retry_after`` is the seconds after which it is worth trying again, None if unknown.
    """

    retry_after: int | None = None

    def __init__(self, code: str, detail: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"unknown error code {code!r}")
        self.code = code
        self.detail = detail or CODES[code]
        super().__init__(f"{code}: {self.detail}")

    def __reduce__(self) -> tuple[type[MailroomError], tuple[str, str]]:
        return type(self), (self.code, self.detail)


class Rejected(MailroomError):
    """The document's fault. Park it with the reason; never retry automatically."""


class Unavailable(MailroomError):
    """A store or service failed. Retry with backoff."""


class Refused(MailroomError):
    """The caller's fault. Answer with a 4xx."""


class Misconfigured(MailroomError):
    """The installation's fault. Stop with an error."""
