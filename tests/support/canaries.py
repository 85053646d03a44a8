"""Documents with words of their own, and a search for these words in everything that an installation stores."""

from __future__ import annotations

import io
import random
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import docx

from indexes.lexical import tantivy as lexical

#: Files of an installation that hold code or weights and no document.
_OTHERS = (".onnx",)


@dataclass(frozen=True)
class Canary:
    """A file with words that no other file has, in its name and in its content."""

    name: str
    content: bytes
    words: tuple[str, ...]


def canaries(count: int, seed: int) -> list[Canary]:
    """Return files of several kinds: texts, web pages, tables, Word, mails with attachments, and damaged ones."""
    chance = random.Random(seed)
    makers = (_text, _page, _table, _word, _mail, _damaged)
    return [makers[number % len(makers)](chance) for number in range(count)]


def _new_word(chance: random.Random) -> str:
    return "qanary" + "".join(chance.choice("bcdfghjklmnpqrtvwz") for _ in range(9)) + "x"


def _sentence(word: str) -> str:
    return f"Invoice for {word}: please pay 420.00 EUR for the repair of the pump until the end of March."


def _text(chance: random.Random) -> Canary:
    name, word = _new_word(chance), _new_word(chance)
    return Canary(f"letters/{name}.txt", _sentence(word).encode(), (name, word))


def _docx(text: str) -> bytes:
    """Return a Word file whose parts are not compressed, so that a search for bytes finds its words."""
    document, packed, stored = docx.Document(), io.BytesIO(), io.BytesIO()
    document.add_paragraph(text)
    document.save(packed)
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    return stored.getvalue()


def _page(chance: random.Random) -> Canary:
    name, title, word = (_new_word(chance) for _ in range(3))
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{_sentence(word)}</p></body></html>"
    return Canary(f"{name}.html", html.encode(), (name, title, word))


def _table(chance: random.Random) -> Canary:
    name, word = _new_word(chance), _new_word(chance)
    return Canary(f"{name}.csv", f"item,amount\n{word},12\npump,7\n".encode(), (name, word))


def _word(chance: random.Random) -> Canary:
    name, word = _new_word(chance), _new_word(chance)
    return Canary(f"{name}.docx", _docx(_sentence(word)), (name, word))


def _mail(chance: random.Random) -> Canary:
    name, subject, body, attached, inside = (_new_word(chance) for _ in range(5))
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"{body}@example.org", "office@example.org", f"About {subject}"
    mail["Date"] = "Tue, 24 Nov 2026 10:00:00 +0000"
    mail.set_content(_sentence(body))
    mail.add_attachment(_sentence(inside).encode(), "text", "plain", filename=f"{attached}.txt")
    return Canary(f"{name}.eml", mail.as_bytes(), (name, subject, body, attached, inside))


def _damaged(chance: random.Random) -> Canary:
    name, word = _new_word(chance), _new_word(chance)
    return Canary(f"{name}.docx", _docx(_sentence(word))[:700] + word.encode(), (name, word))


def remaining(folder: Path, words: set[str]) -> dict[str, list[str]]:
    """Return the places under ``folder`` where one of the words is: in names, bytes, compressed results, terms."""
    places: dict[str, list[str]] = {}
    for place, content in _contents(folder):
        for word in words:
            if word.encode() in content or word.upper().encode() in content or word.encode("utf-16-le") in content:
                places.setdefault(word, []).append(place)
    return places


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        place = str(path.relative_to(folder))
        yield f"name of {place}", place.encode("utf-8", "surrogateescape")
        if path.is_file() and path.suffix not in _OTHERS:
            content = path.read_bytes()
            yield place, content
            if content.startswith(b"SQLite format 3"):
                yield from _results(path, place)
            if path.name == "meta.json":
                yield f"terms of {place}", " ".join(_terms(path.parent)).encode()


def _results(path: Path, place: str) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for key, payload in connection.execute("SELECT key, payload FROM results"):
            yield f"result {key} of {place}", zlib.decompress(payload)


def _terms(folder: Path) -> Iterator[str]:
    searcher = lexical.open_index(folder).searcher()
    for field in ("text", "code", "parts", "title", "name", "title_words", "name_words"):
        yield from (term for term, _ in searcher.terms_with_prefix(field, "qanary"))
