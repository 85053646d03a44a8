"""Every command and exit code is in docs/command-line.md; mistakes are one line, never a trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from workers.cli import exits
from workers.cli.main import app, main

PAGE = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text()


def commands(group: object, prefix: str = "mailroom") -> list[str]:
    inner = getattr(group, "commands", None)
    if inner is None:
        return [prefix]
    return [name for word, each in inner.items() for name in commands(each, f"{prefix} {word}")]


def test_the_page_names_every_command_and_no_other() -> None:
    assert set(commands(typer.main.get_command(app))) == set(re.findall(r"^\| `(mailroom [a-z ]+)` \|", PAGE, re.M))


def test_the_page_gives_the_exit_codes() -> None:
    listed = {int(code): text for code, text in re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.M)}
    assert listed == exits.MEANINGS


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "api.prt=1", "config", "show"], exits.ERROR, "error: bad-settings: "),
        (["--set", "api.port", "config", "show"], exits.ERROR, "error: bad-settings: "),
        (["show", "nothing"], exits.NOT_FOUND, "error: not-found: "),
        (["keys", "revoke", "nothing"], exits.NOT_FOUND, "error: not-found: "),
        (["add", "/nowhere/file"], exits.NOT_FOUND, "error: not-found: "),
        (["list", "--since", "never"], exits.USAGE, "error: bad-request: "),
        (["nonsense"], exits.USAGE, "No such command"),
        (["retry"], exits.USAGE, "--failed"),
        (["--url", "http://127.0.0.1:1", "list"], exits.UNAVAILABLE, "error: store-unavailable: "),
    ],
)
def test_a_mistake_is_a_line_and_a_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == exits.OK
    assert capsys.readouterr().out.startswith("mailroom 0.")
