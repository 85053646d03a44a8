"""Retention over real documents: proposed, confirmed by a person or the rule, and never against a hold."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.documents import Arrival, Child, Document, Outcome, QueueName, Stage, State
from tests.support.serving import client, make_mailroom, serving
from workers.assemble import Mailroom
from workers.cli.main import main

RULES = [
    {"name": "invoices", "labels": ["invoice"], "keep": "1 year", "then": "review"},
    {"name": "inbox", "sources": ["inbox"], "keep": "30 days", "then": "erase"},
    {"name": "contracts", "labels": ["contract"], "keep": "10 years"},
]
SETTINGS = {"retention.rules": json.dumps(RULES)}


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    opened = make_mailroom(tmp_path / "data", **SETTINGS)
    yield opened
    opened.close()


def file(
    mailroom: Mailroom, name: str, days: int, source: str = "tray", label: str = "invoice", child: str = ""
) -> str:
    """File a document that arrived so many days ago, perhaps with an attachment of another label; return its id."""
    arrival = Arrival(source, name, time.time() - days * 86400, ("*",))
    document, _ = mailroom.intake.receive([name.encode()], arrival)
    children = ()
    if child:
        digest, size = mailroom.blobs.put([b"attached"], 100)
        children = (Child(digest, size, Arrival(source, f"{name}/a.pdf", arrival.arrived_at, ("*",))),)
    job = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
    outcome = Outcome(Stage.PARSE, document={"label": label}, children=children, state=State.INDEXED)
    mailroom.catalogue.jobs.commit(job, outcome)
    if child:
        job = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
        mailroom.catalogue.jobs.commit(job, Outcome(Stage.PARSE, document={"label": child}, state=State.INDEXED))
    return document.id


def get(mailroom: Mailroom, document_id: str) -> Document:
    return mailroom.catalogue.documents.get(document_id)


def due(mailroom: Mailroom) -> dict[str, str]:
    return {proposed.document.id: proposed.rule for proposed in mailroom.retention.due()}


def test_what_is_due_waits_for_its_last_rule_its_attachments_and_its_holds(mailroom: Mailroom) -> None:
    old = file(mailroom, "old", 400)
    file(mailroom, "young", 300)
    file(mailroom, "no rule", 9000, label="letter")
    letter = file(mailroom, "letter", 40, "inbox", "letter")
    file(mailroom, "invoice of the inbox", 40, "inbox")
    file(mailroom, "mail", 400, child="contract")
    mail = file(mailroom, "other mail", 400, child="letter")
    kept_back = file(mailroom, "held", 400)
    mailroom.intake.receive([b"processing"], Arrival("inbox", "processing", 1.0))
    hold, _ = mailroom.catalogue.holds.add("document", kept_back, "case", "ann")
    assert due(mailroom) == {old: "invoices", letter: "inbox", mail: "invoices"}
    assert mailroom.retention.apply() == 1
    assert get(mailroom, letter).state is State.DELETED and get(mailroom, old).state is State.INDEXED
    mailroom.catalogue.holds.remove(hold.id)
    assert set(due(mailroom)) == {old, mail, kept_back}
    rows = [row for row in mailroom.catalogue.audit.entries() if row.action == "retention.erase"]
    assert [(row.resource, row.actor) for row in rows] == [(f"document:{letter}", "system:retention")]
    assert json.loads(rows[0].data)["rule"] == "inbox"
    later = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(3653)
    assert len([*mailroom.retention.due(later)]) == 6


def test_an_administrator_confirms_all_or_nothing(mailroom: Mailroom) -> None:
    old, young = file(mailroom, "old", 400), file(mailroom, "young", 300)
    with serving(mailroom) as url:
        admin, other = client(url, mailroom, admin=True), client(url, mailroom, ["*"], ["read", "delete", "review"])
        assert other.get("/v1/retention").status_code == 403
        (item,) = admin.get("/v1/retention").json()["items"]
        assert (item["document_id"], item["rule"], item["then"]) == (old, "invoices", "review")
        confirm = "/v1/retention/confirm"
        assert admin.post(confirm, json={"document_ids": [old, young]}).status_code == 409
        assert get(mailroom, old).state is State.INDEXED
        assert other.post(confirm, json={"document_ids": [old]}).status_code == 403
        assert admin.post(confirm, json={"document_ids": [old]}).json() == {"erased": 1}
    assert get(mailroom, old).state is State.DELETED and get(mailroom, young).state is State.INDEXED


def test_the_profile_dpdp_keeps_a_year(tmp_path: Path) -> None:
    mailroom = make_mailroom(tmp_path / "data", **SETTINGS, **{"retention.profile": "dpdp"})
    file(mailroom, "letter", 40, "inbox", "letter")
    letter = file(mailroom, "older letter", 400, "inbox", "letter")
    assert due(mailroom) == {letter: "inbox"}
    mailroom.close()


def test_the_commands_propose_and_confirm(mailroom: Mailroom, capsys: pytest.CaptureFixture[str]) -> None:
    old, young = file(mailroom, "old", 400), file(mailroom, "young", 300)
    data = ["--data", str(mailroom.settings.home), "--set", f"retention.rules={SETTINGS['retention.rules']}"]
    assert main([*data, "retention", "propose", "--json"]) == 0
    assert [item["document_id"] for item in json.loads(capsys.readouterr().out)["items"]] == [old]
    assert main([*data, "retention", "confirm", young, "--yes"]) != 0
    assert main([*data, "retention", "confirm", "--yes"]) == 2
    assert main([*data, "retention", "confirm", "--all", "--yes"]) == 0
    assert "1 documents" in capsys.readouterr().out
    assert get(mailroom, old).state is State.DELETED
