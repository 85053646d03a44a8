"""The documentation cannot go stale: links lead somewhere, commands parse, folder tables name what is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from workers.cli.main import app

ROOT = Path(__file__).parents[2]
CODE = ("pipeline", "indexes", "workers", "models", "tests")
#: Folders of data and of alembic's numbered steps: their files need no row.
UNLISTED = {"samples", "texts", "shipped", "data", "results", "versions", "__pycache__"}
#: A folder with more modules than this has a README of its own.
MANY_FILES = 3
README_WORDS = 700
PROSE_COLUMNS = 160
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
#: Programs that a reader is asked to run and that are not ours.
OTHER_PROGRAMS = {"apt-get", "cd", "cp", "curl", "docker", "export", "git", "mkdir", "pg_dump", "pre-commit"}


def pages() -> list[Path]:
    """Return every Markdown page that people read as documentation, relative to the root."""
    folders = [path for name in CODE for path in (ROOT / name).rglob("README.md")]
    found_pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *folders, ROOT / "workers" / "SETTINGS.md"]
    return sorted({path.relative_to(ROOT) for path in found_pages})


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", (ROOT / page).read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield each simple command of a page's `sh` blocks as its words, without assignments before it."""
    for language, text in FENCE.findall((ROOT / page).read_text()):
        if language not in ("sh", "console"):
            continue
        text = re.sub(r"<<'(\w+)'(.*?)\n.*?^\1$", r"\2", text.replace("\\\n", " "), flags=re.MULTILINE | re.DOTALL)
        for line in text.splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|;&")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("|;&"):
                    while words and re.match(r"[A-Z_]+=", words[0]):
                        words = words[1:]
                    if words:
                        yield words
                    words = []
                else:
                    words.append(word)


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / page.parent / path).resolve() if path else ROOT / page
        assert place.exists(), f"{page}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(place.relative_to(ROOT)), f"{page}: {target} names no heading"


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_command_can_be_run(page: Path) -> None:
    for words in commands(page):
        problem = problem_of(words)
        assert problem is None, f"{page}: `{shlex.join(words)}`: {problem}"


def problem_of(words: list[str]) -> str | None:
    """Return what is wrong with a command of the documentation, or None."""
    program, *arguments = words
    for word in words:
        if word.split("/")[0] in (*CODE, "docs") and "/" in word and not (ROOT / word).exists():
            return f"there is no {word}"
    match program.rsplit("/", 1)[-1]:
        case "mailroom":
            return mailroom_problem(arguments)
        case "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            unknown = [word for word in arguments if "=" not in word and word not in targets]
            return f"no such target: {unknown}" if unknown else None
        case "python" | "python3":
            if arguments[:1] == ["-m"] and importlib.util.find_spec(arguments[1]) is None:
                return f"there is no module {arguments[1]}"
            return None
        case name:
            return None if name in OTHER_PROGRAMS or name in ("pytest", "ruff", "mypy") else f"unknown program {name}"


def mailroom_problem(arguments: list[str]) -> str | None:
    """Return what the command line would refuse of these arguments, or None. Nothing is run."""
    command: Any = typer.main.get_command(app)
    context = None
    while True:
        context = command.context_class(command, parent=context, info_name=command.name)
        try:
            values, rest, _ = command.make_parser(context).parse_args(list(arguments))
        except Exception as error:  # click's and typer's own classes have no base in common
            return str(error)
        missing = [p.name for p in command.params if p.required and not values.get(p.name or "")]
        if missing:
            return f"missing: {missing}"
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            return f"unexpected: {rest}" if rest else None
        if not rest or rest[0] not in subcommands:
            return f"no such command: {rest[:1]}"
        command, arguments = subcommands[rest[0]], rest[1:]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("mailroom --data data search rent --no-such-option", "No such option"),
        ("mailroom serach rent", "no such command"),
        ("mailroom show", "missing"),
        ("mailroom up now", "unexpected"),
        ("make nothing", "no such target"),
        ("python -m workers.nothing", "no module"),
        ("cp pipeline/nothing.py x", "there is no"),
        ("frobnicate", "unknown program"),
    ],
)
def test_a_wrong_command_is_noticed(command: str, problem: str) -> None:
    assert problem in (problem_of(shlex.split(command)) or "")


def test_every_route_that_is_called_is_documented() -> None:
    routes = (ROOT / "docs" / "rest.md").read_text()
    for page in pages():
        for path in re.findall(r"http://127\.0\.0\.1:8420(/[\w/]+)", (ROOT / page).read_text()):
            assert re.search(rf"`[^`]*{re.escape(path)}`", routes), f"{page}: {path} is not in docs/rest.md"


def test_the_readme_is_short() -> None:
    words = re.findall(r"\w+", prose(Path("README.md")))
    assert len(words) <= README_WORDS


@pytest.mark.parametrize("page", pages(), ids=str)
def test_prose_is_wrapped(page: Path) -> None:
    long_lines = [
        line
        for line in prose(page).splitlines()
        if len(line) > PROSE_COLUMNS and not line.startswith(("|", "![")) and " commit " not in line
    ]
    assert not long_lines, f"{page}: {long_lines}"


def code_folders() -> list[Path]:
    """Return the folders of product code that hold modules, relative to the root."""
    folders = {path.parent for name in CODE[:-1] for path in (ROOT / name).rglob("*.py")}
    return sorted(path.relative_to(ROOT) for path in folders if not UNLISTED & set(path.relative_to(ROOT).parts))


def modules(folder: Path) -> set[str]:
    """Return the names of a folder's modules, without `__init__.py`."""
    return {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}


def test_a_folder_of_many_files_has_a_readme() -> None:
    lacking = [str(f) for f in code_folders() if len(modules(f)) > MANY_FILES and not (ROOT / f / "README.md").exists()]
    assert not lacking


@pytest.mark.parametrize("folder", [f for f in code_folders() if (ROOT / f / "README.md").exists()], ids=str)
def test_the_table_of_a_folder_names_what_is_there(folder: Path) -> None:
    rows = re.findall(r"^\| ([^|]+) \|", prose(folder / "README.md"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([\w.-]+(?:\.py|/))`", row)}
    subfolders = {
        f"{path.name}/"
        for path in (ROOT / folder).iterdir()
        if path.is_dir() and path.name != "__pycache__" and any(path.rglob("*.*"))
    }
    there = modules(folder) | subfolders
    assert not there - listed, f"{folder}/README.md has no row for {sorted(there - listed)}"
    assert not listed - there, f"{folder}/README.md names {sorted(listed - there)}, which is not there"


def test_each_decision_has_a_number_of_its_own() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [path.name[:4] for path in records]
    assert len(numbers) == len(set(numbers)), "two decision records have one number"
    titles = {path.name: path.read_text().splitlines()[0] for path in records}
    assert not [name for name, title in titles.items() if not title.startswith(f"# {name[:4]}. ")]
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert not [path.name for path in records if f"[{path.name[:4]}. " not in index or f"]({path.name})" not in index]
