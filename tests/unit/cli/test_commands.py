"""Every command and exit code is in docs/command-line.md; mistakes are one line, never a trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from workers.cli import exits
from workers.cli.main import COMMANDS, app, main

PAGE = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text()


def command_names(group: object, prefix: str = "mailroom") -> list[str]:
    """Return the full names of all commands below a group."""
    inner = getattr(group, "commands", None)
    if inner is None:
        return [prefix]
    return [name for word, command in inner.items() for name in command_names(command, f"{prefix} {word}")]


def test_the_page_names_every_command_and_no_other() -> None:
    assert set(command_names(typer.main.get_command(app))) == set(
        re.findall(r"^\| `(mailroom [a-z -]+)` \|", PAGE, re.M)
    )


GROUPS = [[], *([word] for word, entry in COMMANDS.items() if entry.endswith("app")), ["index", "model"]]


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_the_help_lists_every_command_with_its_help(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a terminal of 80 columns, When help is printed, Then no command's line is cut."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == exits.OK
    lines = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in lines if re.match(r"  \S", line)}
    group = typer.main.get_command(app)
    for word in words:
        group = group.commands[word]
    assert list(listed) == list(group.commands)
    assert all(help_words and not help_words[-1].endswith("...") for help_words in listed.values())


def test_the_page_lists_the_exit_codes() -> None:
    listed = {int(code): text for code, text in re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.M)}
    assert listed == exits.MEANINGS


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "api.prt=1", "config", "show"], exits.ERROR, "error: bad-settings: "),
        (["--set", "api.port", "config", "show"], exits.ERROR, "error: bad-settings: "),
        (["show", "nothing"], exits.NOT_FOUND, "error: not-found: "),
        (["keys", "revoke", "nothing"], exits.NOT_FOUND, "error: not-found: "),
        (["add", "/nowhere/file"], exits.NOT_FOUND, "error: not-found: "),
        (["list", "--since", "never"], exits.USAGE, "error: bad-request: "),
        (["nonsense"], exits.USAGE, "No such command"),
        (["taxonomi"], exits.USAGE, "Did you mean 'taxonomy'?"),
        (["retry"], exits.USAGE, "--failed"),
        (["--url", "http://127.0.0.1:1", "list"], exits.UNAVAILABLE, "error: store-unavailable: "),
    ],
)
def test_a_mistake_is_a_line_and_a_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    output = capsys.readouterr().err
    assert message in output
    assert "Traceback" not in output


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == exits.OK
    assert capsys.readouterr().out.startswith("mailroom 0.")
