"""The specification of who may read what, kept beside a real house: documents on one side, what `pipeline.access` says of them
on the other. Every change is made to both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.access import Effect, Rule, Scope, chain, decide, groups_of, place
from pipeline.documents import Chunk, Document, Lane, Outcome, Sighting, Stage, State
from pipeline.questions import Caller
from workers.assemble import House


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

    house: House
    held: dict[str, Held] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def stock(self, texts: Sequence[tuple[str, ...]], sightings: Sequence[Sighting], labels: Sequence[str]) -> None:
        """Documents of one passage each, embedded, labelled and in the index. The first two words are the title."""
        vectors = self.house.embedder.embed([" ".join(words) for words in texts])
        for number, (words, sighting, label) in enumerate(zip(texts, sightings, labels, strict=True)):
            document = self._filed(number, words, sighting, label, vectors[number : number + 1])
            scopes = {*chain(place(sighting.source, sighting.path)), Scope(document_id=document.id)}
            self.held[document.id] = Held(document, words, label, scopes, set(sighting.access))
        self.house.writer.publish()

    def _filed(self, number: int, words: Sequence[str], sighting: Sighting, label: str, vector: np.ndarray) -> Document:
        document, _ = self.house.catalogue.documents.receive(f"{number:064x}", 1, sighting)
        (job,) = self.house.catalogue.ledger.claim(Lane.INGEST, "test", 60)
        text, title = " ".join(words), " ".join(words[:2])
        outcome = Outcome(
            Stage.EMBED,
            document={"label": label, "probability": 0.9, "title": title, "media_type": "text/plain"},
            chunks=(Chunk(0, text, 0, len(text)),),
            vectors=vector,
            embedder=self.house.embedder.digest,
            state=State.INDEXED,
        )
        assert self.house.catalogue.ledger.commit(job, outcome)
        self.house.writer.add(document.number, outcome.chunks, vector, title, document.name)
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
        if self.house.catalogue.rules.add(rule):
            self.rules.append(rule)

    def remove(self, rule: Rule) -> None:
        assert self.house.catalogue.rules.remove(rule.scope, rule.principal, rule.effect)
        self.rules.remove(rule)

    def unlist(self, document_id: str, principal: str) -> None:
        """Off the list that the document arrived with, and what else allows it on the document itself."""
        own = Scope(document_id=document_id)
        self.house.catalogue.rules.remove(own, principal, Effect.ALLOW)
        self.held[document_id].listed.discard(principal)
        gone = (own, principal, Effect.ALLOW)
        self.rules = [rule for rule in self.rules if (rule.scope, rule.principal, rule.effect) != gone]

    def put(self, group: str, members: Iterable[str]) -> None:
        self.groups[group] = tuple(members)
        self.house.catalogue.groups.put(group, self.groups[group])

    def arrive_again(self, document_id: str, sighting: Sighting) -> None:
        """The same content in another place."""
        held = self.held[document_id]
        self.house.catalogue.documents.receive(held.document.revision, 1, sighting)
        held.scopes.update(chain(place(sighting.source, sighting.path)))
        held.listed.update(sighting.access)

    def erase(self, document_id: str) -> None:
        self.house.catalogue.documents.delete(document_id)
        del self.held[document_id]
        own = Scope(document_id=document_id)
        self.rules = [rule for rule in self.rules if rule.scope != own]
