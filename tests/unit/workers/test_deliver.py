"""Deliveries into folders: complete files, once, and never over another one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.documents import Arrival, Destination, Document, Event, Job, Outcome, QueueName, Stage, State
from tests.support.filed import file_away
from workers.assemble import Mailroom
from workers.settings import load_settings

FOLDER = Destination("folder", "{label}/{name}")


@pytest.fixture
def mailroom(tmp_path: Path) -> Mailroom:
    mailroom = Mailroom(load_settings({"data.path": str(tmp_path / "data")}, environ={}).settings)
    yield mailroom
    mailroom.close()


def delivered_files(mailroom: Mailroom) -> dict[str, str]:
    root = mailroom.settings.folders_root
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def claim(mailroom: Mailroom) -> Job:
    return mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60)[0]


def events(mailroom: Mailroom, document: Document) -> list[Event]:
    return [e for e in mailroom.catalogue.documents.history(document.id)[1] if e.stage == "deliver"]


def fail(mailroom: Mailroom, name: str, content: bytes, source: str = "tray") -> Document:
    """Return a document that the parser rejected; its delivery to the tray's failed/ waits in the job store."""
    content_hash, size = mailroom.blobs.put([content], limit=1 << 20)
    document, _ = mailroom.catalogue.documents.receive(content_hash, size, Arrival(source, name, time.time()))
    (job,) = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)
    mailroom.catalogue.jobs.commit(
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


def test_a_copy_and_its_receipt(mailroom: Mailroom) -> None:
    document = file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    mailroom.deliver.run(claim(mailroom))
    assert delivered_files(mailroom) == {"letter/a.txt": "Dear Sir"}
    (event,) = events(mailroom, document)
    assert (event.event, event.data["receipt"]) == ("done", "letter/a.txt")


def test_a_repeat_changes_nothing(mailroom: Mailroom) -> None:
    file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    job = claim(mailroom)
    mailroom.deliver.run(job)
    mailroom.deliver.run(job)  # a worker that lost its lease comes late
    mailroom.deliver.run(replace(job, token="stale"))
    assert delivered_files(mailroom) == {"letter/a.txt": "Dear Sir"}


def test_another_content_of_the_same_name_gets_a_numbered_name(mailroom: Mailroom) -> None:
    file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    mailroom.deliver.run(claim(mailroom))
    second = file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Madam", destinations=(FOLDER,))
    job = claim(mailroom)
    mailroom.deliver.run(job)
    mailroom.deliver.run(job)
    assert delivered_files(mailroom) == {
        "letter/a.txt": "Dear Sir",
        f"letter/a-{second.content_hash[:8]}.txt": "Dear Madam",
    }


def test_a_third_content_is_parked_not_overwritten(mailroom: Mailroom) -> None:
    document = file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    folder = mailroom.settings.folders_root / "letter"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("someone's")
    (folder / f"a-{document.content_hash[:8]}.txt").write_text("someone else's")
    mailroom.deliver.run(claim(mailroom))
    assert sorted(delivered_files(mailroom).values()) == ["someone else's", "someone's"]
    assert events(mailroom, document)[0].event == "parked"
    assert events(mailroom, document)[0].data["reason"] == "conflict"


def test_files_of_a_killed_attempt_are_removed(mailroom: Mailroom) -> None:
    file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    job = claim(mailroom)
    folder = mailroom.settings.folders_root / "letter"
    folder.mkdir(parents=True)
    (folder / f".{job.id}.0000").write_text("Dea")
    mailroom.deliver.run(job)
    assert delivered_files(mailroom) == {"letter/a.txt": "Dear Sir"}


def test_a_folder_that_cannot_be_written_is_tried_again(mailroom: Mailroom) -> None:
    document = file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    mailroom.settings.folders_root.parent.mkdir(parents=True, exist_ok=True)
    mailroom.settings.folders_root.write_text("a file where the folder should be")
    mailroom.deliver.run(claim(mailroom))
    assert events(mailroom, document) == []
    (row,) = [row for row in mailroom.catalogue.jobs.backlog() if row["queue"] == "deliver"]
    assert (row["state"], row["count"]) == ("waiting", 1)
    assert mailroom.catalogue.jobs.due(QueueName.DELIVER) == []  # not at once


def test_a_deleted_document_is_not_delivered(mailroom: Mailroom) -> None:
    document = file_away(mailroom.catalogue, mailroom.blobs, "a.txt", "Dear Sir", destinations=(FOLDER,))
    job = claim(mailroom)
    mailroom.catalogue.documents.delete(document.id)
    mailroom.deliver.run(job)
    assert not mailroom.settings.folders_root.exists()


def test_a_failed_file_is_copied_to_failed_with_its_reason(mailroom: Mailroom) -> None:
    document = fail(mailroom, "in/report.docx", b"PK broken")
    job = claim(mailroom)
    mailroom.deliver.run(job)
    mailroom.deliver.run(job)
    folder = mailroom.settings.home / "tray" / "failed"
    assert sorted(p.name for p in folder.iterdir()) == ["report.docx", "report.docx.reason.txt"]
    assert (folder / "report.docx").read_bytes() == b"PK broken"
    reason = (folder / "report.docx.reason.txt").read_text()
    for text in ("The zip directory is missing.", "damaged", document.id, "in/report.docx", "mailroom retry"):
        assert text in reason


def test_two_failed_files_of_one_name_are_both_kept(mailroom: Mailroom) -> None:
    for content in (b"one", b"two"):
        fail(mailroom, "x/report.docx", content)
        mailroom.deliver.run(claim(mailroom))
    folder = mailroom.settings.home / "tray" / "failed"
    contents = sorted(p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".reason.txt"))
    assert contents == [b"one", b"two"]
    assert len(list(folder.iterdir())) == 4


def test_a_long_name_fits(mailroom: Mailroom) -> None:
    fail(mailroom, "ü" * 125 + ".pdf", b"long")
    mailroom.deliver.run(claim(mailroom))
    assert len(list((mailroom.settings.home / "tray" / "failed").iterdir())) == 2


def test_a_webhook_that_is_not_configured_is_parked(mailroom: Mailroom) -> None:
    document = file_away(
        mailroom.catalogue, mailroom.blobs, "a.txt", "Dear", destinations=(Destination("webhook", "erp"),)
    )
    mailroom.deliver.run(claim(mailroom))
    assert events(mailroom, document)[0].data["reason"] == "bad-rules"
