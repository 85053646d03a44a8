"""Documents by place: revisions, attachments that go with their mail, and old catalogues split by place."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from indexes.catalogue.catalogue import Catalogue
from indexes.open import open_catalogue
from pipeline.access import AccessRule, Effect, Scope
from pipeline.documents import Arrival, Child, Chunk, Document, Job, Outcome, QueueName, Stage, State
from pipeline.questions import ADMINISTRATOR, ALL, Caller, Filters
from tests.contracts.test_catalogue import claim, content_hash, finish
from tests.contracts.test_catalogue_store import differences, downgrade

ANN, BOB = Caller(("user:ann",)), Caller(("user:bob",))


def put(
    catalogue: Catalogue, content: int, path: str = "a", owner: str = "", access: tuple[str, ...] = ("*",)
) -> Document:
    return catalogue.documents.receive(content_hash(content), 1, Arrival("s", path, 1.0, access, owner=owner))[0]


def job_of(catalogue: Catalogue, document: Document) -> Job:
    """Lease the document's job."""
    with catalogue.database.read() as connection:
        job_id = connection.scalar(sa.text("SELECT id FROM jobs WHERE subject = :id"), {"id": document.id})
    (job,) = catalogue.jobs.claim(QueueName.INGEST, "w", 60, job_id=job_id)
    return job


def end(catalogue: Catalogue, document: Document, state: State = State.INDEXED) -> None:
    """End the document's job: searchable if INDEXED or REVIEW."""
    job = job_of(catalogue, document)
    outcome = Outcome(Stage.PARSE, state=state)
    if state in (State.INDEXED, State.REVIEW):
        outcome = Outcome(
            Stage.INDEX, chunks=(Chunk(0, "text", 0, 4),), vectors=np.ones((1, 4)), embedder="E", state=state
        )
    assert catalogue.jobs.commit(job, outcome)


def newest(catalogue: Catalogue, caller: Caller = ADMINISTRATOR, revisions: str = "newest") -> list[str]:
    """Return the last digits of the contents that a list shows, oldest first; a search sees no others."""
    filters = Filters(revisions=revisions)
    documents = catalogue.documents.find(caller, filters, 1000, newest_first=False)[0]
    assert catalogue.documents.visible(caller, filters) <= {document.number for document in documents}
    return [document.content_hash.lstrip("0") for document in documents]


def test_a_newer_content_supersedes_only_once_it_is_searchable(catalogue: Catalogue) -> None:
    first, second = put(catalogue, 1), put(catalogue, 2)
    end(catalogue, first)
    assert newest(catalogue) == ["1", "2"]
    end(catalogue, second)
    assert (newest(catalogue), newest(catalogue, revisions=ALL)) == (["2"], ["1", "2"])
    assert catalogue.documents.get(first.id).superseded_by == second.id
    assert [d.id for d in catalogue.documents.revisions(ADMINISTRATOR, second)] == [first.id]
    end(catalogue, put(catalogue, 3), State.FAILED)
    assert newest(catalogue) == ["2", "3"]


def test_a_newer_content_that_waits_for_a_person_counts_if_it_is_searchable(catalogue: Catalogue) -> None:
    end(catalogue, put(catalogue, 1))
    end(catalogue, put(catalogue, 2), State.REVIEW)
    assert newest(catalogue) == ["2"]


def test_an_erasure_of_the_newest_lets_the_one_before_stand_again(catalogue: Catalogue) -> None:
    documents = [put(catalogue, number) for number in (1, 2, 3)]
    for document in documents:
        end(catalogue, document)
    assert newest(catalogue) == ["3"]
    catalogue.documents.delete(documents[2].id)
    assert newest(catalogue) == ["2"]
    catalogue.documents.delete(documents[0].id)
    assert newest(catalogue) == ["2"]


def test_an_older_content_that_comes_again_is_the_newest(catalogue: Catalogue) -> None:
    for number in (1, 2):
        end(catalogue, put(catalogue, number))
    put(catalogue, 1)
    assert newest(catalogue) == ["1"]


@pytest.mark.parametrize("other", [("b", ""), ("a", "user:ann"), ("A", "")])
def test_other_paths_and_owners_are_other_places(catalogue: Catalogue, other: tuple[str, str]) -> None:
    end(catalogue, put(catalogue, 1))
    end(catalogue, put(catalogue, 2, *other))
    assert newest(catalogue) == ["1", "2"]


def test_revisions_name_only_what_the_caller_may_read(catalogue: Catalogue) -> None:
    first, second = put(catalogue, 1, access=("*",)), put(catalogue, 2, access=("user:ann",))
    assert [d.id for d in catalogue.documents.revisions(ANN, first)] == [second.id]
    assert catalogue.documents.revisions(BOB, first) == []


def _with_attachment(catalogue: Catalogue, mail: Document, content: int) -> None:
    child = Child(content_hash(content), 1, Arrival("s", f"{mail.path}/x.pdf", 1.0, ("*",)))
    outcome = Outcome(
        Stage.INDEX, children=(child,), chunks=(), vectors=np.ones((0, 4)), embedder="E", state=State.INDEXED
    )
    assert catalogue.jobs.commit(job_of(catalogue, mail), outcome)


def test_what_is_attached_is_superseded_and_stands_again_with_it(catalogue: Catalogue) -> None:
    mails = [put(catalogue, number) for number in (1, 2)]
    _with_attachment(catalogue, mails[0], 8)
    assert newest(catalogue) == ["1", "2", "8"]
    _with_attachment(catalogue, mails[1], 8)
    assert newest(catalogue) == ["2", "8"] and newest(catalogue, revisions=ALL) == ["1", "2", "8", "8"]
    assert len(catalogue.documents.delete(mails[1].id)) == 2
    assert newest(catalogue) == ["1", "8"]


def test_two_attachments_of_one_name_are_no_revisions(catalogue: Catalogue) -> None:
    mail = put(catalogue, 1)
    children = tuple(Child(content_hash(n), 1, Arrival("s", "a/image.png", 1.0, ("*",))) for n in (8, 9))
    assert catalogue.jobs.commit(claim(catalogue), Outcome("parse", children=children, state=State.INDEXED))
    for document in catalogue.documents.find(ADMINISTRATOR, Filters())[0]:
        if document.id != mail.id:
            end(catalogue, document)
    assert newest(catalogue) == ["1", "8", "9"]


def test_many_at_once_at_one_place_leave_the_last_one(catalogue: Catalogue) -> None:
    documents = [put(catalogue, number) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        jobs = catalogue.jobs.claim(QueueName.INGEST, "w", 60, 8)
        outcome = Outcome(
            Stage.INDEX, chunks=(Chunk(0, "t", 0, 1),), vectors=np.ones((1, 4)), embedder="E", state=State.INDEXED
        )
        assert all(pool.map(lambda job: catalogue.jobs.commit(job, outcome), jobs))
    assert newest(catalogue) == ["8"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda document: catalogue.documents.delete(document.id), documents[1:]))
    assert newest(catalogue) == ["1"]


def test_random_revisions_follow_the_specification(catalogue: Catalogue) -> None:
    """At each place the content that arrived last, of those that are searchable, supersedes what arrived before it."""
    rng, clock = random.Random(9), 0
    last: dict[tuple[str, str, int], int] = {}  # path, owner, content: when it arrived last
    ids: dict[tuple[str, str, int], str] = {}
    searchable: set[tuple[str, str, int]] = set()
    for _ in range(60):
        path, owner, content = rng.choice("ab"), rng.choice(["", "user:ann"]), rng.randint(1, 3)
        key, clock = (path, owner, content), clock + 1
        if rng.random() < 0.3 and key in ids:
            catalogue.documents.delete(ids.pop(key))
            del last[key]
            searchable.discard(key)
        else:
            document = put(catalogue, content, path, owner)
            assert ids.setdefault(key, document.id) == document.id
            if key not in last:
                state = rng.choice([State.INDEXED, State.REVIEW, State.FAILED])
                end(catalogue, document, state)
                if state is not State.FAILED:
                    searchable.add(key)
            last[key] = clock
        expected = {ids[key] for key in ids if not any(o[:2] == key[:2] and last[o] > last[key] for o in searchable)}
        assert {d.id for d in catalogue.documents.find(ADMINISTRATOR, Filters(), 1000)[0]} == expected


def _arrive_old(catalogue: Catalogue, document: Document, path: str, access: list[str], **metadata: str) -> None:
    """Record another arrival as older versions did: at the same document."""
    arrivals = sa.table("arrivals", *(sa.column(n) for n in ("document_id", "source", "path", "arrived_at")),
        *(sa.column(n, sa.JSON) for n in ("access", "labels", "metadata")))  # fmt: skip
    row = {"document_id": document.id, "source": "tray", "path": path, "arrived_at": 7.0, "access": access}
    with catalogue.database.write() as connection:
        connection.execute(sa.insert(arrivals).values({**row, "labels": ["later"], "metadata": metadata}))
        number = {"number": document.number}
        for principal in access:
            text = "INSERT INTO document_access (number, principal) VALUES (:number, :principal)"
            connection.execute(sa.text(text), {**number, "principal": principal})


def test_a_document_of_several_places_becomes_several(url: str) -> None:
    old = open_catalogue(url)
    first, mail, gone = finish(old, 1, ("user:ann",)), finish(old, 2), finish(old, 3)
    old.rules.add(AccessRule(Scope(document_id=first.id), "user:eve", Effect.DENY))
    old.documents.delete(gone.id)
    downgrade(old, "0009")
    _arrive_old(old, first, "b/copy.txt", ["user:bob", "user:eve"])
    _arrive_old(old, first, "in/2.txt/x.txt", ["user:mia"], attached_to=mail.id)
    _arrive_old(old, first, "in/3.txt/x.txt", ["user:tom"], attached_to=gone.id)
    with old.database.write() as connection:  # as an older version removed a principal: it had no audit
        connection.execute(sa.text("DELETE FROM document_access WHERE principal = 'user:mia'"))
    old.close()
    new = open_catalogue(url)
    assert differences(new) == []
    stays = new.documents.get(first.id)
    assert (stays.state, stays.access, stays.path, stays.owner) == (State.INDEXED, ("user:ann",), "in/1.txt", "")
    assert new.chunks.result(f"{1:064d}") == b"parsed"
    by_path = {document.path: document for document in new.documents.find(ADMINISTRATOR, Filters())[0]}
    assert set(by_path) == {"in/1.txt", "in/2.txt", "b/copy.txt", "in/2.txt/x.txt"}
    copy, attached = by_path["b/copy.txt"], by_path["in/2.txt/x.txt"]
    assert (copy.name, copy.state, copy.access, copy.labels) == (
        "copy.txt",
        State.PROCESSING,
        ("user:bob", "user:eve"),
        ("later",),
    )
    assert (attached.parent, attached.access) == (mail.id, ())
    assert {job.subject for job in new.jobs.claim(QueueName.INGEST, "w", 60, 10)} == {copy.id, attached.id}
    counts = {who: new.documents.find(Caller((who,)), Filters())[1] for who in ("user:bob", "user:eve", "user:tom")}
    assert counts == {"user:bob": 2, "user:eve": 1, "user:tom": 1}  # each sees the mail, which is for everyone
    assert len(new.documents.history(first.id)[0]) == 1
    assert not new.documents.receive(content_hash(1), 10, Arrival("tray", "b/copy.txt", 9.0))[1]
    downgrade(new, "0009")
    new.close()
    again = open_catalogue(url)
    assert again.documents.find(ADMINISTRATOR, Filters())[1] == 4
    again.close()


def test_old_documents_of_one_place_do_not_supersede_each_other(tmp_path: Path) -> None:
    """Older versions did not record who sent them: one person's document must not hide another's."""
    url = f"sqlite:///{tmp_path / 'c.db'}"
    old = open_catalogue(url)
    for number in (1, 2):
        end(old, put(old, number, owner=f"user:{number}"))
    downgrade(old, "0009")
    old.close()
    new = open_catalogue(url)
    assert newest(new) == ["1", "2"]
    end(new, put(new, 3))
    assert newest(new) == ["1", "3"]
    new.close()
