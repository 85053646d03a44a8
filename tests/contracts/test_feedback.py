"""Feedback: clicks and votes on hits."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from indexes.catalogue.catalogue import Catalogue
from pipeline.documents import Arrival
from pipeline.questions import ADMINISTRATOR, Caller, Feedback

ADMIN, ANN, BOB = ADMINISTRATOR, Caller(("user:ann",)), Caller(("user:bob",))


@pytest.fixture
def vote(catalogue: Catalogue) -> Feedback:
    """Return a vote on a document that Ann may read."""
    document, _ = catalogue.documents.receive("0" * 64, 1, Arrival("tray", "a.txt", time.time(), ("user:ann",)))
    return Feedback("Notice  period", document.id, "useful", 1.0, "key-1", rank=3)


def stored(catalogue: Catalogue, caller: Caller = ADMIN, **more: int) -> list[Feedback]:
    return [feedback for _, feedback in catalogue.feedback.page(caller, **more)]


def test_a_vote_replaces_the_same_keys_earlier_one(catalogue: Catalogue, vote: Feedback) -> None:
    catalogue.feedback.record(vote)
    catalogue.feedback.record(replace(vote, query="notice period ", kind="not-useful", at=2.0))
    assert [(f.kind, f.at, f.rank) for f in stored(catalogue)] == [("not-useful", 2.0, 3)]


def test_clicks_votes_keys_and_queries_are_separate(catalogue: Catalogue, vote: Feedback) -> None:
    others = [replace(vote, kind="click"), replace(vote, key_id="key-2"), replace(vote, query="other")]
    for one in (vote, *others, others[0]):
        catalogue.feedback.record(one)
    assert stored(catalogue) == [vote, *others]


def test_tenants_do_not_see_each_others_feedback(catalogue: Catalogue, vote: Feedback) -> None:
    catalogue.feedback.record(replace(vote, tenant="other"))
    assert stored(catalogue) == []


def test_a_caller_gets_only_feedback_on_documents_that_it_may_read(catalogue: Catalogue, vote: Feedback) -> None:
    """A page is full as long as there is more that the caller may read, however much hidden feedback lies between."""
    other, _ = catalogue.documents.receive("1" * 64, 1, Arrival("tray", "b.txt", time.time(), ("user:bob",)))
    hidden = [replace(vote, document_id=other.id, query=f"hidden {number}") for number in range(3)]
    for one in (*hidden, vote):
        catalogue.feedback.record(one)
    assert stored(catalogue, ANN, limit=1) == [vote]
    assert stored(catalogue, BOB) == hidden
    assert stored(catalogue) == [*hidden, vote]


def test_pages_go_on_after_the_last_serial(catalogue: Catalogue, vote: Feedback) -> None:
    for number in range(5):
        catalogue.feedback.record(replace(vote, query=f"query {number}"))
    first = catalogue.feedback.page(ADMIN, limit=2)
    rest = stored(catalogue, after=first[-1][0])
    assert [f.query for f in rest] == ["query 2", "query 3", "query 4"]


def test_erasing_a_document_erases_its_feedback(catalogue: Catalogue, vote: Feedback) -> None:
    catalogue.feedback.record(vote)
    catalogue.documents.delete(vote.document_id)
    assert stored(catalogue) == []
