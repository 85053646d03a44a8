"""Legal holds as people meet them: over REST and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.serving import client, make_mailroom, serving
from workers.cli.main import main


def test_a_document_under_a_hold_is_kept_and_the_reason_is_for_administrators(tmp_path: Path) -> None:
    mailroom = make_mailroom(tmp_path / "data")
    with serving(mailroom) as url:
        ann, admin = (
            client(url, mailroom, ["user:ann"], ["upload", "read", "delete"]),
            client(url, mailroom, admin=True),
        )
        document_id = ann.post("/v1/documents", content=b"a letter", headers={"X-Filename": "letter.txt"}).json()["id"]
        body = {"kind": "document", "target": document_id, "reason": "case 12"}
        assert ann.post("/v1/holds", json=body).status_code == ann.get("/v1/holds").status_code == 403
        hold = admin.post("/v1/holds", json=body)
        assert hold.status_code == 201 and admin.post("/v1/holds", json=body).status_code == 200
        refused, reasons = (key.delete(f"/v1/documents/{document_id}") for key in (ann, admin))
        assert (refused.status_code, refused.json()["code"]) == (409, "legal-hold")
        assert "case 12" not in refused.text and "case 12" in reasons.json()["detail"]
        assert ann.get(f"/v1/documents/{document_id}").status_code == 200
        assert admin.post("/v1/holds", json={**body, "kind": "subject", "target": " a "}).status_code == 409
        assert admin.delete(f"/v1/holds/{hold.json()['id']}").status_code == 204
        assert ann.delete(f"/v1/documents/{document_id}").is_success
    actions = [entry.action for entry in mailroom.catalogue.audit.entries()]
    assert actions.count("hold.add") == actions.count("hold.remove") == 1
    mailroom.close()


def test_the_commands_place_list_and_lift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = ["--data", str(tmp_path / "data")], tmp_path / "letter.txt"
    file.write_text("a letter")
    assert main([*data, "add", str(file), "--source", "letters"]) == 0
    assert main([*data, "list", "--json"]) == 0
    document_id = json.loads(capsys.readouterr().out.split("\n", 1)[1])["items"][0]["id"]
    assert main([*data, "hold", "add", "--source", "letters", "--reason", "case 7"]) == 0
    assert main([*data, "hold", "add", "--reason", "x"]) == main(
        [*data, "hold", "add", "--source", "a", "--subject", "bob", "--reason", "x"]
    )
    assert main([*data, "delete", document_id, "--yes"]) != 0
    assert "case 7" in capsys.readouterr().err
    assert main([*data, "hold", "list", "--json"]) == 0
    (hold,) = json.loads(capsys.readouterr().out)["items"]
    assert hold["kind"] == "source"
    assert main([*data, "hold", "remove", hold["id"]]) == 0
    assert main([*data, "delete", document_id, "--yes"]) == 0
