"""Under --url each command talks to that server or refuses; none falls back to a data folder of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer

from workers.cli import exits
from workers.cli.main import app, main

#: Commands that print what stands in the program and touch neither a server nor a data folder.
PURE = {("config", "reference")}
#: What an argument or a required option gets so that a command line parses.
VALUES = {"kind": "rename", "k": "3", "limit": "3", "offset": "0"}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words, command) for every command of the tree."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


def words_for(command: Any, file: Path) -> list[str]:
    """Return arguments and required options with values of their types."""
    words: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.required:
            continue
        kind = parameter.bare_type
        if isinstance(kind, type) and issubclass(kind, Enum):
            value = next(iter(kind)).value
        elif kind is Path or parameter.name == "paths":
            value = str(file)
        else:
            value = VALUES.get(parameter.name) or ("1" if kind in (int, float) else "a-name@1")
        words += [parameter.opts[0], str(value)] if parameter.param_type_name == "option" else [str(value)]
    return words


COMMANDS = [(path, command) for path, command in leaves(typer.main.get_command(app)) if path not in PURE]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_no_command_works_here_under_a_url(
    tmp_path: Path, path: tuple[str, ...], command: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Given a server that does not answer, When a command is run, Then it fails, says why, and has made no file."""
    file = tmp_path / "file.txt"
    file.write_text("text,label\nA text.,letter\n")
    folder = tmp_path / "new"
    monkeypatch.chdir(tmp_path)
    words = ["--url", "http://127.0.0.1:1", "--key", "x", "--data", str(folder), *path, *words_for(command, file)]
    assert main(words) in (exits.USAGE, exits.UNAVAILABLE, exits.NOT_RUNNING)
    assert capsys.readouterr().err.strip()
    assert sorted(tmp_path.iterdir()) == [file]


def test_the_walk_covers_the_commands() -> None:
    paths = {path for path, _ in COMMANDS}
    assert {("access", "deny"), ("keys", "create"), ("taxonomy", "rename"), ("reclassify", "plan"), ("train",)} <= paths


def test_the_refusal_says_what_to_do(tmp_path: Path, capsys: Any) -> None:
    words = ["--url", "http://127.0.0.1:1", "--data", str(tmp_path / "new"), "models", "list"]
    assert main(words) == exits.USAGE
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "run it on the server's machine" in message and "http://127.0.0.1:1" in message
    assert not (tmp_path / "new").exists()
