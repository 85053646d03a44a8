"""The port Opinions: what people made of hits."""

from __future__ import annotations

import time
from dataclasses import replace

from pipeline.documents import Sighting
from pipeline.ports import Catalogue
from pipeline.questions import Feedback

SAID = Feedback("Notice  period", "d" * 32, "useful", 1.0, "key-1", rank=3)


def given(catalogue: Catalogue, **more: int) -> list[Feedback]:
    return [feedback for _, feedback in catalogue.opinions.given("default", **more)]


def test_a_vote_replaces_the_same_keys_earlier_one(catalogue: Catalogue) -> None:
    catalogue.opinions.record(SAID)
    catalogue.opinions.record(replace(SAID, query="notice period ", kind="not-useful", at=2.0))
    assert [(f.kind, f.at, f.rank) for f in given(catalogue)] == [("not-useful", 2.0, 3)]


def test_clicks_votes_keys_and_queries_are_kept_apart(catalogue: Catalogue) -> None:
    others = [replace(SAID, kind="click"), replace(SAID, key_id="key-2"), replace(SAID, query="other")]
    for each in (SAID, *others, others[0]):
        catalogue.opinions.record(each)
    assert given(catalogue) == [SAID, *others]


def test_tenants_do_not_see_each_others(catalogue: Catalogue) -> None:
    catalogue.opinions.record(replace(SAID, tenant="other"))
    assert given(catalogue) == []


def test_pages_go_on_after_the_last_serial(catalogue: Catalogue) -> None:
    for number in range(5):
        catalogue.opinions.record(replace(SAID, query=f"query {number}"))
    first = catalogue.opinions.given("default", limit=2)
    rest = given(catalogue, after=first[-1][0])
    assert [f.query for f in rest] == ["query 2", "query 3", "query 4"]


def test_erasing_a_document_erases_what_was_said_of_it(catalogue: Catalogue) -> None:
    document, _ = catalogue.documents.receive("0" * 64, 1, Sighting("tray", "a.txt", time.time()))
    catalogue.opinions.record(replace(SAID, document_id=document.id))
    catalogue.documents.delete(document.id)
    assert given(catalogue) == []
