"""The port Opinions: what people made of hits."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from indexes.catalogue.catalogue import Catalogue
from pipeline.documents import Arrival
from pipeline.questions import ADMINISTRATOR, Caller, Feedback

ADMIN, ANN, BOB = ADMINISTRATOR, Caller(("user:ann",)), Caller(("user:bob",))


@pytest.fixture
def said(catalogue: Catalogue) -> Feedback:
    """A vote, of a document that Ann may read."""
    document, _ = catalogue.documents.receive("0" * 64, 1, Arrival("tray", "a.txt", time.time(), ("user:ann",)))
    return Feedback("Notice  period", document.id, "useful", 1.0, "key-1", rank=3)


def given(catalogue: Catalogue, caller: Caller = ADMIN, **more: int) -> list[Feedback]:
    return [feedback for _, feedback in catalogue.feedback.page(caller, **more)]


def test_a_vote_replaces_the_same_keys_earlier_one(catalogue: Catalogue, said: Feedback) -> None:
    catalogue.feedback.record(said)
    catalogue.feedback.record(replace(said, query="notice period ", kind="not-useful", at=2.0))
    assert [(f.kind, f.at, f.rank) for f in given(catalogue)] == [("not-useful", 2.0, 3)]


def test_clicks_votes_keys_and_queries_are_kept_apart(catalogue: Catalogue, said: Feedback) -> None:
    others = [replace(said, kind="click"), replace(said, key_id="key-2"), replace(said, query="other")]
    for each in (said, *others, others[0]):
        catalogue.feedback.record(each)
    assert given(catalogue) == [said, *others]


def test_tenants_do_not_see_each_others(catalogue: Catalogue, said: Feedback) -> None:
    catalogue.feedback.record(replace(said, tenant="other"))
    assert given(catalogue) == []


def test_only_what_was_said_of_documents_that_the_caller_may_read_is_told(catalogue: Catalogue, said: Feedback) -> None:
    """Pages are full of what may be told, however much lies between."""
    other, _ = catalogue.documents.receive("1" * 64, 1, Arrival("tray", "b.txt", time.time(), ("user:bob",)))
    hidden = [replace(said, document_id=other.id, query=f"hidden {number}") for number in range(3)]
    for each in (*hidden, said):
        catalogue.feedback.record(each)
    assert given(catalogue, ANN, limit=1) == [said]
    assert given(catalogue, BOB) == hidden
    assert given(catalogue) == [*hidden, said]


def test_pages_go_on_after_the_last_serial(catalogue: Catalogue, said: Feedback) -> None:
    for number in range(5):
        catalogue.feedback.record(replace(said, query=f"query {number}"))
    first = catalogue.feedback.page(ADMIN, limit=2)
    rest = given(catalogue, after=first[-1][0])
    assert [f.query for f in rest] == ["query 2", "query 3", "query 4"]


def test_erasing_a_document_erases_what_was_said_of_it(catalogue: Catalogue, said: Feedback) -> None:
    catalogue.feedback.record(said)
    catalogue.documents.delete(said.document_id)
    assert given(catalogue) == []
