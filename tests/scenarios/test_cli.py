"""The command line over real stores, on this machine and by REST; what programs read from it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.services.first_key import first_key


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    mailroom = make_mailroom(tmp_path / "data")
    yield mailroom
    mailroom.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "legal").mkdir(parents=True)
    (folder / "legal" / "lease.txt").write_text("The notice period is three months.")
    (folder / "b.txt").write_text("Second file.")
    (folder / ".hidden").write_text("not for Mailroom")
    return folder


class Shell:
    """`mailroom` with its global options; JSON in, exit code out."""

    def __init__(self, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self.options, self._capsys = options, capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        code = main([*self.options, *words])
        return code, self._capsys.readouterr().out

    def json(self, *words: str) -> dict:
        return json.loads(self(*words, "--json")[1])


@pytest.fixture(params=["local", "remote"])
def shell(request: pytest.FixtureRequest, mailroom: Mailroom, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    if request.param == "local":
        yield Shell(["--data", str(mailroom.settings.home)], capsys)
        return
    secret, _ = first_key(mailroom.catalogue, mailroom.settings.run_path)
    with serving(mailroom) as url:
        yield Shell(["--url", url, "--key", str(secret)], capsys)


def test_a_document_s_life(shell: Shell, mailroom: Mailroom, files: Path) -> None:
    """Given a folder, When it is added and read, Then every command reports the same, here and by REST."""
    added = shell.json("add", str(files), "--label", "x")["added"]
    assert [file["path"] for file in added] == ["inbox/b.txt", "inbox/legal/lease.txt"]
    assert all(file["created"] for file in added)
    lease = added[1]["id"]
    read_and_index(mailroom, lease, "The notice period is three months.", "contract")

    assert [d["id"] for d in shell.json("list", "--state", "indexed", "--type", "contract")["items"]] == [lease]
    assert shell.json("list", "--folder", "inbox/legal")["total"] == 1
    record = shell.json("show", lease)
    assert record["document"]["labels"] == ["x"]
    assert record["document"]["source"] == ("api" if "--url" in shell.options else "cli")
    assert {event["stage"] for event in record["events"]} >= {"receive", "parse", "index"}
    assert shell.json("search", "notice period")["items"][0]["document_id"] == lease
    assert (
        shell.json("ask", "How long is the notice period?")["quotes"][0]["text"] == "The notice period is three months."
    )
    assert shell("search", "xylophone", "--mode", "lexical")[0] == exits.NOT_FOUND
    assert shell("search", "notice", "--type", "invoice")[0] == exits.NOT_FOUND

    assert shell("retry", lease)[0] == exits.OK
    assert shell("retry", lease)[0] == exits.ERROR
    assert shell("delete", lease, "--yes")[0] == exits.OK
    assert shell("show", lease)[0] == exits.NOT_FOUND
    # The one that is there at this place stays as it is; at another place the same content is another document.
    assert [file["created"] for file in shell.json("add", str(files))["added"]] == [False, True]
    assert shell.json("add", str(files / "b.txt"))["added"][0]["created"] is True


def test_the_tables_show_what_json_has(shell: Shell, mailroom: Mailroom, files: Path) -> None:
    document = shell.json("add", str(files / "b.txt"))["added"][0]["id"]
    read_and_index(mailroom, document, "A text with \x1b[31m control characters and [bold]markup[/bold].")
    assert document in shell("list")[1]
    assert document in shell("show", document)[1]
    code, output = shell("search", "control characters", "--explain")
    assert code == exits.OK
    assert "[bold]markup[/bold]" in output
    assert "\x1b[31m" not in output
    assert "1 of 1" in output


def test_keys(mailroom: Mailroom, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(["--data", str(mailroom.settings.home)], capsys)
    key = shell.json("keys", "create", "ann", "--principal", "user:ann", "--scope", "read", "--scope", "upload")
    access = mailroom.catalogue.keys.check(key["key"])
    assert (access.caller.principals, access.scopes) == (("user:ann",), {"read", "upload"})
    assert (access.sources, access.grants) == (("api",), ())
    listed = shell("keys", "list", "--json")[1]
    assert key["id"] in listed
    assert key["key"] not in listed
    assert shell("keys", "revoke", key["id"])[0] == exits.OK
    assert mailroom.catalogue.keys.check(key["key"]) is None
    assert shell("keys", "create", "x", "--scope", "everything")[0] == exits.USAGE
    stored = (mailroom.settings.home / "catalogue.db").read_bytes()
    assert key["key"].rsplit("_", 1)[-1].encode() not in stored


def test_the_first_key_is_created_once_and_its_file_is_private(mailroom: Mailroom) -> None:
    secret, created = first_key(mailroom.catalogue, mailroom.settings.run_path)
    assert created
    again, created = first_key(mailroom.catalogue, mailroom.settings.run_path)
    assert (again, created) == (secret, False)
    file = mailroom.settings.run_path / "admin.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    assert first_key(mailroom.catalogue, mailroom.settings.run_path) == (None, False)


def test_status_reports_that_nothing_runs(mailroom: Mailroom, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(["--data", str(mailroom.settings.home)], capsys)
    code, output = shell("status", "--json")
    assert (code, json.loads(output)["health"]) == (exits.NOT_RUNNING, None)


def test_some_files_may_fail(mailroom: Mailroom, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Store the others nevertheless."""
    shell = Shell(["--data", str(mailroom.settings.home), "--set", "api.upload_max_bytes=20"], capsys)
    code, output = shell("add", str(files), "--json")
    assert code == exits.SOME_FAILED
    assert [file["path"] for file in json.loads(output)["added"]] == ["inbox/b.txt"]
    assert "upload-too-large" in json.loads(output)["refused"][0]["error"]
