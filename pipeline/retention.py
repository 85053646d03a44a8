"""How long documents are kept, and what stops their erasure: the specification, in plain Python over records.

A legal hold beats everything: neither a person nor a rule erases a document under one.
"""

from __future__ import annotations

import calendar
import contextlib
import datetime
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pipeline.documents import Document
from pipeline.errors import Misconfigured, Refused

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


#: Where a period begins: the arrival, or the date in the metadata field "date" (without a valid one: the arrival).
STARTS = ("arrival", "document-date")
#: What a rule proposes once a document's time is over; "erase" is confirmed by the rule itself, "review" by a person.
REVIEW, ERASE = "review", "erase"
_PERIOD = re.compile(r"(\d{1,5}) (day|month|year)s?")
#: Shortest time from arrival that a profile demands, whatever a rule says: DPDP rule 8(3) is a year.
PROFILES = {"": "0 days", "gdpr": "0 days", "dpdp": "1 year"}


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Keep documents of these labels and sources (empty: all) for ``keep`` ("90 days", "6 months", "7 years") from
    ``start`` on, then propose ``then``."""

    name: str
    labels: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    keep: str = "0 days"
    start: str = "arrival"
    then: str = REVIEW

    def matches(self, document: Document) -> bool:
        """Return True if the rule is on a document."""
        return (not self.labels or document.label in self.labels) and (
            not self.sources or document.source in self.sources
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rule proposes for a document: the day (UTC) on which its time is over, and what then."""

    document: Document
    rule: str
    due: datetime.date
    then: str


def proposal(rules: Sequence[RetentionRule], document: Document, profile: str = "") -> Proposal | None:
    """Return what the rules propose for a document, now or later; None if no rule is on it.

    A document is kept until the last of its rules lets go of it: a rule for less never shortens one for more. Of
    several that end on the same day one for review goes first, then the first by name.
    """
    floor = after(_arrival_day(document), PROFILES[profile])
    ends = [(max(end_of(rule, document), floor), rule) for rule in rules if rule.matches(document)]
    if not ends:
        return None
    last = max(day for day, _ in ends)
    rule = min((rule for day, rule in ends if day == last), key=lambda rule: (rule.then != REVIEW, rule.name))
    return Proposal(document, rule.name, last, rule.then)


def family_proposal(
    rules: Sequence[RetentionRule], document: Document, attached: Sequence[Document], profile: str = ""
) -> Proposal | None:
    """Return what the rules propose for a document with all that is attached to it and goes with it: what they propose
    for the one that is kept longest. Without a rule on the document itself that is None."""
    own = proposal(rules, document, profile)
    if own is None:
        return None
    others = [other for one in attached if (other := proposal(rules, one, profile)) is not None]
    last = max([own, *others], key=lambda end: (end.due, end.then == REVIEW))
    return replace(last, document=document)


def end_of(rule: RetentionRule, document: Document) -> datetime.date:
    """Return the first day on which a rule does not keep a document any more."""
    arrival = _arrival_day(document)
    start = arrival
    if rule.start == "document-date":
        with contextlib.suppress(ValueError):
            start = datetime.date.fromisoformat(document.metadata.get("date", "").strip()[:10])
    return after(start, rule.keep)


def after(day: datetime.date, period: str) -> datetime.date:
    """Return the day that is a period after ``day``, at most the calendar's last one. A month after 31 January is the
    last day of February. Raises Misconfigured("bad-settings") for text that is not a period."""
    match = _PERIOD.fullmatch(period.strip())
    if match is None:
        raise Misconfigured(
            "bad-settings", f"retention.rules: {period!r} is not a period such as 90 days, 6 months, 7 years."
        )
    count, unit = int(match[1]), match[2]
    if unit == "day":
        ordinal = day.toordinal() + count
        return datetime.date.fromordinal(min(ordinal, datetime.date.max.toordinal()))
    months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    if year > datetime.MAXYEAR:
        return datetime.date.max
    return datetime.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _arrival_day(document: Document) -> datetime.date:
    return datetime.datetime.fromtimestamp(document.received_at, datetime.UTC).date()
