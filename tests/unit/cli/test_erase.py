"""`mailroom erase`: what names a subject is listed, erased only after a yes, and the receipt verified."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pipeline.documents import Arrival, QueueName, State
from tests.support.serving import make_mailroom, read_and_index
from workers.cli import exits
from workers.cli.main import main


def test_a_subject_is_listed_then_erased_with_a_receipt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, mailroom = str(tmp_path / "data"), make_mailroom(tmp_path / "data")
    texts = {
        "letter.txt": "A letter of Ann Lindqvist about the lease.",
        "ann lindqvist.txt": "A photograph.",
        "other.txt": "A letter of Lindqvist and Ann, two strangers.",
    }
    ids = {}
    for name, text in texts.items():
        document, _ = mailroom.intake.receive([text.encode()], Arrival("api", name, time.time()))
        ids[name] = read_and_index(mailroom, document.id, text).id
    subject = ["--data", data, "erase", "--subject", "Ann  Lindqvist"]
    assert main([*subject, "--dry-run"]) == exits.OK
    listed = capsys.readouterr().out
    assert [name for name, document_id in ids.items() if document_id in listed] == ["letter.txt", "ann lindqvist.txt"]
    states = [mailroom.catalogue.documents.get(document_id).state for document_id in ids.values()]
    assert states == [State.INDEXED] * 3

    assert main([*subject, "--yes"]) == exits.OK
    erasure = capsys.readouterr().out.split()[-1]
    store = mailroom.catalogue.erasures
    store.index_is_clean(store.waiting_for_index())
    for job in mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60, limit=9):
        mailroom.deliver.run(job)
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps(store.get(erasure).receipt))
    assert main(["--data", data, "erase", "verify", str(receipt)]) == exits.OK
    assert "2 documents" in capsys.readouterr().out
    receipt.write_text(receipt.read_text().replace('"texts": 2', '"texts": 1'))
    assert main(["--data", data, "erase", "verify", str(receipt)]) != exits.OK
    mailroom.close()
