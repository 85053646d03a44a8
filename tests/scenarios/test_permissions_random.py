"""Ten thousand random users, access lists and queries through search, compared with the specification.

Nothing forbidden is ever returned and nothing allowed is missing, while rules, groups, lists and labels change, and
while people send contents again (to other places, as other owners, as new revisions) and erase documents.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from indexes.lexical.analysis import stems
from indexes.lexical.match import is_near
from pipeline.access import AccessRule, Effect, Scope
from pipeline.documents import Arrival
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, ALL, NEWEST, Caller, Filters, SearchRequest
from pipeline.reclassify import approval, person_prediction
from pipeline.route import route
from pipeline.rules import load_rules
from tests.support.rights import Rights
from tests.support.serving import make_mailroom
from tests.support.tiny import make_embedder

TRIPLES, BATCHES, DOCUMENTS = 10_000, 20, 200
PEOPLE = [f"user:{n}" for n in range(12)]
TEAMS = [f"group:{n}" for n in range(5)]
FOLDERS = ["", "a", "a/b", "a/b/c", "ab", "x", "x/y"]
LABELS = ["letter", "invoice", "memo"]
#: Callers of every kind: one user, a user with a service's name, a group, nobody, everyone, another tenant's user, an
#: administrator's key.
CALLERS = [
    *(Caller((person,)) for person in PEOPLE),
    Caller((PEOPLE[0], "service:scan")),
    Caller((TEAMS[0],)),
    Caller(()),
    Caller(("*",)),
    Caller((PEOPLE[1],), tenant="other"),
    ADMINISTRATOR,
]


def invent_words(rng: random.Random, count: int) -> list[str]:
    """Invent words so different that none is taken for another one's misspelling."""
    words: list[str] = []
    while len(words) < count:
        word = "".join(rng.choices("bcdfghklmnprtvz", k=5)) + "".join(rng.choices("aeiou", k=5))
        if not any(is_near(word, other, 3) for other in words):
            words.append(word)
    assert len({stems(word)[0] for word in words}) == count
    return words


@dataclass
class Crowd:
    """An installation and the random numbers that every step is drawn by; ``errors`` lists what must not happen."""

    rights: Rights
    words: list[str]
    rng: random.Random
    errors: list[str] = field(default_factory=list)

    # --- changes between batches

    def change(self) -> None:
        """Make one or several changes to what callers may see."""
        kinds = [
            self._add,
            self._add,
            self._remove,
            self._regroup,
            self._unlist,
            self._arrive,
            self._arrive,
            self._revise,
            self._relabel,
            self._erase,
            self._erase_as_somebody,
        ]
        if self.rng.random() < 0.5:  # changes of single documents, after which only those are checked again
            kinds = [self._arrive, self._arrive, self._revise, self._relabel, self._erase, self._erase_as_somebody]
        for kind in self.rng.sample(kinds, self.rng.randint(1, min(5, len(kinds)))):
            kind()

    def _someone(self) -> str:
        return self.rng.choice([*PEOPLE, *TEAMS, *TEAMS, "*"])

    def _document(self) -> str:
        return self.rng.choice(list(self.rights.specified))

    def _add(self) -> None:
        own, folder = Scope(document_id=self._document()), Scope(self.rng.choice("st"), self.rng.choice(FOLDERS))
        effect = self.rng.choice([Effect.ALLOW, Effect.ALLOW, Effect.DENY, Effect.ONLY])
        self.rights.add(AccessRule(self.rng.choice([own, folder]), self._someone(), effect))

    def _remove(self) -> None:
        if len(self.rights.rules) > 6:
            self.rights.remove(self.rng.choice(self.rights.rules))

    def _regroup(self) -> None:
        at = self.rng.randrange(len(TEAMS))  # later groups only, so that there is no circle
        members = self.rng.sample(PEOPLE, 3) + self.rng.sample(TEAMS[at + 1 :], min(1, len(TEAMS) - at - 1))
        self.rights.put(TEAMS[at], members)

    def _unlist(self) -> None:
        document_id = self._document()
        for principal in sorted(self.rights.specified[document_id].listed)[:1]:
            self.rights.unlist(document_id, principal)

    def _arrive(self) -> None:
        """Receive a stored content again: at its own place, at another one, or from somebody else."""
        specified = self.rights.specified[self._document()]
        document, access = specified.document, self.rng.choice([(), (self._someone(),)])
        source, path, owner = document.source, document.path, document.owner
        if self.rng.random() < 0.8:
            path = f"{self.rng.choice(FOLDERS)}/again-{self.rng.randint(1, 3)}.txt".lstrip("/")
            source, owner = self.rng.choice("st"), self.rng.choice(["", *PEOPLE[:3]])
        arrival = Arrival(source, path, 2.0, access, owner=owner)
        self.rights.arrive(document.content_hash, specified.words, arrival, self.rng.choice(LABELS))
        self.rights.mailroom.writer.publish()

    def _revise(self) -> None:
        """Receive a new content at the place of another one."""
        document = self.rights.specified[self._document()].document
        words = tuple(self.rng.sample(self.words, 4))
        access = tuple(self.rng.sample([*PEOPLE, *TEAMS, "*"], 1))
        arrival = Arrival(document.source, document.path, 2.0, access, owner=document.owner)
        content_hash = f"{self.rng.getrandbits(256):064x}"
        self.rights.arrive(content_hash, words, arrival, self.rng.choice(LABELS))
        self.rights.mailroom.writer.publish()

    def _relabel(self) -> None:
        catalogue, document_id = self.rights.mailroom.catalogue, self._document()
        document, label = catalogue.documents.get(document_id), self.rng.choice(LABELS)
        routing = route(load_rules(None), person_prediction(label, "ann"), document, "", {})
        assert catalogue.reviews.decide(approval(document, label, "ann", routing, frozenset()), {"by": "ann"})
        self.rights.specified[document_id].label = label

    def _erase(self) -> None:
        self.rights.erase(self._document())

    def _erase_as_somebody(self) -> None:
        """Erase by the service: only what the caller sent goes, and what he may not read is not found."""
        caller = self.rng.choice(CALLERS)
        own = [i for i, specified in self.rights.specified.items() if specified.document.owner == caller.owner]
        document_id = self.rng.choice(own) if own and self.rng.random() < 0.5 else self._document()
        readable, expected = document_id in self.rights.allowed(caller), "not-found"
        if readable:
            may = caller.admin or self.rights.specified[document_id].document.owner == caller.owner
            expected = "erased" if may else "forbidden"
        try:
            self.rights.mailroom.documents.erase(caller, document_id)
            result = "erased"
            self.rights.forget(document_id)
        except Refused as error:
            result = error.code
        if result != expected:
            self.errors.append(f"{caller} erases {document_id}: {result}, not {expected}")

    # --- queries

    def query(self, caller: Caller, readable: set[str]) -> None:
        """Run one random query of one of the kinds, most of them searches by words."""
        kinds = [
            self._words,
            self._nearest,
            self._hybrid,
            self._list,
            self._facets,
            self._suggest,
            self._ask,
            self._similar,
            self._once,
            self._place,
        ]
        (kind,) = self.rng.choices(kinds, [75, 4, 4, 1.5, 2, 2, 0.5, 1, 6, 4])
        kind(caller, self.rights.newest(readable))

    def _once(self, caller: Caller, allowed: set[str]) -> None:
        """Expect each content once, and the other documents with it as its duplicates."""
        word = self.rng.choice(self.words)
        expected = allowed & self._having(word)
        result = self.rights.mailroom.search.search(caller, SearchRequest(word, 100, 0, "lexical"))
        hits = [passage.document_id for passage in result.passages]
        answer = {*hits}.union(*(passage.duplicates for passage in result.passages))
        self._compare(caller, f"once {word}", answer, expected, expected)
        contents = [self.rights.specified[hit].document.content_hash for hit in hits if hit in expected]
        if len(set(contents)) != len(contents):
            self.errors.append(f"{caller} sees a content twice by {word}: {hits}")

    def _place(self, caller: Caller, allowed: set[str]) -> None:
        """Expect each document by its own source, folder and name, of the newest contents or of all."""
        revisions = self.rng.choice([NEWEST, ALL])
        filters = Filters(sources=(self.rng.choice("st"),), folder=self.rng.choice(FOLDERS), revisions=revisions)
        prefix = f"{filters.folder}/" if filters.folder else ""
        readable = allowed if revisions == NEWEST else self.rights.allowed(caller)
        expected = {
            document_id
            for document_id in readable
            if (document := self.rights.specified[document_id].document).source in filters.sources
            and document.path.startswith(prefix)
        }
        listing = self.rights.mailroom.documents.find(caller, filters, 500, 0)
        self._compare(caller, f"list {filters}", {d.id for d in listing.documents}, expected, expected)
        name = f"again-{self.rng.randint(1, 3)}.txt"
        having = {i for i in expected if self.rights.specified[i].document.path.rsplit("/", 1)[-1] == name}
        request = SearchRequest(f'name:"{name}"', 100, 0, "lexical", filters, collapse=False)
        result = self.rights.mailroom.search.search(caller, request)
        self._compare(caller, f"{request}", {p.document_id for p in result.passages}, having, expected)

    def _compare(
        self, caller: Caller, what: str, answer: set[str], expected: set[str] | None, allowed: set[str]
    ) -> None:
        if leaks := answer - allowed:
            self.errors.append(f"leak to {caller} by {what}: {sorted(leaks)}")
        if expected is not None and (hidden := expected - answer):
            self.errors.append(f"hidden from {caller} by {what}: {sorted(hidden)}")

    def _request(self, mode: str, k: int) -> tuple[SearchRequest, str, set[str]]:
        """Draw a request; return it, its word, and the ids of all documents that match its filter."""
        word, label = self.rng.choice(self.words), self.rng.choice(["", "", "", LABELS[0]])
        filters = Filters(labels=(label,)) if label else Filters()
        entries = self.rights.specified.values()
        matching = {entry.document.id for entry in entries if not label or entry.label == label}
        return SearchRequest(word, k, 0, mode, filters, 1, False), word, matching

    def _having(self, word: str) -> set[str]:
        return {entry.document.id for entry in self.rights.specified.values() if word in entry.words}

    def _words(self, caller: Caller, allowed: set[str]) -> None:
        """Expect every document with the word, and nothing else."""
        request, word, matching = self._request("lexical", 100)
        expected = allowed & matching & self._having(word)
        result = self.rights.mailroom.search.search(caller, request)
        self._compare(caller, f"words {request}", {p.document_id for p in result.passages}, expected, expected)
        if (result.total, result.total_is_exact) != (len(expected), True):
            self.errors.append(f"{caller}: {result.total} counted of {len(expected)} by {request}")

    def _nearest(self, caller: Caller, allowed: set[str]) -> None:
        """Expect as many hits as there can be: every vector is near to some degree."""
        self._filled(caller, allowed, *self._request("vector", 3)[::2])

    def _hybrid(self, caller: Caller, allowed: set[str]) -> None:
        self._filled(caller, allowed, *self._request("hybrid", 5)[::2])

    def _filled(self, caller: Caller, allowed: set[str], request: SearchRequest, matching: set[str]) -> None:
        passages = self.rights.mailroom.search.search(caller, request).passages
        self._compare(caller, f"search {request}", {p.document_id for p in passages}, None, allowed & matching)
        if len(passages) != min(request.k, len(allowed & matching)):
            self.errors.append(f"{caller} starves: {len(passages)} of {len(allowed & matching)} by {request}")

    def _list(self, caller: Caller, allowed: set[str]) -> None:
        documents = self.rights.mailroom.catalogue.documents
        answer, total = documents.find(caller, Filters(), 20)
        page = set(sorted(allowed, key=lambda id_: -self.rights.specified[id_].document.number)[:20])
        self._compare(caller, "list", {document.id for document in answer}, page, page)
        labels = Counter(self.rights.specified[document_id].label for document_id in allowed)
        (facet,) = documents.facets(caller, Filters(), ["type"])
        if total != len(allowed) or {value.value: value.count for value in facet.values} != labels:
            self.errors.append(f"{caller} counts {total} of {len(allowed)}: {facet}, not {labels}")
        document_id = self._document()
        try:
            answer_ids = {documents.read(caller, document_id).id}
        except Refused:
            answer_ids = set()
        readable = self.rights.allowed(caller)  # with older revisions
        self._compare(caller, f"read {document_id}", answer_ids, readable & {document_id}, readable)

    def _facets(self, caller: Caller, allowed: set[str]) -> None:
        request, word, matching = self._request("lexical", 10)
        expected = allowed & matching & self._having(word)
        counts = self.rights.mailroom.search.facets(caller, request, ["type"])
        labels = Counter(self.rights.specified[document_id].label for document_id in expected)
        if counts.exact and {value.value: value.count for value in counts.facets[0].values} != labels:
            self.errors.append(f"{caller} counts {counts} by {request}, not {labels}")
        if not counts.exact and expected:  # where no document has the word, the nearest are counts
            self.errors.append(f"hidden from {caller} by facets {request}: {expected}")
        if counts.documents > len(allowed & matching):
            self.errors.append(f"{caller} counts {counts.documents} of {len(allowed & matching)} by {request}")

    def _suggest(self, caller: Caller, allowed: set[str]) -> None:
        """Expect the word that is typed so far if a readable document has it, and only such documents' titles."""
        word = self.rng.choice(self.words)
        having = allowed & self._having(word)
        suggestions = self.rights.mailroom.suggestions.find(caller, word[:6], 10)
        titles = {suggestion.document_id for suggestion in suggestions if suggestion.document_id}
        self._compare(caller, f"suggest {word}", titles, None, having)
        if bool(having) != (word in {suggestion.text for suggestion in suggestions if suggestion.kind == "word"}):
            self.errors.append(f"{caller} gets {suggestions} by {word}, which {len(having)} have")

    def _ask(self, caller: Caller, allowed: set[str]) -> None:
        answer = self.rights.mailroom.search.ask(caller, " ".join(self.rng.sample(self.words, 3)))
        sources = {passage.document_id for passage in (*answer.quotes, *answer.nearest)}
        self._compare(caller, "ask", sources, None, allowed)

    def _similar(self, caller: Caller, allowed: set[str]) -> None:
        if not allowed:
            return
        of = self.rights.specified[self.rng.choice(sorted(allowed))].document
        hits = self.rights.mailroom.similar.find(caller, of, 10)
        similar = {hit.document.id for hit in hits}.union(*(hit.duplicates for hit in hits))
        self._compare(caller, f"similar to {of.id}", similar, None, allowed - {of.id})


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    rng = random.Random(20261125)
    words = invent_words(rng, 150)
    model = make_embedder(tmp_path / "models", "1", words)
    mailroom = make_mailroom(tmp_path / "data", **{"catalogue.url": "memory:", "models.embedder": str(model.path)})
    rights = Rights(mailroom)
    texts = [tuple(rng.sample(words, 4)) for _ in range(DOCUMENTS)]
    lists = [tuple(rng.sample([*PEOPLE, *TEAMS, "*"], rng.choice([0, 0, 1, 1, 2]))) for _ in texts]
    paths = [f"{rng.choice(FOLDERS)}/{number}.txt".lstrip("/") for number in range(DOCUMENTS)]
    arrivals = [Arrival(rng.choice("st"), path, 1.0, access) for path, access in zip(paths, lists, strict=True)]
    rights.stock(texts, arrivals, [rng.choice(LABELS) for _ in texts])
    yield Crowd(rights, words, rng)
    mailroom.close()


@pytest.mark.timeout(900)
def test_nothing_forbidden_is_returned_and_nothing_allowed_is_missing(crowd: Crowd) -> None:
    queries, shares = 0, Counter()
    for _ in range(BATCHES):
        crowd.change()
        may = {caller: crowd.rights.allowed(caller) for caller in crowd.rng.sample(CALLERS, 6)}
        for _ in range(TRIPLES // BATCHES):
            caller = crowd.rng.choice(list(may))
            crowd.query(caller, may[caller])
            queries += 1
        shares.update(round(10 * len(allowed) / len(crowd.rights.specified)) for allowed in may.values())
    assert (queries, crowd.errors[:5]) == (TRIPLES, [])
    assert len(shares) >= 4, f"the lists are too much alike to prove anything: {shares}"
