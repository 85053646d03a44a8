"""The specification of who may read what, kept beside a real house: documents on one side, what `pipeline.access` says of them
on the other. Every change is made to both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.access import Effect, Rule, Scope, decide, folder_scope, groups_of, with_ancestors
from pipeline.documents import Arrival, Chunk, Document, Outcome, QueueName, Stage, State
from pipeline.questions import Caller
from workers.assemble import Mailroom


@dataclass
class Held:
    """A document as the specification knows it: the words of its text, under which scopes it stands, its list."""

    document: Document
    words: tuple[str, ...]
    label: str
    scopes: set[Scope]
    listed: set[str]


@dataclass
class Rights:
    """A house and the specification of its permissions."""

    mailroom: Mailroom
    held: dict[str, Held] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def stock(self, texts: Sequence[tuple[str, ...]], arrivals: Sequence[Arrival], labels: Sequence[str]) -> None:
        """Documents of one passage each, embedded, labelled and in the index. The first two words are the title."""
        vectors = self.mailroom.embedder.embed([" ".join(words) for words in texts])
        for number, (words, arrival, label) in enumerate(zip(texts, arrivals, labels, strict=True)):
            document = self._filed(number, words, arrival, label, vectors[number : number + 1])
            scopes = {*with_ancestors(folder_scope(arrival.source, arrival.path)), Scope(document_id=document.id)}
            self.held[document.id] = Held(document, words, label, scopes, set(arrival.access))
        self.mailroom.writer.publish()

    def _filed(self, number: int, words: Sequence[str], arrival: Arrival, label: str, vector: np.ndarray) -> Document:
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
        """Ids of the documents that the caller may read, by the specification."""
        if caller.tenant != "default":
            return set()
        if caller.admin:
            return set(self.held)
        principals = groups_of(caller.principals, self.groups)
        return {each for each, held in self.held.items() if decide(principals, self._bearing(held)).allowed}

    def _bearing(self, held: Held) -> list[Rule]:
        own = Scope(document_id=held.document.id)
        rules = [rule for rule in self.rules if rule.scope in held.scopes]
        return rules + [Rule(own, each, Effect.ALLOW) for each in held.listed]

    def add(self, rule: Rule) -> None:
        if self.mailroom.catalogue.rules.add(rule):
            self.rules.append(rule)

    def remove(self, rule: Rule) -> None:
        assert self.mailroom.catalogue.rules.remove(rule.scope, rule.principal, rule.effect)
        self.rules.remove(rule)

    def unlist(self, document_id: str, principal: str) -> None:
        """Off the list that the document arrived with, and what else allows it on the document itself."""
        own = Scope(document_id=document_id)
        self.mailroom.catalogue.rules.remove(own, principal, Effect.ALLOW)
        self.held[document_id].listed.discard(principal)
        gone = (own, principal, Effect.ALLOW)
        self.rules = [rule for rule in self.rules if (rule.scope, rule.principal, rule.effect) != gone]

    def put(self, group: str, members: Iterable[str]) -> None:
        self.groups[group] = tuple(members)
        self.mailroom.catalogue.groups.put(group, self.groups[group])

    def arrive_again(self, document_id: str, arrival: Arrival) -> None:
        """The same content in another place."""
        held = self.held[document_id]
        self.mailroom.catalogue.documents.receive(held.document.content_hash, 1, arrival)
        held.scopes.update(with_ancestors(folder_scope(arrival.source, arrival.path)))
        held.listed.update(arrival.access)

    def erase(self, document_id: str) -> None:
        self.mailroom.catalogue.documents.delete(document_id)
        del self.held[document_id]
        own = Scope(document_id=document_id)
        self.rules = [rule for rule in self.rules if rule.scope != own]
