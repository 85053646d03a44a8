"""The audit as an auditor sees it: over REST, on the command line, and with the anchor in the data folder."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import httpx
import pytest

from pipeline.errors import Unavailable
from pipeline.rights import SCOPES
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli.main import main
from workers.services import audit_log
from workers.services.audit_log import AuditLog

SEARCH = {"query": "  The INVOICE of  May "}


@pytest.fixture
def mailroom(tmp_path: Path):
    opened = make_mailroom(tmp_path / "data", **{"audit.reads": "all"})
    yield opened
    opened.close()


def entries(mailroom: Mailroom) -> list:
    return list(mailroom.catalogue.audit.entries())


def send(http: httpx.Client, text: str) -> str:
    response = http.post("/v1/documents", content=text.encode(), headers={"X-Filename": "secretname.txt"})
    return response.json()["id"]


def test_what_a_key_does_is_in_the_audit_with_its_request_and_address(mailroom: Mailroom) -> None:
    with serving(mailroom) as url:
        ann = client(url, mailroom, ["user:ann"])
        document_id = send(ann, "An invoice of May.")
        read_and_index(mailroom, document_id, "An invoice of May.")
        ann.get(f"/v1/documents/{document_id}")
        ann.get(f"/v1/documents/{document_id}/content")
        ann.post("/v1/search", json=SEARCH)
        ann.post("/v1/search", json={"query": "the invoice of may"})
        ann.get("/v1/documents/secretname")
        client(url, mailroom, ["user:bob"], ["upload"]).get(f"/v1/documents/{document_id}")
        for _ in range(3):
            httpx.get(f"{url}/v1/documents", headers={"X-API-Key": "wrong"})
        request = ann.delete(f"/v1/documents/{document_id}", headers={"X-Request-Id": "my-1"})
        assert request.headers["X-Request-Id"] == "my-1"
    deleted = next(entry for entry in entries(mailroom) if entry.action == "document.delete")
    assert (deleted.actor, deleted.request_id, deleted.address) == ("user:ann", "my-1", "127.0.0.1")
    assert deleted.resource == f"document:{document_id}" and deleted.source == "rest"
    reads = [(entry.action, entry.actor, entry.outcome) for entry in entries(mailroom)]
    assert ("document.read", "user:ann", "success") in reads and ("document.download", "user:ann", "success") in reads
    assert ("access.refuse", "user:bob", "failure") in reads
    refused = [entry for entry in entries(mailroom) if entry.action == "key.refuse"]
    assert len(refused) == 1 and json.loads(refused[0].data)["requests"] == 3
    hashes = [json.loads(entry.data)["query_hash"] for entry in entries(mailroom) if entry.action == "search.run"]
    assert len(hashes) == 2 and hashes[0] == hashes[1] and len(hashes[0]) == 64
    text = "".join(f"{entry.data}{entry.resource}" for entry in entries(mailroom)).lower()
    assert "invoice of" not in text and "secretname" not in text
    assert not mailroom.catalogue.audit.verify().faults


@pytest.mark.parametrize(("reads", "expected"), [("off", 0), ("downloads", 1), ("all", 2)])
@pytest.mark.parametrize("searches", ["off", "text"])
def test_settings_choose_which_reads_and_searches(tmp_path: Path, reads: str, expected: int, searches: str) -> None:
    mailroom = make_mailroom(tmp_path / "data", **{"audit.reads": reads, "audit.searches": searches})
    with serving(mailroom) as url:
        ann = client(url, mailroom, ["user:ann"])
        document_id = send(ann, "An invoice of May.")
        ann.get(f"/v1/documents/{document_id}")
        ann.get(f"/v1/documents/{document_id}/content")
        ann.post("/v1/search", json=SEARCH)
    rows = entries(mailroom)
    assert len([entry for entry in rows if entry.action in ("document.read", "document.download")]) == expected
    searched = [json.loads(entry.data) for entry in rows if entry.action == "search.run"]
    assert searched == ([] if searches == "off" else [{"query": SEARCH["query"]}])
    mailroom.close()


def test_the_audit_has_a_scope_of_its_own_and_is_read_page_by_page(mailroom: Mailroom) -> None:
    with serving(mailroom) as url:
        other = client(url, mailroom, ["user:ann"], [scope for scope in SCOPES if scope != "audit"])
        assert other.get("/v1/audit").status_code == 403
        admin, auditor = client(url, mailroom, admin=True), client(url, mailroom, ["user:eve"], ["audit"])
        for number in range(7):
            send(admin, f"text {number}")
        query, sequences = {"action": "document.", "limit": 3}, []
        while True:
            page = auditor.get("/v1/audit", params=query).json()
            sequences += [item["sequence"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert len(sequences) == 7 and sequences == sorted(sequences, reverse=True)
        until = page["items"][0]["time"]
        assert not admin.get("/v1/audit", params={"until": until, "action": "document."}).json()["items"]
        assert admin.get("/v1/audit", params={"since": "yesterday"}).status_code == 400


def test_what_cannot_be_appended_at_a_stop_is_appended_by_the_next_process(mailroom: Mailroom, monkeypatch) -> None:
    store, run_path = mailroom.catalogue.audit, mailroom.settings.run_path
    log = AuditLog(store, mailroom.settings.audit, run_path)
    for _ in range(5):
        log.search("search.run", "words")

    def fail(_: object) -> None:
        raise Unavailable("store-unavailable", "down")

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", fail)
        log.close()
    assert not entries(mailroom) and (run_path / audit_log.SPOOL_FILE).stat().st_mode & 0o077 == 0
    AuditLog(store, mailroom.settings.audit, run_path).close()
    AuditLog(store, mailroom.settings.audit, run_path).close()
    assert [entry.action for entry in entries(mailroom)] == ["search.run"] * 5


def test_requests_are_refused_rather_than_unrecorded(mailroom: Mailroom, monkeypatch) -> None:
    monkeypatch.setattr(audit_log, "MAX_WAITING", 0)
    with serving(mailroom) as url:
        response = client(url, mailroom).get("/v1/documents")
        assert response.status_code == 503


def test_the_commands_verify_export_and_find_a_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, old = str(tmp_path / "data"), tmp_path / "old"
    assert main(["--data", data, "keys", "create", "one"]) == 0
    assert main(["--data", data, "audit", "verify"]) == 0
    old.write_bytes((tmp_path / "data" / "audit-head").read_bytes())
    assert main(["--data", data, "keys", "create", "two"]) == 0
    assert main(["--data", data, "audit", "verify", "--anchor", str(old)]) == 0
    capsys.readouterr()
    assert main(["--data", data, "audit", "export", "--ocsf"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["api"]["operation"] for event in events] == ["key.create"] * 2
    assert events[0]["actor"]["user"]["uid"].startswith("user:")
    assert main(["--data", data, "audit", "tail", "-n", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 1
    with sqlite3.connect(tmp_path / "data" / "catalogue.db") as database:
        database.execute("DROP TRIGGER audit_no_delete")
        database.execute("DELETE FROM audit WHERE sequence = 2")
    before = (tmp_path / "data" / "audit-head").read_bytes()
    assert main(["--data", data, "audit", "verify"]) != 0
    assert "cut off at the end" in capsys.readouterr().out
    assert main(["--data", data, "keys", "create", "three"]) == 0
    assert main(["--data", data, "audit", "verify"]) != 0
    assert (tmp_path / "data" / "audit-head").read_bytes() == before
    assert main(["--data", data, "audit", "verify", "--anchor", str(tmp_path / "none")]) == 2


def test_the_background_appends_within_seconds(mailroom: Mailroom) -> None:
    log = AuditLog(mailroom.catalogue.audit, mailroom.settings.audit, mailroom.settings.run_path)
    log.search("search.run", "words")
    deadline = time.monotonic() + 10
    while not entries(mailroom) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(entries(mailroom)) == 1
    log.close()
