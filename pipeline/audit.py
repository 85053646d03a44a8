"""The audit: who did what, from where and with what outcome, as a chain of entries that hold each other in place.

Each entry has the SHA-256 over the hash of the entry before and its own fields, so that a changed, removed, inserted or
moved one breaks the chain. A cut at the end leaves a shorter chain that is whole; an anchor, a copy of the last number
and hash, shows it. No entry holds a document's text, name or path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

#: The hash before the first entry.
GENESIS = "0" * 64
SUCCESS, FAILURE = "success", "failure"
#: OCSF's class "API Activity" (6003) in the category "Application Activity" (6), and its activities.
_CLASS, _CATEGORY, _OCSF_VERSION = 6003, 6, "1.4.0"
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_ACTIVITIES = {
    **dict.fromkeys(("create", "upload", "add"), _CREATE),
    **dict.fromkeys(("read", "read_text", "read_record", "download", "run", "ask", "saved"), _READ),
    **dict.fromkeys(("delete", "erase", "remove", "revoke"), _DELETE),
}


@dataclass(frozen=True, slots=True)
class AuditOrigin:
    """Who acts ("user:NAME" or "key:ID"), by which key, through which interface, in which request, from where."""

    actor: str = "system:mailroom"
    key_id: str = ""
    source: str = "worker"
    request_id: str = ""
    address: str = ""
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry. ``action`` is "domain.verb", ``resource`` "kind:id", ``time`` epoch milliseconds, ``data`` a JSON
    object as text. ``sequence`` and ``hash`` are its place in the chain, 0 and empty before it has one."""

    action: str
    resource: str = ""
    outcome: str = SUCCESS
    actor: str = ""
    key_id: str = ""
    source: str = ""
    request_id: str = ""
    address: str = ""
    tenant: str = "default"
    data: str = "{}"
    time: int = 0
    sequence: int = 0
    hash: str = ""

    def chained(self, sequence: int, previous: str) -> AuditEntry:
        """Return the entry at this place of the chain, behind the hash of the entry before."""
        placed = replace(self, sequence=sequence)
        return replace(placed, hash=chain_hash(previous, placed))


@dataclass(frozen=True, slots=True)
class Anchor:
    """The number and the hash of the last entry at some time. Kept elsewhere, it shows that the chain was cut since."""

    sequence: int = 0
    hash: str = GENESIS


@dataclass(slots=True)
class ChainCheck:
    """The result of a check: how many entries it read, the last of them, and every fault in words."""

    entries: int = 0
    head: Anchor = Anchor()
    faults: list[str] = field(default_factory=list)


#: The origin of what this thread or request does.
_ORIGIN: ContextVar[AuditOrigin | None] = ContextVar("audit_origin", default=None)
_chained_values = attrgetter(*(field.name for field in fields(AuditEntry) if field.name != "hash"))
#: Faults that a check names one by one.
MAX_FAULTS = 20


@contextmanager
def acting(origin: AuditOrigin) -> Iterator[None]:
    """Make ``origin`` that of every audited change in the block."""
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def entry(
    action: str, resource: str = "", data: Mapping[str, Any] | None = None, outcome: str = SUCCESS, time: int = 0
) -> AuditEntry:
    """Return an entry of the present origin without a place in the chain."""
    origin = _ORIGIN.get() or AuditOrigin()
    text = json.dumps(data or {}, sort_keys=True, separators=(",", ":"), default=str)
    who = (origin.actor, origin.key_id, origin.source, origin.request_id, origin.address, origin.tenant)
    return AuditEntry(action, resource, outcome, *who, text, time)


def chain_hash(previous: str, entry: AuditEntry) -> str:
    """Return the SHA-256 over the hash of the entry before and the canonical JSON of this one."""
    canonical = json.dumps(_chained_values(entry), separators=(",", ":"))
    return hashlib.sha256(f"{previous}{canonical}".encode()).hexdigest()


def check_chain(entries: Iterable[AuditEntry], anchors: Sequence[Anchor] = ()) -> ChainCheck:
    """Check every entry against the one before, and the anchors against the chain.

    ``entries`` are in the order of their numbers. An anchor of an earlier time is as good as one of today: it must
    agree with its entry, and what came behind it follows from the chain.
    """
    check, hashes = ChainCheck(), {anchor.sequence: anchor.hash for anchor in anchors}
    for current in entries:
        expected = check.head.sequence + 1
        if current.sequence != expected:
            _add_fault(check, f"entry {expected} is followed by {current.sequence}: entries are missing or moved")
        elif current.hash != chain_hash(check.head.hash, current):
            _add_fault(
                check, f"entry {current.sequence} does not agree with its hash: it was changed, or the one before"
            )
        if hashes.get(current.sequence, current.hash) != current.hash:
            _add_fault(check, f"entry {current.sequence} is another one than when it was anchored")
        check.entries += 1
        check.head = Anchor(current.sequence, current.hash)
    for anchor in anchors:
        if anchor.sequence > check.head.sequence:
            text = f"the last entry is {check.head.sequence}, and entry {anchor.sequence} was anchored"
            _add_fault(check, f"{text}: entries were cut off at the end")
    return check


def _add_fault(check: ChainCheck, text: str) -> None:
    if len(check.faults) < MAX_FAULTS:
        check.faults.append(text)


def ocsf(entry: AuditEntry) -> dict[str, Any]:
    """Return the entry as an event of OCSF's class API Activity, with its place in the chain under "unmapped"."""
    domain, _, verb = entry.action.partition(".")
    activity = _ACTIVITIES.get(verb, _UPDATE)
    return {
        "activity_id": activity,
        "category_uid": _CATEGORY,
        "class_uid": _CLASS,
        "type_uid": _CLASS * 100 + activity,
        "severity_id": 1,
        "time": entry.time,
        "status": entry.outcome.capitalize(),
        "status_id": 1 if entry.outcome == SUCCESS else 2,
        "metadata": {
            "version": _OCSF_VERSION,
            "product": {"name": "Mailroom", "vendor_name": "Mailroom"},
            "sequence": entry.sequence,
        },
        "actor": {"user": {"uid": entry.actor, "credential_uid": entry.key_id}},
        "api": {"operation": entry.action, "service": {"name": entry.source}, "request": {"uid": entry.request_id}},
        "src_endpoint": {"ip": entry.address} if entry.address else {"name": "localhost"},
        "resources": [{"uid": entry.resource, "type": domain}] if entry.resource else [],
        "unmapped": {"data": json.loads(entry.data), "hash": entry.hash, "tenant": entry.tenant},
    }
