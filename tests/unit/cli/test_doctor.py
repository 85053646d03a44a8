"""What is missing is reported, with the command that fixes it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from indexes.open import open_catalogue
from tests.contracts.test_catalogue import finish
from workers.cli import exits
from workers.cli.doctor import FAIL, OK, WARN, Check, examine
from workers.cli.main import main
from workers.services.keys import access_for
from workers.settings import load_settings


def checks_by_name(overrides: dict[str, str]) -> dict[str, Check]:
    """Run all checks with these settings."""
    return {check.name: check for check in examine(load_settings(overrides, {}).settings)}


def test_a_sound_installation_passes(tmp_path: Path) -> None:
    checks = checks_by_name({"data.path": str(tmp_path), "api.port": "0"})
    assert [name for name, check in checks.items() if check.status == FAIL] == []
    assert {check.status for name, check in checks.items() if name in ("Python", "SQLite", "broker", "embedder")} == {
        OK
    }
    assert all(check.fix for check in checks.values() if check.status != OK)


def test_what_is_wrong_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        overrides = {
            "data.path": str(tmp_path),
            "api.port": str(listener.getsockname()[1]),
            "models.embedder": "nothing",
            "models.providers": '["NoSuchProvider"]',
            "catalogue.url": "postgresql://nobody@127.0.0.1:1/none",
            "broker.url": "redis://127.0.0.1:1/0",
        }
        checks = checks_by_name(overrides)
    failed = {name for name, check in checks.items() if check.status == FAIL}
    assert failed == {"telemetry", "port", "embedder", "ONNX Runtime", "catalogue", "broker"}
    assert checks["OCR"].status == WARN
    assert "apt-get install tesseract-ocr" in checks["OCR"].fix


def test_a_key_that_ends_soon_is_reported(tmp_path: Path) -> None:
    catalogue = open_catalogue(f"sqlite:///{tmp_path / 'catalogue.db'}")
    ids = [catalogue.keys.create("n", access_for([], ["read"], expires=end))[0] for end in ("", "90d", "5d")]
    checks = checks_by_name({"data.path": str(tmp_path)})
    assert (checks["API keys"].status, "3 valid, of which end: n (" in checks["API keys"].result) == (WARN, True)
    assert [key_id in checks["API keys"].result for key_id in ids] == [False, False, True]
    assert "keys rotate" in checks["API keys"].fix
    catalogue.keys.revoke(ids[2])
    catalogue.close()
    assert checks_by_name({"data.path": str(tmp_path)})["API keys"].status == OK


def test_an_index_without_some_documents_is_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue = open_catalogue(f"sqlite:///{tmp_path / 'catalogue.db'}")
    finish(catalogue, 1), finish(catalogue, 2)
    catalogue.close()
    check = checks_by_name({"data.path": str(tmp_path)})["index"]
    assert (check.status, check.result) == (WARN, "behind: 2 searchable documents are missing from it")
    assert "rebuild" in check.fix
    assert main(["--data", str(tmp_path), "index", "status", "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["behind"] == 2


def test_doctor_s_exit_code_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--set", "models.embedder=nothing", "doctor", "--json"]) == exits.ERROR
    checks = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in checks if check["status"] == FAIL and check["name"] != "port"] == ["embedder"]
