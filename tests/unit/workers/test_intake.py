"""An erasure never takes the bytes of the same content that is just arriving."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.documents import Sighting, State
from pipeline.errors import Unavailable
from tests.support.serving import make_house
from workers.services import intake


def test_erasing_and_receiving_the_same_content_at_once(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    sighting, turned_away = Sighting("api", "a.txt", 1.0), []

    def send() -> None:
        for _ in range(15):
            try:
                intake.receive(house, house.hints, [b"contested"], sighting)
            except Unavailable as error:  # the client is told to send it again
                turned_away.append(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    document, _ = intake.receive(house, house.hints, [b"contested"], sighting)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        intake.erase(house, document.id)
        document, _ = intake.receive(house, house.hints, [b"contested"], sighting) if not turned_away else (document, 0)
    for thread in threads:
        thread.join()
    held = house.catalogue.documents.holds(document.revision)
    assert held == (document.revision in set(house.blobs.digests()))


def test_the_bytes_stay_while_another_document_has_them(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    first, _ = intake.receive(house, house.hints, [b"shared"], Sighting("api", "a.txt", 1.0))
    other, _ = house.catalogue.documents.receive(first.revision, 6, Sighting("api", "b.txt", 1.0), tenant="other")
    intake.erase(house, first.id)
    assert first.revision in set(house.blobs.digests())
    intake.erase(house, other.id)
    assert first.revision not in set(house.blobs.digests())
    assert house.catalogue.documents.get(first.id).state is State.DELETED
