"""The catalogue: documents, jobs, chunks and keys."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.catalogue.catalogue import Catalogue
from indexes.open import open_catalogue
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import (
    Arrival,
    Child,
    Chunk,
    Destination,
    Document,
    Event,
    Head,
    Job,
    Outcome,
    QueueName,
    Stage,
    State,
)
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller, Filters, chunk_key
from pipeline.rights import SCOPES, Access

ROOT = Path(__file__).parents[2]
EVERYONE = Caller(("*",))


def content_hash(number: int) -> str:
    return f"{number:064x}"


def arrive(catalogue: Catalogue, number: int = 1, access: tuple[str, ...] = ("*",), **more: object) -> Document:
    arrival = Arrival("tray", f"in/{number}.txt", 1000.0 + number, access, **more)
    return catalogue.documents.receive(content_hash(number), 10, arrival)[0]


def claim(catalogue: Catalogue, queue: QueueName = QueueName.INGEST, seconds: float = 60) -> Job:
    return catalogue.jobs.claim(queue, "tester", seconds)[0]


def finish(catalogue: Catalogue, number: int = 1, access: tuple[str, ...] = ("*",), label: str = "invoice") -> Document:
    """Return a document with two chunks, embedded and indexed."""
    document = arrive(catalogue, number, access)
    job = claim(catalogue)
    chunks = (Chunk(0, f"first of {number}", 0, 10, 1, 1, "Head"), Chunk(1, f"second of {number}", 12, 22, 1, 2))
    result = (f"{number:064d}", b"parsed")
    job = catalogue.jobs.commit(
        job, Outcome("parse", result=result, chunks=chunks, next_stage=Stage.EMBED), keep=True, seconds=60
    )
    values = {"label": label, "probability": 0.9, "model": "m@1", "rules": ("r",)}
    catalogue.jobs.commit(
        job,
        Outcome("embed", document=values, vectors=np.eye(2, 4, dtype=np.float32), embedder="E", next_stage=Stage.INDEX),
    )
    catalogue.jobs.commit(claim(catalogue, QueueName.INDEX), Outcome("index", state=State.INDEXED))
    return catalogue.documents.get(document.id)


# --- documents ---------------------------------------------------------------------------------------------------


def test_an_arrival_is_a_document_with_a_job(catalogue: Catalogue) -> None:
    document = arrive(catalogue)
    assert (document.state, document.stage, document.name) == (State.PROCESSING, Stage.PARSE, "1.txt")
    assert claim(catalogue).subject == document.id


def test_the_same_content_at_the_same_place_is_the_same_document_and_widens_its_access(catalogue: Catalogue) -> None:
    first = arrive(catalogue, 1, ("group:a",))
    again = Arrival(first.source, first.path, 5.0, ("group:b",))
    second, created = catalogue.documents.receive(content_hash(1), 10, again)
    assert not created and second.id == first.id
    assert second.access == ("group:a", "group:b")
    arrivals, events = catalogue.documents.history(first.id)
    assert [arrival.arrived_at for arrival in arrivals] == [1001.0, 5.0]
    assert [e.data["new"] for e in events] == [True, False]


@pytest.mark.parametrize("other", [{"source": "api"}, {"path": "in/2.txt"}, {"owner": "user:ann"}])
def test_the_same_content_at_another_place_is_another_document(catalogue: Catalogue, other: dict[str, str]) -> None:
    first = finish(catalogue, 1, ("group:a",))
    arrival = replace(Arrival(first.source, first.path, 5.0, ("group:b",)), **other)
    second, created = catalogue.documents.receive(content_hash(1), 10, arrival)
    assert created and second.state is State.PROCESSING and second.access == ("group:b",)
    assert catalogue.documents.get(first.id) == first
    assert len(catalogue.documents.history(first.id)[0]) == 1
    catalogue.documents.delete(second.id)
    assert catalogue.documents.get(first.id) == first and catalogue.documents.has_content(content_hash(1))


def test_eight_arrivals_at_once_are_one_document(catalogue: Catalogue) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: arrive(catalogue).id, range(8)))
    assert len(set(ids)) == 1
    assert len(catalogue.documents.history(ids[0])[0]) == 8
    assert len(catalogue.jobs.due(QueueName.INGEST)) == 1


def test_a_deleted_document_is_gone_and_may_come_back_as_another(catalogue: Catalogue) -> None:
    old = finish(catalogue)
    catalogue.documents.delete(old.id)
    assert catalogue.documents.find(ADMINISTRATOR, Filters()) == ([], 0)
    assert catalogue.documents.visible(ADMINISTRATOR, Filters()) == frozenset()
    assert catalogue.documents.by_number([old.number]) == {}
    keys = [chunk_key(old.number, 0)]
    assert catalogue.chunks.by_key(keys) == catalogue.chunks.with_documents(keys) == {}
    assert catalogue.chunks.result(f"{1:064d}") is None
    catalogue.documents.delete(old.id)  # once more changes nothing
    new = arrive(catalogue)
    assert new.id != old.id and new.number > old.number


def test_an_unknown_document_is_not_found(catalogue: Catalogue) -> None:
    for act in (catalogue.documents.get, catalogue.documents.delete, catalogue.documents.history):
        with pytest.raises(Refused, match="not-found"):
            act("0" * 32)


def test_filters(catalogue: Catalogue) -> None:
    for number, label in ((1, "invoice"), (2, "contract"), (3, "invoice")):
        finish(catalogue, number, label=label)

    def numbers(**filters: object) -> list[str]:
        return sorted(d.name for d in catalogue.documents.find(ADMINISTRATOR, Filters(**filters))[0])

    assert numbers(labels=("invoice",)) == ["1.txt", "3.txt"]
    assert numbers(labels=("invoice", "contract")) == ["1.txt", "2.txt", "3.txt"]
    assert numbers(received_from=1002.0, received_to=1003.0) == ["2.txt"]
    assert numbers(folder="in") == ["1.txt", "2.txt", "3.txt"]
    assert numbers(folder="i") == numbers(sources=("api",)) == numbers(states=("failed",)) == []


def test_facets_and_filters_on_metadata(catalogue: Catalogue) -> None:
    arrive(catalogue, 1, metadata={"author": "Ben", "room": "x" * 9000})
    arrive(catalogue, 2, metadata={"owner": "Ana", "author": "Ben"})
    arrive(catalogue, 3, access=("user:c",), metadata={"owner": "Cy"})
    job = claim(catalogue)
    values = {"languages": ("eng", "deu"), "metadata": {"author": "Ben", "pages": "3"}}
    catalogue.jobs.commit(job, Outcome("parse", document=values, next_stage=Stage.CHUNK))

    def counts(caller: Caller, name: str, **filters: object) -> dict[str, int]:
        (facet,) = catalogue.documents.facets(caller, Filters(**filters), [name])
        return {value.value: value.count for value in facet.values}

    assert counts(ADMINISTRATOR, "owner") == {"Ben": 1, "Ana": 1, "Cy": 1}
    assert counts(EVERYONE, "owner") == {"Ben": 1, "Ana": 1}
    assert counts(EVERYONE, "language") == {"eng": 1, "deu": 1}
    assert counts(EVERYONE, "month") == {"1970-01": 2} and counts(EVERYONE, "year") == {"1970": 2}
    assert counts(EVERYONE, "state", owners=("Ana", "Cy")) == {"processing": 1}
    assert counts(EVERYONE, "metadata.pages", metadata=(("author", ("Ben",)),)) == {"3": 1}
    numbers = DocumentNumbers([catalogue.documents.find(EVERYONE, Filters(owners=("Ana",)))[0][0].number])
    (facet,) = catalogue.documents.facets(EVERYONE, Filters(), ["owner"], among=numbers)
    assert [(value.value, value.count) for value in facet.values] == [("Ana", 1)]
    with pytest.raises(Refused, match="author, owner, pages"):
        catalogue.documents.find(EVERYONE, Filters(metadata=(("colour", ("red",)),)))


def test_pages_are_stable_and_counted(catalogue: Catalogue) -> None:
    for number in range(1, 8):
        arrive(catalogue, number)
    pages = [catalogue.documents.find(ADMINISTRATOR, Filters(), 3, offset) for offset in (0, 3, 6)]
    assert [total for _, total in pages] == [7, 7, 7]
    assert [d.name for page, _ in pages for d in page] == [f"{n}.txt" for n in range(7, 0, -1)]


PRINCIPALS = st.sampled_from(["*", "group:a", "group:b", "user:c", "user:d"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lists=st.lists(st.sets(PRINCIPALS, max_size=3), min_size=1, max_size=5),
    principals=st.sets(PRINCIPALS, max_size=3),
)
def test_only_a_shared_principal_opens_a_document(
    catalogue: Catalogue, lists: list[set[str]], principals: set[str]
) -> None:
    first = len(catalogue.documents.find(ADMINISTRATOR, Filters(), 10_000)[0])
    documents = [finish(catalogue, 1 + first + i, tuple(sorted(access))) for i, access in enumerate(lists)]
    allowed = {d.number for d, access in zip(documents, lists, strict=True) if access & (principals | {"*"})}
    caller = Caller(tuple(sorted(principals)))
    numbers = {d.number for d in documents}
    assert catalogue.documents.visible(caller, Filters()) & numbers == allowed
    assert {d.number for d in catalogue.documents.find(caller, Filters(), 10_000)[0]} & numbers == allowed
    assert catalogue.documents.visible(ADMINISTRATOR, Filters()) >= numbers
    for document in documents:
        catalogue.documents.delete(document.id)


def test_another_tenant_sees_nothing(catalogue: Catalogue) -> None:
    finish(catalogue)
    stranger = Caller(("*",), tenant="other", admin=True)
    assert catalogue.documents.visible(stranger, Filters()) == frozenset()
    assert catalogue.documents.find(stranger, Filters()) == ([], 0)


def test_what_is_visible_changes_at_the_next_query(catalogue: Catalogue) -> None:
    document = finish(catalogue, access=("group:a",))
    caller = Caller(("group:b",))
    assert catalogue.documents.visible(caller, Filters()) == frozenset()
    arrive(catalogue, 1, ("group:b",))
    assert catalogue.documents.visible(caller, Filters()) == {document.number}
    catalogue.documents.delete(document.id)
    assert catalogue.documents.visible(caller, Filters()) == frozenset()


# --- jobs --------------------------------------------------------------------------------------------------------


def test_a_leased_job_belongs_to_nobody_else(catalogue: Catalogue) -> None:
    arrive(catalogue)
    job = claim(catalogue)
    assert job.attempt == 1
    assert catalogue.jobs.claim(QueueName.INGEST, "other", 60) == []
    assert catalogue.jobs.claim(QueueName.INGEST, "other", 60, job_id=job.id) == []


def test_many_claimers_never_hold_one_job_twice(catalogue: Catalogue) -> None:
    for number in range(1, 25):
        arrive(catalogue, number)
    claimed: list[str] = []
    lock = threading.Lock()

    def work(_: int) -> None:
        while jobs := catalogue.jobs.claim(QueueName.INGEST, "w", 60, limit=2):
            with lock:
                claimed.extend(job.id for job in jobs)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(claimed) == len(set(claimed)) == 24


def test_an_expired_lease_passes_on_and_its_holder_changes_nothing(catalogue: Catalogue) -> None:
    document = arrive(catalogue)
    late = claim(catalogue, seconds=0.05)
    time.sleep(0.1)
    current = claim(catalogue)
    assert current.attempt == 2
    assert catalogue.jobs.commit(late, Outcome("parse", state=State.FAILED, reason="damaged")) is None
    assert not catalogue.jobs.renew(late, 60)
    assert not catalogue.jobs.release(late, 0, "internal", "")
    assert catalogue.documents.get(document.id).state is State.PROCESSING
    assert catalogue.jobs.commit(current, Outcome("parse", state=State.FAILED, reason="damaged")) is not None


def test_a_commit_moves_on_and_counts_the_next_attempt(catalogue: Catalogue) -> None:
    arrive(catalogue)
    next_job = catalogue.jobs.commit(claim(catalogue), Outcome("parse", next_stage=Stage.CHUNK), keep=True, seconds=60)
    assert (next_job.stage, next_job.attempt) == (Stage.CHUNK, 1)
    released = catalogue.jobs.commit(next_job, Outcome("embed", next_stage=Stage.INDEX))
    assert released.queue is QueueName.INDEX
    assert claim(catalogue, QueueName.INDEX).attempt == 1


@pytest.mark.parametrize(("counted", "attempt"), [(True, 2), (False, 1)])
def test_a_released_job_comes_back_when_it_is_due(catalogue: Catalogue, counted: bool, attempt: int) -> None:
    arrive(catalogue)
    assert catalogue.jobs.release(claim(catalogue), 0.2, "store-unavailable", "away", counted)
    assert catalogue.jobs.due(QueueName.INGEST) == []
    time.sleep(0.25)
    assert claim(catalogue).attempt == attempt


def test_an_ended_document_has_no_job_and_can_be_retried(catalogue: Catalogue) -> None:
    document = arrive(catalogue)
    assert not catalogue.jobs.retry(document.id)
    outcome = Outcome("parse", state=State.FAILED, reason="damaged", detail="cut off")
    catalogue.jobs.commit(claim(catalogue), outcome)
    ended = catalogue.documents.get(document.id)
    assert (ended.state, ended.reason, ended.detail) == (State.FAILED, "damaged", "cut off")
    assert ended.finished_at is not None
    assert catalogue.jobs.due(QueueName.INGEST) == []
    assert catalogue.jobs.retry(document.id)
    assert claim(catalogue).stage == Stage.PARSE
    assert catalogue.documents.get(document.id).reason is None


def test_a_delivery_is_made_once(catalogue: Catalogue) -> None:
    arrive(catalogue)
    job = claim(catalogue)
    destination = Destination("folder", "{label}/{name}")
    for stage in (Stage.CLASSIFY, Stage.EMBED):
        outcome = Outcome("route", deliveries=(destination,), next_stage=stage)
        job = catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
    delivery = claim(catalogue, QueueName.DELIVER)
    assert delivery.payload["kind"] == "folder"
    assert catalogue.jobs.claim(QueueName.DELIVER, "x", 60) == []
    assert catalogue.jobs.complete(delivery, {"receipt": "a"})
    assert catalogue.jobs.due(QueueName.DELIVER) == []
    assert not [row for row in catalogue.jobs.backlog() if row["queue"] == "deliver"]


def test_a_parked_job_waits_for_a_person(catalogue: Catalogue) -> None:
    document = arrive(catalogue)
    outcome = Outcome(
        "route", deliveries=(Destination("webhook", "erp"),), state=State.FAILED, reason="damaged", detail=""
    )
    catalogue.jobs.commit(claim(catalogue), outcome)
    assert catalogue.jobs.park(claim(catalogue, QueueName.DELIVER), "receiver-unavailable", "410")
    assert catalogue.jobs.due(QueueName.DELIVER) == []
    assert [row["state"] for row in catalogue.jobs.backlog()] == ["dead"]
    assert catalogue.jobs.retry(document.id)
    assert len(catalogue.jobs.due(QueueName.DELIVER)) == 1


def test_attachments_become_documents_of_their_own(catalogue: Catalogue) -> None:
    mail = arrive(catalogue, 1, ("group:a",))
    child = Child(content_hash(2), 5, Arrival("tray", "in/1.txt/a.pdf", 1.0, ("group:a",)))
    catalogue.jobs.commit(claim(catalogue), Outcome("parse", children=(child,), next_stage=Stage.CHUNK))
    by_hash = {d.content_hash: d for d in catalogue.documents.find(ADMINISTRATOR, Filters())[0]}
    assert by_hash[content_hash(2)].parent == mail.id
    assert by_hash[content_hash(2)].access == ("group:a",)


# --- chunks ------------------------------------------------------------------------------------------------------


def test_chunks_come_back_as_they_were_stored(catalogue: Catalogue) -> None:
    document = finish(catalogue)
    chunks, vectors = catalogue.chunks.of_document(document.number)
    assert [c.text for c in chunks] == ["first of 1", "second of 1"]
    assert chunks[0] == Chunk(0, "first of 1", 0, 10, 1, 1, "Head")
    assert vectors is not None and np.array_equal(vectors, np.eye(2, 4, dtype=np.float32))
    assert catalogue.chunks.of_document(document.number, "another")[1] is None
    keys = [chunk_key(document.number, 1), chunk_key(document.number, 7), chunk_key(99, 1)]
    assert list(catalogue.chunks.by_key(keys)) == keys[:1]
    ((chunk, head),) = catalogue.chunks.with_documents(keys).values()
    assert chunk == catalogue.chunks.by_key(keys)[keys[0]] == chunks[1]
    assert head == Head(**{name: getattr(document, name) for name in Head.__dataclass_fields__})
    assert catalogue.chunks.result(f"{1:064d}") == b"parsed"
    assert catalogue.chunks.parsed_key(document.id) == f"{1:064d}"


def test_new_chunks_drop_the_old_vectors(catalogue: Catalogue) -> None:
    document = finish(catalogue)
    catalogue.jobs.retry(document.id)
    catalogue.jobs.commit(claim(catalogue), Outcome("chunk", chunks=(Chunk(0, "x", 0, 1),), next_stage=Stage.EMBED))
    assert catalogue.chunks.of_document(document.number)[1] is None
    assert catalogue.documents.visible(ADMINISTRATOR, Filters()) == frozenset()


def test_a_scan_yields_every_embedded_document_in_order(catalogue: Catalogue) -> None:
    numbers = [finish(catalogue, n).number for n in (1, 2, 3)]
    arrive(catalogue, 4)
    assert [d.number for d, _, _ in catalogue.chunks.scan("E")] == numbers
    assert [d.number for d, _, _ in catalogue.chunks.scan("E", after=numbers[0])] == numbers[1:]
    assert list(catalogue.chunks.scan("F")) == []


# --- keys --------------------------------------------------------------------------------------------------------


def test_a_key_opens_until_it_is_revoked(catalogue: Catalogue) -> None:
    access = Access(Caller(("group:a",)), frozenset({"read"}), ("scans/in",), ("group:b",))
    key_id, secret = catalogue.keys.create("intranet", access, "ann")
    assert catalogue.keys.check(secret) == replace(access, caller=replace(access.caller, key_id=key_id))
    assert catalogue.keys.all() == [catalogue.keys.get(key_id)]
    assert secret not in str(catalogue.keys.all())
    for wrong in ("", "mr_", secret[:-1], secret + "0", secret.replace("mr_", "xx_"), f"mr_{key_id}_", "é" * 50):
        assert catalogue.keys.check(wrong) is None
    assert catalogue.keys.revoke(key_id, "ben") and not catalogue.keys.revoke(key_id, "eve")
    assert catalogue.keys.check(secret) is None
    (key,) = catalogue.keys.all()
    assert (key.created_by, key.revoked_by, key.access.grants) == ("ann", "ben", ("group:b",))
    with pytest.raises(Refused, match=key_id):
        catalogue.keys.get(key_id)


def test_an_administrator_s_key_has_every_scope_there_is(catalogue: Catalogue) -> None:
    _, secret = catalogue.keys.create("root", Access(Caller((), admin=True)))
    assert catalogue.keys.check(secret).scopes == {*SCOPES}


def test_a_rotated_key_is_the_same_key_and_its_last_secret_but_one_ends(catalogue: Catalogue) -> None:
    key_id, first = catalogue.keys.create("scanner", Access(Caller(()), frozenset({"upload"})))
    second = catalogue.keys.rotate(key_id, 3600.0, "ann")
    assert catalogue.keys.check(first) == catalogue.keys.check(second)
    assert catalogue.keys.check(first).caller.owner == f"key:{key_id}"
    third = catalogue.keys.rotate(key_id, 0.4, "ann")
    assert catalogue.keys.check(first) is None
    assert catalogue.keys.check(second) == catalogue.keys.check(third)
    time.sleep(0.5)
    assert catalogue.keys.check(second) is None and catalogue.keys.check(third) is not None
    fourth = catalogue.keys.rotate(key_id, 0, "ben", time.time() + 60)
    assert catalogue.keys.check(third) is None
    key = catalogue.keys.get(key_id)
    assert (key.rotated_by, key.overlap_until, key.access.expires_at > time.time()) == ("ben", None, True)
    assert catalogue.keys.revoke(key_id)
    assert catalogue.keys.check(fourth) is None
    with pytest.raises(Refused, match=key_id):
        catalogue.keys.rotate(key_id, 3600.0)


def test_a_key_that_has_expired_says_so_to_its_secret_only(catalogue: Catalogue) -> None:
    _, secret = catalogue.keys.create("visitor", Access(Caller(()), frozenset({"read"}), expires_at=time.time() - 1))
    with pytest.raises(Refused, match="expired on 20"):
        catalogue.keys.check(secret)
    assert catalogue.keys.check(secret[:-1] + ("0" if secret[-1] != "0" else "1")) is None


def test_the_last_use_is_recorded_once_a_minute(catalogue: Catalogue) -> None:
    key_id, _ = catalogue.keys.create("intranet", Access(Caller(()), frozenset({"read"})))
    for at, recorded in ((1000.0, 1000.0), (1059.0, 1000.0), (1060.0, 1060.0), (900.0, 1060.0)):
        catalogue.keys.record_use(key_id, at)
        assert catalogue.keys.get(key_id).last_used_at == recorded


# --- the whole ---------------------------------------------------------------------------------------------------


def test_events_are_in_order(catalogue: Catalogue) -> None:
    document = arrive(catalogue)
    for number in range(3):
        catalogue.documents.record(Event(document.id, float(number), "parse", f"e{number}", {"n": number}))
    assert [e.event for e in catalogue.documents.history(document.id)[1]] == ["received", "e0", "e1", "e2"]


def test_everything_is_there_after_opening_again(url: str) -> None:
    first = open_catalogue(url)
    document = finish(first)
    first.close()
    second = open_catalogue(url)
    assert second.documents.get(document.id) == document
    second.check()
    second.close()


WORK_FOR_EVER = """
import sys
from indexes.open import open_catalogue
from tests.contracts.test_catalogue import finish
catalogue = open_catalogue(sys.argv[1])
number = 0
while True:
    number += 1
    finish(catalogue, number)
    print(number, flush=True)
"""


def test_a_process_killed_in_a_transaction_leaves_a_sound_catalogue(url: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", WORK_FOR_EVER, url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.5)
    os.kill(child.pid, signal.SIGKILL)
    acknowledged = max([1, *map(int, child.stdout.read().split())])
    child.wait()
    catalogue = open_catalogue(url)
    catalogue.check()
    documents = catalogue.documents.find(ADMINISTRATOR, Filters(), 10_000)[0]
    indexed = [d for d in documents if d.state is State.INDEXED]
    assert len(indexed) >= acknowledged and len(documents) - len(indexed) <= 1
    for document in indexed:
        chunks, vectors = catalogue.chunks.of_document(document.number)
        assert len(chunks) == 2 and vectors is not None
    catalogue.close()


def test_a_document_is_a_plain_record(catalogue: Catalogue) -> None:
    document = finish(catalogue)
    assert replace(document, label="x").label == "x"
    assert (document.label, document.rules, document.chunks) == ("invoice", ("r",), None)


def test_the_writer_can_send_a_document_back_to_the_workers(catalogue: Catalogue) -> None:
    arrive(catalogue)
    catalogue.jobs.commit(claim(catalogue), Outcome("embed", next_stage=Stage.INDEX))
    catalogue.jobs.commit(claim(catalogue, QueueName.INDEX), Outcome("index", next_stage=Stage.EMBED))
    assert claim(catalogue).stage == Stage.EMBED
