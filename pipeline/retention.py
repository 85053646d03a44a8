"""How long documents are kept, and what stops their erasure: the specification, in plain Python over records.

A legal hold beats everything: neither a person nor a rule erases a document under one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.documents import Document
from pipeline.errors import Refused

_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold. ``kind`` is "document", "source" or "subject", ``target`` a document's id, a source, or a name or
    identifier that stands in documents.

    ``created_at`` is in epoch seconds, ``created_by`` a person at the machine or "key:ID".
    """

    id: str
    kind: str
    target: str
    reason: str
    created_at: float
    created_by: str


@dataclass(frozen=True, slots=True)
class HoldCandidate:
    """A document with the ids of those that it is attached to, and its text; None if it has not been read yet."""

    document: Document
    ancestors: Collection[str]
    text: str | None


class OnHold(Refused):
    """A document is under these legal holds."""

    def __init__(self, document_id: str, holds: Sequence[Hold]) -> None:
        super().__init__("legal-hold", f"Document {document_id} is under a legal hold and stays.")
        self.holds = holds

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str]]:
        return Refused, (self.code, self.detail)


def applies(hold: Hold, candidate: HoldCandidate) -> bool:
    """Return True if a hold stops the erasure of a document.

    A hold on a document is on all that is attached to it too. One on a subject is on every document whose text, name,
    path, title or metadata has the subject's words, whatever their case, accents and spaces; also on a document that
    has not been read yet, since nobody knows what is in it.
    """
    document = candidate.document
    if hold.kind == "document":
        return hold.target == document.id or hold.target in candidate.ancestors
    if hold.kind == "source":
        return hold.target == document.source
    if candidate.text is None:
        return True
    subject = folded(hold.target)
    texts = (candidate.text, document.name, document.path, document.title or "", *document.metadata.values())
    return any(subject in folded(text) for text in texts)


def holds_on(holds: Sequence[Hold], candidates: Sequence[HoldCandidate]) -> list[Hold]:
    """Return the holds that stop the erasure of one of these documents."""
    return [hold for hold in holds if any(applies(hold, candidate) for candidate in candidates)]


def folded(text: str) -> str:
    """Return a text as subjects are compared: without case, accents, and differences of spaces."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return _SPACE.sub(" ", "".join(c for c in letters if not unicodedata.combining(c))).strip()
