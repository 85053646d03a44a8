"""Ten thousand random users, access lists and queries through the whole path out, held against the specification: nothing that is
forbidden is ever told, and nothing that is allowed is left out, while rules, groups, lists, labels and documents change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from indexes.lexical.analysis import stems
from indexes.lexical.match import is_near
from pipeline.access import Effect, Rule, Scope
from pipeline.documents import Arrival
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller, Filters, SearchRequest
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
#: Callers of every kind: one user, a user with a service's name, nobody, everyone, another tenant's, an administrator's key.
CALLERS = [
    *(Caller((person,)) for person in PEOPLE),
    Caller((PEOPLE[0], "service:scan")),
    Caller((TEAMS[0],)),
    Caller(()),
    Caller(("*",)),
    Caller((PEOPLE[1],), tenant="other"),
    ADMINISTRATOR,
]


def made_up(rng: random.Random, count: int) -> list[str]:
    """Words so unlike each other that none is taken for another one's misspelling."""
    words: list[str] = []
    while len(words) < count:
        word = "".join(rng.choices("bcdfghklmnprtvz", k=5)) + "".join(rng.choices("aeiou", k=5))
        if not any(is_near(word, each, 3) for each in words):
            words.append(word)
    assert len({stems(word)[0] for word in words}) == count
    return words


@dataclass
class Crowd:
    """The house, and the random numbers that everything is drawn by; ``wrong`` collects what should not be."""

    rights: Rights
    words: list[str]
    rng: random.Random
    wrong: list[str] = field(default_factory=list)

    # --- what changes between batches

    def change(self) -> None:
        """One or several changes of what anyone may see."""
        kinds = [
            self._add,
            self._add,
            self._remove,
            self._regroup,
            self._unlist,
            self._arrive,
            self._relabel,
            self._erase,
        ]
        if self.rng.random() < 0.5:  # of single documents alone, which are then looked at alone
            kinds = [self._arrive, self._arrive, self._relabel, self._erase]
        for kind in self.rng.sample(kinds, self.rng.randint(1, min(5, len(kinds)))):
            kind()

    def _someone(self) -> str:
        return self.rng.choice([*PEOPLE, *TEAMS, *TEAMS, "*"])

    def _document(self) -> str:
        return self.rng.choice(list(self.rights.specified))

    def _add(self) -> None:
        own, folder = Scope(document_id=self._document()), Scope(self.rng.choice("st"), self.rng.choice(FOLDERS))
        effect = self.rng.choice([Effect.ALLOW, Effect.ALLOW, Effect.DENY, Effect.ONLY])
        self.rights.add(Rule(self.rng.choice([own, folder]), self._someone(), effect))

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
        document_id = self._document()
        access = self.rng.choice([(), (self._someone(),)])
        path = f"{self.rng.choice(FOLDERS)}/again.txt".lstrip("/")
        self.rights.arrive_again(document_id, Arrival(self.rng.choice("st"), path, 2.0, access))

    def _relabel(self) -> None:
        catalogue, document_id = self.rights.mailroom.catalogue, self._document()
        document, label = catalogue.documents.get(document_id), self.rng.choice(LABELS)
        routing = route(load_rules(None), person_prediction(label, "ann"), document, "", {})
        assert catalogue.reviews.decide(approval(document, label, "ann", routing, frozenset()), {"by": "ann"})
        self.rights.specified[document_id].label = label

    def _erase(self) -> None:
        self.rights.erase(self._document())

    # --- what is asked

    def ask_something(self, caller: Caller, allowed: set[str]) -> None:
        """One triple: a random question of one of the kinds, by far most of them searches."""
        kinds = [
            self._words,
            self._nearest,
            self._hybrid,
            self._list,
            self._facets,
            self._suggest,
            self._ask,
            self._similar,
        ]
        (kind,) = self.rng.choices(kinds, [85, 4, 4, 1.5, 2, 2, 0.5, 1])
        kind(caller, allowed)

    def _note(self, caller: Caller, what: str, told: set[str], expected: set[str] | None, allowed: set[str]) -> None:
        if leaks := told - allowed:
            self.wrong.append(f"leak to {caller} by {what}: {sorted(leaks)}")
        if expected is not None and (hidden := expected - told):
            self.wrong.append(f"hidden from {caller} by {what}: {sorted(hidden)}")

    def _request(self, mode: str, k: int) -> tuple[SearchRequest, str, set[str]]:
        """With the ids of all documents that have the word and that the filter keeps."""
        word, label = self.rng.choice(self.words), self.rng.choice(["", "", "", LABELS[0]])
        filters = Filters(labels=(label,)) if label else Filters()
        held = self.rights.specified.values()
        kept = {each.document.id for each in held if not label or each.label == label}
        return SearchRequest(word, k, 0, mode, filters, 1, False), word, kept

    def _having(self, word: str) -> set[str]:
        return {each.document.id for each in self.rights.specified.values() if word in each.words}

    def _words(self, caller: Caller, allowed: set[str]) -> None:
        """All that has the word, and nothing else."""
        request, word, kept = self._request("lexical", 100)
        expected = allowed & kept & self._having(word)
        result = self.rights.mailroom.search.search(caller, request)
        self._note(caller, f"words {request}", {p.document_id for p in result.passages}, expected, expected)
        if (result.total, result.total_is_exact) != (len(expected), True):
            self.wrong.append(f"{caller}: {result.total} counted of {len(expected)} by {request}")

    def _nearest(self, caller: Caller, allowed: set[str]) -> None:
        """Vectors are near to everything: every place is filled that can be."""
        self._filled(caller, allowed, *self._request("vector", 3)[::2])

    def _hybrid(self, caller: Caller, allowed: set[str]) -> None:
        self._filled(caller, allowed, *self._request("hybrid", 5)[::2])

    def _filled(self, caller: Caller, allowed: set[str], request: SearchRequest, kept: set[str]) -> None:
        passages = self.rights.mailroom.search.search(caller, request).passages
        self._note(caller, f"search {request}", {p.document_id for p in passages}, None, allowed & kept)
        if len(passages) != min(request.k, len(allowed & kept)):
            self.wrong.append(f"{caller} starves: {len(passages)} of {len(allowed & kept)} by {request}")

    def _list(self, caller: Caller, allowed: set[str]) -> None:
        documents = self.rights.mailroom.catalogue.documents
        found, total = documents.find(caller, Filters(), 20)
        page = set(sorted(allowed, key=lambda each: -self.rights.specified[each].document.number)[:20])
        self._note(caller, "list", {each.id for each in found}, page, page)
        labels = Counter(self.rights.specified[each].label for each in allowed)
        (facet,) = documents.facets(caller, Filters(), ["type"])
        if total != len(allowed) or {each.value: each.count for each in facet.values} != labels:
            self.wrong.append(f"{caller} counts {total} of {len(allowed)}: {facet}, not {labels}")
        asked = self._document()
        try:
            told = {documents.read(caller, asked).id}
        except Refused:
            told = set()
        self._note(caller, f"read {asked}", told, allowed & {asked}, allowed)

    def _facets(self, caller: Caller, allowed: set[str]) -> None:
        request, word, kept = self._request("lexical", 10)
        expected = allowed & kept & self._having(word)
        counted = self.rights.mailroom.search.facets(caller, request, ["type"])
        labels = Counter(self.rights.specified[each].label for each in expected)
        if counted.exact and {each.value: each.count for each in counted.facets[0].values} != labels:
            self.wrong.append(f"{caller} counts {counted} by {request}, not {labels}")
        if not counted.exact and expected:  # where no document has the word, the nearest are counted
            self.wrong.append(f"hidden from {caller} by facets {request}: {expected}")
        if counted.documents > len(allowed & kept):
            self.wrong.append(f"{caller} counts {counted.documents} of {len(allowed & kept)} by {request}")

    def _suggest(self, caller: Caller, allowed: set[str]) -> None:
        """By the first letters of a word: the word where a document has it that may be read, and such documents' titles."""
        word = self.rng.choice(self.words)
        having = allowed & self._having(word)
        told = self.rights.mailroom.suggestions.find(caller, word[:6], 10)
        named = {each.document_id for each in told if each.document_id}
        self._note(caller, f"suggest {word}", named, None, having)
        if bool(having) != (word in {each.text for each in told if each.kind == "word"}):
            self.wrong.append(f"{caller} is told {told} by {word}, which {len(having)} have")

    def _ask(self, caller: Caller, allowed: set[str]) -> None:
        answer = self.rights.mailroom.search.ask(caller, " ".join(self.rng.sample(self.words, 3)))
        told = {each.document_id for each in (*answer.quotes, *answer.nearest)}
        self._note(caller, "ask", told, None, allowed)

    def _similar(self, caller: Caller, allowed: set[str]) -> None:
        if not allowed:
            return
        of = self.rights.specified[self.rng.choice(sorted(allowed))].document
        found = self.rights.mailroom.similar.find(caller, of, 10)
        told = {each.document.id for each in found}.union(*(each.duplicates for each in found))
        self._note(caller, f"similar to {of.id}", told, None, allowed - {of.id})


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    rng = random.Random(20261125)
    words = made_up(rng, 150)
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
def test_nothing_forbidden_is_told_and_nothing_allowed_is_left_out(crowd: Crowd) -> None:
    asked, shares = 0, Counter()
    for _ in range(BATCHES):
        crowd.change()
        may = {caller: crowd.rights.allowed(caller) for caller in crowd.rng.sample(CALLERS, 6)}
        for _ in range(TRIPLES // BATCHES):
            caller = crowd.rng.choice(list(may))
            crowd.ask_something(caller, may[caller])
            asked += 1
        shares.update(round(10 * len(each) / len(crowd.rights.specified)) for each in may.values())
    assert (asked, crowd.wrong[:5]) == (TRIPLES, [])
    assert len(shares) >= 4, f"the lists are too much alike to prove anything: {shares}"
