"""The specification of access beside a real installation: every change is made to both.

The installation decides in its catalogue, the specification by `pipeline.access` on plain records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.access import AccessRule, Effect, Scope, decide, folder_scope, groups_of, with_ancestors
from pipeline.documents import Arrival, Chunk, Document, Outcome, QueueName, Stage, State
from pipeline.questions import Caller
from workers.assemble import Mailroom


@dataclass
class SpecifiedDocument:
    """A document in the specification: its words, label and scopes, and ``listed``, its access list."""

    document: Document
    words: tuple[str, ...]
    label: str
    scopes: set[Scope]
    listed: set[str]


@dataclass
class Rights:
    """An installation and the specification of its access rules."""

    mailroom: Mailroom
    specified: dict[str, SpecifiedDocument] = field(default_factory=dict)
    rules: list[AccessRule] = field(default_factory=list)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def stock(self, texts: Sequence[tuple[str, ...]], arrivals: Sequence[Arrival], labels: Sequence[str]) -> None:
        """Add documents of one chunk each, embedded, labelled and indexed. The first two words are the title."""
        vectors = self.mailroom.embedder.embed([" ".join(words) for words in texts])
        for number, (words, arrival, label) in enumerate(zip(texts, arrivals, labels, strict=True)):
            document = self._file(number, words, arrival, label, vectors[number : number + 1])
            scopes = {*with_ancestors(folder_scope(arrival.source, arrival.path)), Scope(document_id=document.id)}
            self.specified[document.id] = SpecifiedDocument(document, words, label, scopes, set(arrival.access))
        self.mailroom.writer.publish()

    def _file(self, number: int, words: Sequence[str], arrival: Arrival, label: str, vector: np.ndarray) -> Document:
        document, _ = self.mailroom.catalogue.documents.receive(f"{number:064x}", 1, arrival)
        (job,) = self.mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)
        text, title = " ".join(words), " ".join(words[:2])
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
        return document

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

    def arrive_again(self, document_id: str, arrival: Arrival) -> None:
        """Receive the content of a document again, as another arrival."""
        specified = self.specified[document_id]
        self.mailroom.catalogue.documents.receive(specified.document.content_hash, 1, arrival)
        specified.scopes.update(with_ancestors(folder_scope(arrival.source, arrival.path)))
        specified.listed.update(arrival.access)

    def erase(self, document_id: str) -> None:
        self.mailroom.catalogue.documents.delete(document_id)
        del self.specified[document_id]
        own = Scope(document_id=document_id)
        self.rules = [rule for rule in self.rules if rule.scope != own]
