"""The job of an erasure: copies, rows, training sets, the receipt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.documents import Arrival, Destination, Document, QueueName
from pipeline.erasure import ErasureOrder, ErasureState
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller, Feedback
from tests.support.filed import file_away
from workers.assemble import Mailroom
from workers.services.installation_key import InstallationKey, verify_receipt
from workers.settings import load_settings

FOLDER = Destination("folder", "{label}/{name}")


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    mailroom = Mailroom(load_settings({"data.path": str(tmp_path / "data")}, environ={}).settings)
    yield mailroom
    mailroom.close()


def filed(mailroom: Mailroom, name: str, text: str = "Dear Sir", **arrival: Any) -> Document:
    return file_away(mailroom.catalogue, mailroom.blobs, name, text, destinations=(FOLDER,), **arrival)


def deliver_all(mailroom: Mailroom) -> None:
    (mailroom.settings.run_path / "vacuum").unlink(missing_ok=True)  # no wait for the next one
    for job in mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60, limit=50):
        mailroom.deliver.run(job)


def copies(mailroom: Mailroom) -> dict[str, str]:
    root = mailroom.settings.folders_root
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def erase(mailroom: Mailroom, *documents: Document) -> dict[str, Any]:
    """Erase documents whose index is clean; return the receipt."""
    erasure, _ = mailroom.erasures.erase(ADMINISTRATOR, [document.id for document in documents], "operator:test")
    mailroom.catalogue.erasures.index_is_clean(mailroom.catalogue.erasures.waiting_for_index())
    deliver_all(mailroom)
    receipt = mailroom.catalogue.erasures.get(erasure.id).receipt
    assert receipt is not None
    return dict(receipt)


def test_copies_and_names_go_and_the_receipt_says_so(mailroom: Mailroom) -> None:
    document, other = filed(mailroom, "a.txt"), filed(mailroom, "b.txt", "Dear Madam")
    deliver_all(mailroom)
    receipt = erase(mailroom, document)
    assert copies(mailroom) == {"letter/b.txt": "Dear Madam"}
    assert [entry["id"] for entry in receipt["documents"]] == [document.id]
    assert receipt["removed"]["filed copies"] == receipt["removed"]["texts"] == 1
    assert receipt["requested_by"] == "operator:test"
    row = mailroom.catalogue.documents.get(document.id)
    assert (row.name, row.path, row.source, row.label, row.metadata) == ("", "", "", None, {})
    assert row.content_hash == receipt["documents"][0]["content"] != document.content_hash
    arrivals, events = mailroom.catalogue.documents.history(document.id)
    assert arrivals == []
    assert "a.txt" not in json.dumps([entry.data for entry in events])
    assert events[-1].data == {"by": "operator:test", "erasure": receipt["erasure"]}
    assert mailroom.catalogue.documents.get(other.id).name == "b.txt"


def test_a_copy_that_somebody_changed_stays_and_is_named(mailroom: Mailroom) -> None:
    document = filed(mailroom, "a.txt")
    deliver_all(mailroom)
    (mailroom.settings.folders_root / "letter" / "a.txt").write_text("Dear Sir, corrected")
    receipt = erase(mailroom, document)
    assert copies(mailroom) == {"letter/a.txt": "Dear Sir, corrected"}
    (line,) = [line for line in receipt["kept"] if line["store"] == "filed copies"]
    assert line["what"].endswith("letter/a.txt")
    assert receipt["removed"]["filed copies"] == 0


def test_a_copy_that_is_another_documents_too_stays_until_that_one_is_erased(mailroom: Mailroom) -> None:
    first, second = filed(mailroom, "x/a.txt"), filed(mailroom, "y/a.txt")
    deliver_all(mailroom)
    assert list(copies(mailroom)) == ["letter/a.txt"]
    receipt = erase(mailroom, first)
    assert list(copies(mailroom)) == ["letter/a.txt"]
    assert [line["what"] for line in receipt["kept"] if line["store"] == "filed copies"] == ["letter/a.txt"]
    assert erase(mailroom, second)["removed"]["filed copies"] == 1
    assert copies(mailroom) == {}


@pytest.mark.parametrize("killed", [False, True])
def test_a_copy_that_a_courier_writes_during_the_deletion_is_removed(
    mailroom: Mailroom, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = filed(mailroom, "a.txt")
    (job,) = mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60)
    order, complete = ErasureOrder("e" * 32, "test"), mailroom.catalogue.jobs.complete
    mailroom.catalogue.erasures.open(order)

    def deleted_meanwhile(*arguments: Any) -> bool:
        mailroom.intake.erase(document.id, order)
        if killed:
            raise KeyboardInterrupt
        return complete(*arguments)

    monkeypatch.setattr(mailroom.catalogue.jobs, "complete", deleted_meanwhile)
    if killed:
        with pytest.raises(KeyboardInterrupt):
            mailroom.deliver.run(job)
    else:
        mailroom.deliver.run(job)
    monkeypatch.undo()
    assert list(copies(mailroom)) == (["letter/a.txt"] if killed else [])
    mailroom.catalogue.erasures.seal(order.id)
    mailroom.catalogue.erasures.index_is_clean(mailroom.catalogue.erasures.waiting_for_index())
    deliver_all(mailroom)
    assert mailroom.catalogue.erasures.get(order.id).state is ErasureState.DONE
    assert copies(mailroom) == {}


def test_the_job_waits_for_the_index(mailroom: Mailroom) -> None:
    document = filed(mailroom, "a.txt")
    deliver_all(mailroom)
    erasure, _ = mailroom.erasures.erase(ADMINISTRATOR, [document.id], "operator:test")
    deliver_all(mailroom)
    assert mailroom.catalogue.erasures.get(erasure.id).state is ErasureState.RUNNING
    assert copies(mailroom) == {}
    with mailroom.catalogue.database.write() as connection:  # the wait is over
        connection.exec_driver_sql("UPDATE jobs SET run_after = 0")
    mailroom.catalogue.erasures.index_is_clean(mailroom.catalogue.erasures.waiting_for_index())
    deliver_all(mailroom)
    assert mailroom.catalogue.erasures.get(erasure.id).state is ErasureState.DONE


def test_examples_leave_the_training_sets_and_their_models_are_named(mailroom: Mailroom) -> None:
    document = filed(mailroom, "a.txt")
    home = mailroom.settings.home
    examples = home / "training" / "letters" / "examples.jsonl"
    examples.parent.mkdir(parents=True)
    rows = [{"text": "Dear Sir", "identity": f"document:{document.id}"}, {"text": "Other", "identity": "line 2"}]
    examples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    version = mailroom.settings.models_root / "letters" / "2026.11.29"
    version.mkdir(parents=True)
    (version / "model.toml").write_text("")
    receipt = erase(mailroom, document)
    assert [json.loads(line)["text"] for line in examples.read_text().splitlines()] == ["Other"]
    assert receipt["removed"]["training sets"] == 1
    assert [line["what"] for line in receipt["kept"] if line["store"] == "models"] == ["letters@2026.11.29"]


def test_queries_that_quote_the_document_go_and_others_stay(mailroom: Mailroom) -> None:
    document, first = filed(mailroom, "lindqvist.txt"), filed(mailroom, "x/common.txt")
    second, ann, bob = filed(mailroom, "y/common.txt"), Caller(("user:ann",)), Caller(("user:bob",))
    for caller, text in ((ann, "LINDQVIST.txt lease"), (bob, document.id), (bob, "common.txt"), (ann, "lindqvist")):
        mailroom.catalogue.queries.create(caller, f"about {text[:9]}", {"query": text})
    for text in ("lindqvist.txt 2026", "common.txt"):
        feedback = Feedback(text, second.id, "click", 1.0, "k", "default", 1)
        mailroom.catalogue.feedback.record(feedback)
    receipt = erase(mailroom, document)
    assert receipt["removed"]["saved queries"] == 2
    assert receipt["removed"]["feedback on other documents"] == 1
    left = [query.search["query"] for query in mailroom.catalogue.queries.of_tenant()]
    assert sorted(left) == ["common.txt", "lindqvist"]
    erase(mailroom, first)
    assert len(mailroom.catalogue.queries.of_tenant()) == 2  # another document has that name


def test_only_the_requester_and_administrators_see_an_erasure(mailroom: Mailroom) -> None:
    own, other = Caller(("user:ann",)), Caller(("user:bob",))
    arrival = Arrival("api", "a.txt", time.time(), owner=own.owner)
    document, _ = mailroom.intake.receive([b"Dear Sir"], arrival)
    with pytest.raises(Refused, match="owner or an administrator"):
        mailroom.erasures.erase(other, [document.id], other.owner)
    erasure, _ = mailroom.erasures.erase(own, [document.id], own.owner)
    assert mailroom.erasures.get(own, erasure.id) == mailroom.erasures.get(ADMINISTRATOR, erasure.id)
    with pytest.raises(Refused, match="no erasure"):
        mailroom.erasures.get(other, erasure.id)


def test_an_altered_receipt_is_refused(mailroom: Mailroom, tmp_path: Path) -> None:
    receipt = json.loads(json.dumps(erase(mailroom, filed(mailroom, "a.txt"))))
    key = InstallationKey(mailroom.settings.home)
    assert key.path.stat().st_mode & 0o777 == 0o600
    verify_receipt(receipt, key.public)
    for name in receipt:
        altered = {**receipt, name: "something else"}
        with pytest.raises(Refused):
            verify_receipt(altered, key.public)
    with pytest.raises(Refused, match="another installation"):
        verify_receipt(receipt, InstallationKey(tmp_path / "other").public)
