"""The specification of access beside a real installation: every change is made to both.

The installation decides in its catalogue, the specification by `pipeline.access` on plain records. A document is one
content at one place (owner, source, path). Its arrivals there widen its access list; the content that arrived last at a
place supersedes the others. Nothing that happens at another place changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.access import AccessRule, Effect, Scope, decide, folder_scope, groups_of, with_ancestors
from pipeline.documents import Arrival, Chunk, Document, Outcome, QueueName, Stage, State
from pipeline.questions import Caller
from workers.assemble import Mailroom


@dataclass
class SpecifiedDocument:
    """A document in the specification: its words, label and scopes, ``listed``, its access list, and when it arrived
    last."""

    document: Document
    words: tuple[str, ...]
    label: str
    scopes: set[Scope]
    listed: set[str]
    last: int = 0

    @property
    def place(self) -> tuple[str, str, str]:
        """Owner, source and path."""
        return self.document.owner, self.document.source, self.document.path


@dataclass
class Rights:
    """An installation and the specification of its access rules."""

    mailroom: Mailroom
    specified: dict[str, SpecifiedDocument] = field(default_factory=dict)
    rules: list[AccessRule] = field(default_factory=list)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clock: int = 0

    def stock(self, texts: Sequence[tuple[str, ...]], arrivals: Sequence[Arrival], labels: Sequence[str]) -> None:
        """Add documents of one chunk each, embedded, labelled and indexed. The first two words are the title."""
        for number, (words, arrival, label) in enumerate(zip(texts, arrivals, labels, strict=True)):
            self.arrive(f"{number:064x}", words, arrival, label)
        self.mailroom.writer.publish()

    def arrive(self, content_hash: str, words: tuple[str, ...], arrival: Arrival, label: str) -> None:
        """Receive a content; it is a known document only for the same content, owner, source and path."""
        place = (arrival.owner, arrival.source, arrival.path)
        entries = self.specified.values()
        same = [e.document.id for e in entries if e.place == place and e.document.content_hash == content_hash]
        document, created = self.mailroom.catalogue.documents.receive(content_hash, 1, arrival)
        assert same == ([] if created else [document.id])
        if created:
            self._file(document, words, label)
            scopes = {*with_ancestors(folder_scope(arrival.source, arrival.path)), Scope(document_id=document.id)}
            self.specified[document.id] = SpecifiedDocument(document, words, label, scopes, set())
        specified, self.clock = self.specified[document.id], self.clock + 1
        specified.listed.update(arrival.access)
        specified.last = self.clock

    def _file(self, document: Document, words: Sequence[str], label: str) -> None:
        (job,) = self.mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)
        text, title = " ".join(words), " ".join(words[:2])
        vector = self.mailroom.embedder.embed([text])
        outcome = Outcome(
            Stage.EMBED,
            document={"label": label, "probability": 0.9, "title": title, "media_type": "text/plain"},
            chunks=(Chunk(0, text, 0, len(text)),),
            vectors=vector,
            embedder=self.mailroom.embedder.digest,
            state=State.INDEXED,
        )
        assert self.mailroom.catalogue.jobs.commit(job, outcome)
        self.mailroom.writer.add(document.number, outcome.chunks, vector, title, document.name)

    def newest(self, ids: Iterable[str]) -> set[str]:
        """Return those of the documents that no later arrival at their place supersedes."""
        last: dict[tuple[str, str, str], int] = {}
        for entry in self.specified.values():
            last[entry.place] = max(last.get(entry.place, 0), entry.last)
        return {i for i in ids if self.specified[i].last == last[self.specified[i].place]}

    def allowed(self, caller: Caller) -> set[str]:
        """Return the ids of the documents that the caller may read by the specification."""
        if caller.tenant != "default":
            return set()
        if caller.admin:
            return set(self.specified)
        principals = groups_of(caller.principals, self.groups)
        return {
            document_id
            for document_id, specified in self.specified.items()
            if decide(principals, self._rules_of(specified)).allowed
        }

    def _rules_of(self, specified: SpecifiedDocument) -> list[AccessRule]:
        own = Scope(document_id=specified.document.id)
        rules = [rule for rule in self.rules if rule.scope in specified.scopes]
        return rules + [AccessRule(own, principal, Effect.ALLOW) for principal in specified.listed]

    def add(self, rule: AccessRule) -> None:
        if self.mailroom.catalogue.rules.add(rule):
            self.rules.append(rule)

    def remove(self, rule: AccessRule) -> None:
        assert self.mailroom.catalogue.rules.remove(rule.scope, rule.principal, rule.effect)
        self.rules.remove(rule)

    def unlist(self, document_id: str, principal: str) -> None:
        """Remove a principal from the access list of a document, and every rule on the document that allows it."""
        own = Scope(document_id=document_id)
        self.mailroom.catalogue.rules.remove(own, principal, Effect.ALLOW)
        self.specified[document_id].listed.discard(principal)
        removed = (own, principal, Effect.ALLOW)
        self.rules = [rule for rule in self.rules if (rule.scope, rule.principal, rule.effect) != removed]

    def put(self, group: str, members: Iterable[str]) -> None:
        self.groups[group] = tuple(members)
        self.mailroom.catalogue.groups.put(group, self.groups[group])

    def erase(self, document_id: str) -> None:
        self.mailroom.catalogue.documents.delete(document_id)
        self.forget(document_id)

    def forget(self, document_id: str) -> None:
        """Remove an erased document from the specification, with the rules on it."""
        del self.specified[document_id]
        own = Scope(document_id=document_id)
        self.rules = [rule for rule in self.rules if rule.scope != own]
