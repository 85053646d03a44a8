"""Deliveries into folders: whole files, once, over nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.documents import Destination, Document, Event, Job, Lane, Outcome, Sighting, Stage, State
from tests.support.filed import file_away
from workers.assemble import House
from workers.settings import load_settings

FOLDER = Destination("folder", "{label}/{name}")


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(load_settings({"data.path": str(tmp_path / "data")}, environ={}).settings)
    yield house
    house.close()


def filed(house: House) -> dict[str, str]:
    root = house.settings.folders_root
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def claim(house: House) -> Job:
    return house.catalogue.ledger.claim(Lane.DELIVER, "test", 60)[0]


def events(house: House, document: Document) -> list[Event]:
    return [e for e in house.catalogue.documents.history(document.id)[1] if e.stage == "deliver"]


def fail(house: House, name: str, content: bytes, source: str = "tray") -> Document:
    """A document that the parser rejected, its delivery into the tray's failed/ waiting."""
    revision, size = house.blobs.put([content], limit=1 << 20)
    document, _ = house.catalogue.documents.receive(revision, size, Sighting(source, name, time.time()))
    (job,) = house.catalogue.ledger.claim(Lane.INGEST, "test", 60)
    house.catalogue.ledger.commit(
        job,
        Outcome(
            Stage.PARSE,
            deliveries=(Destination("failed", source),),
            state=State.FAILED,
            reason="damaged",
            detail="The zip directory is missing.",
        ),
    )
    return document


def test_a_copy_and_its_receipt(house: House) -> None:
    document = file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    house.deliver.run(claim(house))
    assert filed(house) == {"letter/a.txt": "Dear Sir"}
    (event,) = events(house, document)
    assert (event.event, event.facts["receipt"]) == ("done", "letter/a.txt")


def test_a_repeat_changes_nothing(house: House) -> None:
    file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    job = claim(house)
    house.deliver.run(job)
    house.deliver.run(job)  # a worker that lost its lease comes late
    house.deliver.run(replace(job, token="stale"))
    assert filed(house) == {"letter/a.txt": "Dear Sir"}


def test_another_content_of_the_same_name_stands_beside_it(house: House) -> None:
    file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    house.deliver.run(claim(house))
    second = file_away(house.catalogue, house.blobs, "a.txt", "Dear Madam", destinations=(FOLDER,))
    job = claim(house)
    house.deliver.run(job)
    house.deliver.run(job)
    assert filed(house) == {"letter/a.txt": "Dear Sir", f"letter/a-{second.revision[:8]}.txt": "Dear Madam"}


def test_a_third_content_is_parked_not_overwritten(house: House) -> None:
    document = file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    folder = house.settings.folders_root / "letter"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("someone's")
    (folder / f"a-{document.revision[:8]}.txt").write_text("someone else's")
    house.deliver.run(claim(house))
    assert sorted(filed(house).values()) == ["someone else's", "someone's"]
    assert events(house, document)[0].event == "parked"
    assert events(house, document)[0].facts["reason"] == "conflict"


def test_what_a_killed_attempt_left_is_removed(house: House) -> None:
    file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    job = claim(house)
    folder = house.settings.folders_root / "letter"
    folder.mkdir(parents=True)
    (folder / f".{job.id}.0000").write_text("Dea")
    house.deliver.run(job)
    assert filed(house) == {"letter/a.txt": "Dear Sir"}


def test_a_folder_that_cannot_be_written_is_tried_again(house: House) -> None:
    document = file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    house.settings.folders_root.parent.mkdir(parents=True, exist_ok=True)
    house.settings.folders_root.write_text("a file where the folder should be")
    house.deliver.run(claim(house))
    assert events(house, document) == []
    (row,) = [row for row in house.catalogue.ledger.backlog() if row["lane"] == "deliver"]
    assert (row["state"], row["count"]) == ("waiting", 1)
    assert house.catalogue.ledger.due(Lane.DELIVER) == []  # not at once


def test_a_deleted_document_is_not_delivered(house: House) -> None:
    document = file_away(house.catalogue, house.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    job = claim(house)
    house.catalogue.documents.delete(document.id)
    house.deliver.run(job)
    assert not house.settings.folders_root.exists()


def test_a_failed_file_stands_in_failed_with_its_reason(house: House) -> None:
    document = fail(house, "in/report.docx", b"PK broken")
    job = claim(house)
    house.deliver.run(job)
    house.deliver.run(job)
    folder = house.settings.home / "tray" / "failed"
    assert sorted(p.name for p in folder.iterdir()) == ["report.docx", "report.docx.reason.txt"]
    assert (folder / "report.docx").read_bytes() == b"PK broken"
    reason = (folder / "report.docx.reason.txt").read_text()
    for said in ("The zip directory is missing.", "damaged", document.id, "in/report.docx", "mailroom retry"):
        assert said in reason


def test_two_failed_files_of_one_name_both_stay(house: House) -> None:
    for content in (b"one", b"two"):
        fail(house, "x/report.docx", content)
        house.deliver.run(claim(house))
    folder = house.settings.home / "tray" / "failed"
    contents = sorted(p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".reason.txt"))
    assert contents == [b"one", b"two"]
    assert len(list(folder.iterdir())) == 4


def test_a_long_name_fits(house: House) -> None:
    fail(house, "ü" * 125 + ".pdf", b"long")
    house.deliver.run(claim(house))
    assert len(list((house.settings.home / "tray" / "failed").iterdir())) == 2


def test_a_webhook_that_is_not_configured_is_parked(house: House) -> None:
    document = file_away(house.catalogue, house.blobs, "a.txt", "Dear", destinations=(Destination("webhook", "erp"),))
    house.deliver.run(claim(house))
    assert events(house, document)[0].facts["reason"] == "bad-rules"
