"""`mailroom access` and `mailroom groups` on a real catalogue, and the trays' own rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.documents import Arrival
from pipeline.questions import Caller, Filters
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.services.access import apply_tray_rules
from workers.settings import load_settings

BOB = Caller(("user:bob",))
FOLDERS = '[{"subfolders": {"hr": {"deny": ["user:bob"]}, "law": {"access": [], "allow": ["group:law", "user:bob"]}}}]'


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    mailroom = Mailroom(load_settings({"data.path": str(tmp_path), "tray.folders": FOLDERS}, environ={}).settings)
    yield mailroom
    mailroom.close()


def run(mailroom: Mailroom, *arguments: str) -> int:
    """Run a command on the data folder and return its exit code."""
    return main(["--data", str(mailroom.settings.home), *arguments])


def readable_count(mailroom: Mailroom) -> int:
    """Return how many documents Bob may read."""
    return mailroom.catalogue.documents.find(BOB, Filters())[1]


def test_rules_and_groups_from_the_command_line(mailroom: Mailroom, capsys: pytest.CaptureFixture[str]) -> None:
    document, _ = mailroom.catalogue.documents.receive("1" * 64, 1, Arrival("scans", "hr/a.txt", 1.0, ()))
    assert run(mailroom, "groups", "add", "group:hr", "user:bob") == exits.OK
    assert run(mailroom, "access", "allow", "group:hr", "--source", "scans", "--folder", "/hr/") == exits.OK
    assert readable_count(mailroom) == 1
    capsys.readouterr()
    assert run(mailroom, "access", "explain", document.id, "user:bob", "--json") == exits.OK
    decision = json.loads(capsys.readouterr().out)
    rule = decision["rule"]
    assert (decision["allowed"], rule["principal"], rule["source"], rule["folder"]) == (True, "group:hr", "scans", "hr")
    assert run(mailroom, "access", "explain", document.id, "user:bob") == exits.OK
    assert "may read it: allow group:hr: source scans, folder hr (given)" in capsys.readouterr().out
    assert run(mailroom, "access", "deny", "user:bob", "--document", document.id) == exits.OK
    assert run(mailroom, "access", "explain", document.id, "user:bob") == exits.OK
    assert "may not read it: deny user:bob" in capsys.readouterr().out
    assert run(mailroom, "access", "remove", "deny", "user:bob", "--document", document.id) == exits.OK
    assert readable_count(mailroom) == 1
    assert run(mailroom, "groups", "remove", "group:hr", "user:bob") == exits.OK
    assert readable_count(mailroom) == 0
    assert run(mailroom, "access", "remove", "deny", "user:bob", "--source", "scans") == exits.NOT_FOUND
    assert run(mailroom, "access", "allow", "user:bob") == exits.USAGE
    assert run(mailroom, "groups", "add", "group:hr", "group:hr") != exits.OK


def test_the_rules_of_a_tray_hold_before_and_after_arrival(
    mailroom: Mailroom, capsys: pytest.CaptureFixture[str]
) -> None:
    mailroom.catalogue.documents.receive("2" * 64, 1, Arrival("tray", "hr/pay/b.txt", 1.0, ("*",)))
    assert readable_count(mailroom) == 1
    apply_tray_rules(mailroom.catalogue, mailroom.settings.tray)
    assert readable_count(mailroom) == 0
    assert run(mailroom, "access", "remove", "deny", "user:bob", "--source", "tray", "--folder", "hr") != exits.OK
    assert "settings" in capsys.readouterr().err
    for number in (3, 4):  # one that is there when the rule comes, one that comes later
        mailroom.catalogue.documents.receive(f"{number}" * 64, 1, Arrival("tray", f"law/{number}.txt", 1.0, ()))
        assert readable_count(mailroom) == number - 2
    mailroom.catalogue.rules.replace_configured(["tray"], [])  # as when the settings name them no more
    documents = mailroom.catalogue.documents.find(BOB, Filters())[0]
    assert [document.path for document in documents] == ["hr/pay/b.txt"]
