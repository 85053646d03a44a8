"""Random uploads, revisions, attachments, erasures, rules and groups, compared with a specification in plain Python.

After every action a random caller lists and reads. MAILROOM_TRIALS sets the number of actions.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from indexes.catalogue.catalogue import Catalogue
from pipeline.access import AccessRule, Effect, Scope, decide, folder_scope, groups_of, with_ancestors
from pipeline.documents import Arrival, Child, Chunk, Document, Outcome, QueueName, Stage, State
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, ALL, NEWEST, Caller, Filters
from tests.contracts.test_catalogue import content_hash
from tests.support.memory_blobs import MemoryBlobs
from workers.services.documents import DocumentService
from workers.services.intake import Intake

TRIALS = int(os.environ.get("MAILROOM_TRIALS", "200"))
PEOPLE = [f"user:{n}" for n in range(5)]
TEAMS = [f"group:{n}" for n in range(3)]
FOLDERS = ["", "a/", "a/b/", "ab/"]
CALLERS = [*(Caller((person,)) for person in PEOPLE), Caller((TEAMS[0],)), Caller(()), ADMINISTRATOR]


class Quiet:
    """Takes the place of the queue: these documents are worked on by the test itself."""

    def notify(self, *_: object) -> None:
        """Wake nobody up."""


@dataclass
class Entry:
    """A document of the specification. ``last`` is when it arrived last; ``searchable`` that its job ended well."""

    document: Document
    parent: str | None
    listed: set[str]
    last: int
    searchable: bool = False
    open: bool = True


@dataclass
class Specification:
    """What the documents are, and who may read them, from the rules of docs/permissions.md alone."""

    entries: dict[str, Entry] = field(default_factory=dict)
    rules: list[AccessRule] = field(default_factory=list)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def same(self, content: str, arrival: Arrival, parent: str | None) -> str | None:
        """Return the id of the document that an arrival belongs to, or None for a new one."""
        key = (arrival.owner, arrival.source, arrival.path, parent, content)
        for document_id, entry in self.entries.items():
            d = entry.document
            if (d.owner, d.source, d.path, entry.parent, d.content_hash) == key:
                return document_id
        return None

    def family(self, document_id: str) -> set[str]:
        """Return the document and all that is attached to it."""
        children = [i for i, entry in self.entries.items() if entry.parent == document_id]
        return {document_id}.union(*(self.family(child) for child in children))

    def superseded(self, document_id: str) -> bool:
        """Return True if a later searchable content stands at the place of the document, or of its mail."""
        entry = self.entries[document_id]
        if entry.parent is not None:
            return self.superseded(entry.parent)
        d = entry.document
        return any(
            o.searchable and o.parent is None and o.last > entry.last
            for o in self.entries.values()
            if (o.document.owner, o.document.source, o.document.path) == (d.owner, d.source, d.path)
        )

    def readable(self, caller: Caller) -> set[str]:
        """Return the documents that the caller may read, older revisions too."""
        if caller.admin:
            return set(self.entries)
        principals = groups_of(caller.principals, self.groups)
        return {i for i in self.entries if decide(principals, self._rules_of(i)).allowed}

    def _rules_of(self, document_id: str) -> list[AccessRule]:
        entry = self.entries[document_id]
        scopes = {*with_ancestors(folder_scope(entry.document.source, entry.document.path))}
        at: str | None = document_id
        while at is not None:
            scopes.add(Scope(document_id=at))
            at = self.entries[at].parent
        own = [AccessRule(Scope(document_id=document_id), name, Effect.ALLOW) for name in entry.listed]
        return own + [rule for rule in self.rules if rule.scope in scopes]


@dataclass
class World:
    """The catalogue beside its specification, and the random numbers by which both are changed."""

    catalogue: Catalogue
    service: DocumentService
    rng: random.Random
    specification: Specification = field(default_factory=Specification)
    clock: int = 0

    def act(self) -> None:
        """Make one random change to both."""
        kinds: list[Callable[[], None]] = [self._upload, self._finish, self._erase, self._add_rule, self._remove_rule]
        (kind,) = self.rng.choices([*kinds, self._regroup, self._unlist], [40, 30, 14, 6, 5, 3, 2])
        kind()

    def compare(self) -> None:
        """Compare what a random caller lists, may search and reads."""
        caller, revisions = self.rng.choice(CALLERS), self.rng.choice([NEWEST, ALL])
        readable = self.specification.readable(caller)
        folder = self.rng.choice([None, "a", "a/b"])
        expected = {
            i
            for i in readable
            if (revisions == ALL or not self.specification.superseded(i))
            and self.specification.entries[i].document.path.startswith(f"{folder}/" if folder else "")
        }
        filters = Filters(revisions=revisions, folder=folder)
        documents, total = self.catalogue.documents.find(caller, filters, 10_000)
        assert ({document.id for document in documents}, total) == (expected, len(expected)), (caller, filters)
        numbers = {document.number for document in documents if self.specification.entries[document.id].searchable}
        assert self.catalogue.documents.visible(caller, filters) == numbers, (caller, filters)
        if self.specification.entries:
            document_id = self.rng.choice(list(self.specification.entries))
            assert self.service.may_read(caller, document_id) == (document_id in readable), (caller, document_id)
            if document_id in readable:
                self._compare_record(caller, document_id, readable)

    def _compare_record(self, caller: Caller, document_id: str, readable: Collection[str]) -> None:
        record, entry = self.service.record(caller, document_id), self.specification.entries[document_id]
        own = entry.document
        assert set(record.document.access) == entry.listed
        assert {(a.owner, a.source, a.path) for a in record.arrivals} <= {(own.owner, own.source, own.path)}
        others = {
            i
            for i, o in self.specification.entries.items()
            if entry.parent is o.parent is None and i != document_id and i in readable
            if (o.document.owner, o.document.source, o.document.path) == (own.owner, own.source, own.path)
        }
        assert {document.id for document in record.revisions} == others

    def _someone(self) -> str:
        return self.rng.choice([*PEOPLE, *TEAMS, "*"])

    def _entry(self, conditions: Callable[[Entry], bool] = lambda entry: True) -> str | None:
        ids = [i for i, entry in self.specification.entries.items() if conditions(entry)]
        return self.rng.choice(ids) if ids else None

    def _upload(self) -> None:
        path = f"{self.rng.choice(FOLDERS)}{self.rng.choice('xyz')}.eml"
        access = tuple(self.rng.sample([*PEOPLE, *TEAMS, "*"], self.rng.randint(0, 2)))
        owner, source = self.rng.choice(["", *PEOPLE[:3]]), self.rng.choice("st")
        arrival = Arrival(source, path, 1.0, access, owner=owner)
        content = content_hash(self.rng.randint(1, 5))
        expected = self.specification.same(content, arrival, None)
        document, created = self.catalogue.documents.receive(content, 1, arrival)
        assert (expected or document.id, created) == (document.id, expected is None)
        self.clock += 1
        entry = self.specification.entries.setdefault(document.id, Entry(document, None, set(), 0))
        entry.last, entry.listed = self.clock, entry.listed | {*access}

    def _finish(self) -> None:
        document_id = self._entry(lambda entry: entry.open)
        if document_id is None:
            return
        entry, state = (
            self.specification.entries[document_id],
            self.rng.choice([*[State.INDEXED] * 3, State.REVIEW, State.FAILED]),
        )
        with self.catalogue.database.read() as connection:
            query = sa.text("SELECT id FROM jobs WHERE subject = :id")
            job_id = connection.scalar(query, {"id": document_id})
        (job,) = self.catalogue.jobs.claim(QueueName.INGEST, "test", 600, job_id=job_id)
        entry.open, children = False, ()
        outcome = Outcome(Stage.PARSE, state=state)
        if state is not State.FAILED:
            entry.searchable = True
            if self.rng.random() < 0.4 and entry.document.path.count(".") < 3:
                children = self._children(entry.document)
            chunks = (Chunk(0, "text", 0, 4),)
            outcome = Outcome(
                Stage.INDEX, state=state, chunks=chunks, vectors=np.ones((1, 4)), embedder="E", children=children
            )
        assert self.catalogue.jobs.commit(job, outcome)
        attached = self.catalogue.documents.find(ADMINISTRATOR, Filters(revisions=ALL), 10_000)[0] if children else []
        for document in attached:
            if document.parent == document_id:
                self.clock += 1
                new = Entry(document, document_id, set(document.access), self.clock)
                self.specification.entries.setdefault(document.id, new)

    def _children(self, document: Document) -> tuple[Child, ...]:
        names = [f"{document.path}/{self.rng.choice('pq')}.pdf" for _ in range(self.rng.randint(1, 2))]
        access = self.catalogue.documents.get(document.id).access
        return tuple(
            Child(
                content_hash(self.rng.randint(1, 8)),
                1,
                Arrival(document.source, name, 1.0, access, owner=document.owner),
            )
            for name in names
        )

    def _erase(self) -> None:
        caller, document_id = self.rng.choice(CALLERS), self._entry()
        if document_id is None:
            return
        own = self._entry(lambda entry: entry.document.owner == caller.owner)
        document_id = own if own and self.rng.random() < 0.5 else document_id
        readable, expected = self.specification.readable(caller), "not-found"
        if document_id in readable:
            is_own = self.specification.entries[document_id].document.owner == caller.owner
            expected = "erased" if caller.admin or is_own else "forbidden"
        try:
            erased = {document.id for document in self.service.erase(caller, document_id)}
        except Refused as error:
            assert error.code == expected, (caller, document_id)
            return
        family = self.specification.family(document_id)
        assert (expected, erased) == ("erased", family & readable), (caller, document_id)
        for gone in family:
            del self.specification.entries[gone]
        self.specification.rules = [r for r in self.specification.rules if r.scope.document_id not in family]

    def _add_rule(self) -> None:
        document_id = self._entry()
        scope = Scope(self.rng.choice("st"), self.rng.choice(["", "a", "a/b"]))
        if document_id and self.rng.random() < 0.5:
            scope = Scope(document_id=document_id)
        effect = self.rng.choice([Effect.ALLOW, Effect.ALLOW, Effect.DENY, Effect.ONLY])
        rule = AccessRule(scope, self._someone(), effect)
        if self.catalogue.rules.add(rule):
            self.specification.rules.append(rule)

    def _remove_rule(self) -> None:
        rules = [r for r in self.specification.rules if r.scope.document_id == "" or r.effect is not Effect.ALLOW]
        if rules:
            rule = self.rng.choice(rules)
            assert self.catalogue.rules.remove(rule.scope, rule.principal, rule.effect)
            self.specification.rules.remove(rule)

    def _regroup(self) -> None:
        at = self.rng.randrange(len(TEAMS))  # later groups only, so that there is no cycle
        members = tuple(self.rng.sample([*PEOPLE, *TEAMS[at + 1 :]], 2))
        self.catalogue.groups.put(TEAMS[at], members)
        self.specification.groups[TEAMS[at]] = members

    def _unlist(self) -> None:
        document_id = self._entry(lambda entry: bool(entry.listed))
        if document_id is not None:
            principal = sorted(self.specification.entries[document_id].listed)[0]
            own = Scope(document_id=document_id)
            self.catalogue.rules.remove(own, principal, Effect.ALLOW)
            self.specification.entries[document_id].listed.discard(principal)
            gone = (own, principal, Effect.ALLOW)
            rules = self.specification.rules
            self.specification.rules = [r for r in rules if (r.scope, r.principal, r.effect) != gone]


@pytest.mark.timeout(3600)
def test_whose_a_document_is(catalogue: Catalogue, tmp_path: Path) -> None:
    intake = Intake(catalogue, MemoryBlobs(), Quiet(), tmp_path, 1)  # type: ignore[arg-type]  # no queue here
    service = DocumentService(catalogue, intake, Quiet())  # type: ignore[arg-type]
    world = World(catalogue, service, random.Random(20261129))
    for _ in range(TRIALS):
        world.act()
        world.compare()
    entries = world.specification.entries
    assert len(entries) >= min(20, TRIALS // 20)
    assert any(world.specification.superseded(document_id) for document_id in entries)
