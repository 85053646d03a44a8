"""The records of an erasure, all frozen: what was to be erased, what was found, and what the receipt says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ErasureState(StrEnum):
    """How far an erasure is. The documents are hidden from the first state on."""

    #: documents are being added
    OPEN = "open"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ErasureOrder:
    """Which erasure a deletion belongs to: its id, and who requested it ("user:ann", "key:ID", "operator:NAME")."""

    id: str
    by: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery of a document: ``place`` is where it went, a path under the folder root or a name in failed/.

    ``place`` is None if the delivery had not ended; then ``job`` is the id of its job, and ``expected`` the path where
    it may have put the file nevertheless.
    """

    kind: str
    target: str
    place: str | None
    expected: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class ErasedDocument:
    """A document of an erasure.

    ``content_hash`` and ``deliveries`` are empty once the erasure has ended. ``removed`` counts what was removed, by
    store; ``remaining`` is what was left, as (store, what, why, until). ``anonymised_at``: when nothing in the
    catalogue's rows named it any more (epoch seconds).
    """

    id: str
    number: int
    parent: str | None
    received_at: float
    content_hash: str = ""
    deliveries: Sequence[Delivery] = ()
    removed: Mapping[str, int] = field(default_factory=dict)
    remaining: Sequence[Sequence[str]] = ()
    done: bool = False
    anonymised_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Erasure:
    """One request to erase documents, with its receipt once it is done."""

    id: str
    tenant: str
    requested_at: float
    requested_by: str
    state: ErasureState
    index_clean: bool
    documents: Sequence[ErasedDocument]
    receipt: Mapping[str, Any] | None = None
