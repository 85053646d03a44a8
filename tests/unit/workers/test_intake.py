"""An erasure never deletes the bytes of a document with the same content that arrives meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.documents import Arrival, State
from pipeline.errors import Unavailable
from tests.support.serving import make_mailroom


def test_erasing_and_receiving_the_same_content_at_once(tmp_path: Path) -> None:
    mailroom = make_mailroom(tmp_path)
    arrival, refusals = Arrival("api", "a.txt", 1.0), []

    def send() -> None:
        for _ in range(15):
            try:
                mailroom.intake.receive([b"contested"], arrival)
            except Unavailable as error:  # the client sends it again
                refusals.append(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    document, _ = mailroom.intake.receive([b"contested"], arrival)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        mailroom.intake.erase(document.id)
        document, _ = mailroom.intake.receive([b"contested"], arrival) if not refusals else (document, 0)
    for thread in threads:
        thread.join()
    has_document = mailroom.catalogue.documents.has_content(document.content_hash)
    assert has_document == (document.content_hash in set(mailroom.blobs.digests()))


def test_the_bytes_stay_while_another_document_has_them(tmp_path: Path) -> None:
    mailroom = make_mailroom(tmp_path)
    first, _ = mailroom.intake.receive([b"shared"], Arrival("api", "a.txt", 1.0))
    other, _ = mailroom.catalogue.documents.receive(first.content_hash, 6, Arrival("api", "b.txt", 1.0), tenant="other")
    mailroom.intake.erase(first.id)
    assert first.content_hash in set(mailroom.blobs.digests())
    mailroom.intake.erase(other.id)
    assert first.content_hash not in set(mailroom.blobs.digests())
    assert mailroom.catalogue.documents.get(first.id).state is State.DELETED
