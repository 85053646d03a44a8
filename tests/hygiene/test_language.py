"""Names and sentences stay plain: no banned bindings, no private idioms, docstrings that begin with a verb.

Ruff checks that everything public has a docstring, its mood (as far as it knows the verb) and the length of lines.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("pipeline", "indexes", "workers", "models")

#: Folders of sample documents, which speak for themselves.
SAMPLE_FOLDERS = {"samples", "texts"}
#: Participles and pronouns that name nothing: hits, document, existing, message, request and label do.
BANNED_BINDINGS = frozenset(
    "asked each found given heard held kept known looked made meant said seen shown taken told wanted".split()
)
#: Idioms that a reader new to the code does not understand, and what to write instead.
BANNED_PHRASES = {
    r"\bin force\b": "active",
    r"\bsecond look\b": "rerank",
    r"(?<!there )\b(?:is|are) no (?!(?:more|less|worse|better|longer|larger|smaller|faster|slower)\b)": "is not a",
    r"\btold\b": "returned, reported, raised, logged",
    r"\b(?:the|this|a|our|of) house\b|\bhouse's\b": "organisation, installation",
    r"\bgone on with\b": "resumed",
    r"\bsighting": "arrival",
    r"\bverdict": "prediction",
    r"\bnudge": "wake-up, notify",
    r"\bwhat is lacking\b": "what is missing",
}
#: Files that quote such words: this one, old names of tables, a list of English verbs.
QUOTES = ("tests/hygiene/test_language.py", "indexes/catalogue/migrations/versions/", "pipeline/parse/shim.py")
#: Words that begin a sentence about a result instead of an order.
NOT_A_VERB = frozenset(
    """
    a after all also an and another any anything as at because before both but by each either every everything few for
    from here how if in into it its like many more most neither never no nobody none not nothing of on once one only or
    other our out same several since so some such than that the their them then there these they this those though
    three through to true two under until upon what whatever when where whether which while who whoever whole whose why
    with within without yes you your
    """.split()
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules(*folders: str) -> list[Path]:
    """Return the modules of top-level folders, in alphabetical order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def pages() -> list[Path]:
    """Return the Markdown pages that people read as documentation, but those that quote the past."""
    folders = [path for name in (*PRODUCT, "tests", "docs") for path in (ROOT / name).rglob("*.md")]
    history = ROOT / "CHANGELOG.md"
    documents = {path for path in folders if SAMPLE_FOLDERS & {*path.parts} and path.name != "README.md"}
    return sorted({*ROOT.glob("*.md"), *folders} - {history, *documents})


def bindings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each variable, attribute, parameter and function that is bound."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.MatchAs(name=str(name)):
                yield node.lineno, name


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of prose: of Markdown without code, and of comments, docstrings and messages."""
    text = path.read_text()
    if path.suffix == ".md":
        plain = re.sub(r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
        parts = enumerate(plain.splitlines(), start=1)
    else:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
        in_tests = path.is_relative_to(ROOT / "tests")
        parts = [*comments, *(docstrings if in_tests else strings)(ast.parse(text))]
    for line, part in parts:
        yield line, re.sub(r"``?[^`]*``?", "", re.sub(r"\s+", " ", part))


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string, f-strings piece by piece."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and (docstring := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), docstring


def orders(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the docstring of each function that is neither a property nor a test."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and not node.name.startswith("test_"):
            decorators = {ast.unparse(decorator).split("(")[0].split(".")[-1] for decorator in node.decorator_list}
            docstring = ast.get_docstring(node)
            if docstring and not decorators & {"property", "cached_property", "fixture"}:
                yield node.lineno, docstring


def place(path: Path, line: int) -> str:
    """Return a place in the form that editors open."""
    return f"{path.relative_to(ROOT)}:{line}"


def test_names_name_things() -> None:
    banned = [
        f"{place(path, line)} {name}"
        for path in modules(*PRODUCT, "tests")
        for line, name in bindings(ast.parse(path.read_text()))
        if name.strip("_") in BANNED_BINDINGS
    ]
    assert not banned, "\n".join(banned)


def test_prose_has_no_private_idioms() -> None:
    banned = [
        f"{place(path, line)} {match[0]!r}: write {instead!r}"
        for path in [*modules(*PRODUCT, "tests"), *pages()]
        if not path.relative_to(ROOT).as_posix().startswith(QUOTES)
        for line, text in sentences(path)
        for pattern, instead in BANNED_PHRASES.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert not banned, "\n".join(banned)


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    banned = [
        f"{place(path, line)} {docstring.splitlines()[0]}"
        for path in modules(*PRODUCT, "tests")
        for line, docstring in orders(ast.parse(path.read_text()))
        if re.split(r"\W", docstring, maxsplit=1)[0].lower() in NOT_A_VERB or not docstring[0].isupper()
    ]
    assert not banned, "\n".join(banned)


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path in sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(place(path, node.lineno))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("found = 1", ["found"]),
        ("def f(each, x): self._held = x", ["f", "each", "x", "_held"]),
        ("for told in x: pass", ["told"]),
        ("from hypothesis import given", []),
    ],
)
def test_bindings_are_seen(code: str, names: list[str]) -> None:
    assert sorted(name for _, name in bindings(ast.parse(code))) == sorted(names)


@pytest.mark.parametrize(
    ("text", "banned"),
    [
        ("The version in force.", True),
        ("It is no folder.", True),
        ("There is no file.", False),
        ("It is no longer there.", False),
        ("The house's own.", True),
        ("A warehouse.", False),
    ],
)
def test_phrases_are_seen(text: str, banned: bool) -> None:
    assert banned == any(re.search(pattern, text, re.IGNORECASE) for pattern in BANNED_PHRASES)
