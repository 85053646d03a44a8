"""Search over a small installation with the shipped embedder: exact spelling comes first, in words and in codes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage, State
from pipeline.questions import ADMINISTRATOR, SearchRequest
from tests.support.serving import make_mailroom
from workers.assemble import Mailroom

THINGS = ("pump", "valve", "filter", "motor", "seal", "gasket", "sensor", "bearing")
PLACES = ("northern station", "workshop", "boiler room", "harbour depot", "laboratory")


def numbered(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Return (code, text) of notes of one form that differ in a thing, a place and one of many similar codes."""
    notes = []
    for n in range(count):
        code = rng.choice(
            (
                f"PPR-{9000 + n}",
                f"{n // 10 + 1}.{n % 10}.{n}",
                f"X{n:04d}/B",
                f"clerk{n}@depot.example",
                f"§ {n + 20}.{n % 7}",
            )
        )
        thing, place = rng.choice(THINGS), rng.choice(PLACES)
        notes.append(
            (code, f"Note on the {thing} in the {place}: see {code} for what was ordered, and tell the office.")
        )
    return notes


@pytest.fixture(scope="module")
def notes() -> list[tuple[str, str]]:
    return numbered(random.Random(4), 70)


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[str, str]]) -> Iterator[Mailroom]:
    mailroom = make_mailroom(Path(tmp_path_factory.mktemp("search")) / "data", **{"catalogue.url": "memory:"})
    vectors = mailroom.embedder.embed([text for _, text in notes])
    for n, (_, text) in enumerate(notes):
        document, _ = mailroom.catalogue.documents.receive(f"{n:064x}", 1, Arrival("test", f"note {n}.txt", 1.0))
        job = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
        chunks = (Chunk(0, text, 0, len(text)),)
        job = mailroom.catalogue.jobs.commit(job, Outcome("chunk", chunks=chunks, next_stage=Stage.EMBED), True, 60)
        outcome = Outcome("embed", vectors=vectors[n : n + 1], embedder=mailroom.embedder.digest, state=State.INDEXED)
        mailroom.catalogue.jobs.commit(job, outcome)
        mailroom.writer.add(document.number, chunks, vectors[n : n + 1], None, document.name)
    mailroom.writer.publish()
    yield mailroom
    mailroom.close()


def first(mailroom: Mailroom, query: str, mode: str = "hybrid") -> str:
    passages = mailroom.search.search(ADMINISTRATOR, SearchRequest(query, 1, mode=mode)).passages
    return passages[0].text if passages else ""


@pytest.mark.parametrize("form", ["{}", "{} order", "what was ordered for {}?", '"{}"', "+{}"])
def test_an_exact_code_comes_first(mailroom: Mailroom, notes: list[tuple[str, str]], form: str) -> None:
    cases = [(code, text) for code, text in notes if " " not in code or form in ("{}", '"{}"')]
    missed = [code for code, text in cases if first(mailroom, form.format(code)) != text]
    assert missed == []


def test_a_required_code_that_no_document_has_finds_nothing(mailroom: Mailroom) -> None:
    assert first(mailroom, "+PPR-1") == first(mailroom, '"§ 1.99"') == ""


@pytest.mark.parametrize("query", ["motr labratory", "motor~ laboratroy", "moto* labora*"])
def test_a_misspelt_query_finds_what_was_meant(mailroom: Mailroom, query: str) -> None:
    text = first(mailroom, query, "lexical")
    assert "motor" in text and "laboratory" in text
