"""Permissions, groups and the taxonomy by `mailroom --url`: a command does and prints there what it does here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.serving import make_mailroom, read_and_index, serving
from workers.cli import exits
from workers.cli.main import main
from workers.services.first_key import first_key
from workers.services.keys import access_for

#: Ids, times and who did it differ between two installations.
OWN = re.compile(
    r"\b[0-9a-f]{12}(?:[0-9a-f]{20})?\b"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::[\d.]+Z?)?"
    r'|(?<="by": ")[^"]*|(?<="who": ")[^"]*'
)

Shell = Callable[..., tuple[int, str]]


@pytest.fixture
def shells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Shell, Shell]]:
    """Yield two shells on alike installations: one on its data folder, one over REST with an administrator's key."""
    with ExitStack() as stack:
        local, remote = (make_mailroom(tmp_path / name) for name in ("local", "remote"))
        stack.callback(local.close)
        stack.callback(remote.close)
        secret, _ = first_key(remote.catalogue, remote.settings.run_path)
        url = stack.enter_context(serving(remote))

        def shell(*options: str) -> Shell:
            def run(*words: str) -> tuple[int, str]:
                capsys.readouterr()
                code = main([*options, *words])
                return code, capsys.readouterr().out

            return run

        by_folder, by_url = shell("--data", str(local.settings.home)), shell("--url", url, "--key", str(secret))
        file = tmp_path / "hr" / "lease.txt"
        file.parent.mkdir()
        file.write_text("The notice period is three months.")
        for mailroom, run in ((local, by_folder), (remote, by_url)):
            added = json.loads(run("add", str(file.parent), "--source", "cli", "--access", "user:ann", "--json")[1])[
                "added"
            ]
            read_and_index(mailroom, added[0]["id"], file.read_text(), "contract")
        yield by_folder, by_url


def test_a_command_prints_the_same_here_and_there(shells: tuple[Shell, Shell], tmp_path: Path) -> None:
    """Given two alike installations, When a command runs on both, Then code and output agree but for ids and times."""
    ids = [json.loads(shell("list", "--json")[1])["items"][0]["id"] for shell in shells]

    def both(*words: str) -> tuple[int, str]:
        """Run a command on both; return its code and its output, or fail where they differ."""
        results = []
        for shell, document, name in zip(shells, ids, ("local", "remote"), strict=True):
            filled = [word.replace("DOCUMENT", document).replace("SIDE", str(tmp_path / name)) for word in words]
            code, output = shell(*filled)
            results.append((code, OWN.sub("...", output.replace(str(tmp_path / name), "SIDE"))))
        assert results[0] == results[1], words
        return results[0]

    assert both("access", "allow", "user:bob", "--source", "cli", "--folder", "hr")[0] == exits.OK
    assert "so already" in both("access", "allow", "user:bob", "--source", "cli", "--folder", "hr")[1]
    assert both("access", "deny", "group:law", "--document", "DOCUMENT")[0] == exits.OK
    assert both("access", "only", "user:ann", "--source", "cli")[0] == exits.OK
    assert both("groups", "add", "group:law", "user:bob", "user:eve") == (exits.OK, "2 added to group:law\n")
    assert "group:law  user:bob, user:eve" in both("groups", "list")[1]
    assert both("groups", "list", "--json")[0] == exits.OK
    for words in (["access", "list", "--json"], ["access", "list", "--document", "DOCUMENT", "--json"]):
        assert len(json.loads(both(*words)[1])["items"]) >= 2
    assert "may not read it: deny group:law" in both("access", "explain", "DOCUMENT", "user:bob")[1]
    assert json.loads(both("access", "explain", "DOCUMENT", "user:ann", "--json")[1])["allowed"] is True
    assert both("access", "remove", "only", "user:ann", "--source", "cli")[0] == exits.OK
    assert both("access", "remove", "only", "user:ann", "--source", "cli")[0] == exits.NOT_FOUND
    assert both("access", "allow", "user:bob")[0] == exits.USAGE
    assert both("access", "allow", "user:bob", "--source", "cli", "--document", "DOCUMENT")[0] == exits.USAGE
    assert both("access", "explain", "no-id", "user:bob")[0] == exits.USAGE
    assert both("groups", "remove", "group:law", "user:eve") == (exits.OK, "1 removed from group:law\n")
    assert both("groups", "remove", "group:law", "user:eve")[0] == exits.NOT_FOUND
    assert both("groups", "add", "group:law", "group:law")[0] == exits.ERROR

    assert "contract" in both("taxonomy", "list")[1]
    assert "1 filed documents have the old label" in both("taxonomy", "rename", "contract", "agreement")[1]
    assert "agreement" in json.loads(both("taxonomy", "list", "--json")[1])
    assert both("taxonomy", "rename", "contract", "deed")[0] not in (exits.OK, exits.UNAVAILABLE)
    listed = both("taxonomy", "split", "agreement", "--into", "lease", "--into", "sale", "--list", "SIDE.csv", "--json")
    assert json.loads(listed[1])["listed"] == 1
    rows = [(tmp_path / f"{name}.csv").read_text(encoding="utf-8-sig") for name in ("local", "remote")]
    assert [row.replace(document, "") for row, document in zip(rows, ids, strict=True)] == [
        "document,label,name\n,,lease.txt\n"
    ] * 2
    assert both("taxonomy", "split", "lease", "--into", "a", "--into", "b", "--list", "SIDE.csv")[0] == exits.ERROR
    assert "undo" in both("taxonomy", "undo", "--reason", "too soon")[1]
    assert both("taxonomy", "merge", "spam", "email", "--into", "email", "--json")[0] == exits.OK
    assert both("taxonomy", "retire", "email")[0] == exits.OK
    operations = json.loads(both("taxonomy", "history", "--json")[1])
    assert [operation["kind"] for operation in operations] == ["rename", "split", "undo", "merge", "retire"]


def test_a_key_without_the_right_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mailroom = make_mailroom(tmp_path / "data")
    _, secret = mailroom.catalogue.keys.create("bob", access_for(["user:bob"], ["read"]))
    with serving(mailroom) as url:
        for words in (["access", "list"], ["groups", "list"], ["taxonomy", "retire", "spam"]):
            assert main(["--url", url, "--key", secret, *words]) == exits.ERROR
            assert "error: forbidden: " in capsys.readouterr().err
    mailroom.close()
