"""Purge: no file of an index folder holds a word or a vector of a document that was removed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from indexes import compaction
from indexes import writer as writing
from indexes.generations import generations
from indexes.lexical import tantivy as lexical
from indexes.reader import FolderReader
from indexes.vectors import kinds
from indexes.writer import FolderWriter
from pipeline.documents import Chunk
from pipeline.query import parse

DIMENSION = 8


def word(number: int, version: int) -> str:
    return f"canary{number:03d}v{version}"


def vector(number: int, version: int) -> np.ndarray:
    rows = np.random.default_rng([number, version]).normal(size=(2, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Collection:
    """Documents of two chunks with a word and vectors of their own, in an index and in a dictionary."""

    def __init__(self, root: Path) -> None:
        self.index = FolderWriter(root, "E", DIMENSION)
        self.version: dict[int, int] = {}

    def texts(self, number: int) -> tuple[list[Chunk], str, str] | None:
        if number not in self.version:
            return None
        text = f"{word(number, self.version[number])} and what every lease says"
        return [Chunk(0, text, 0, len(text)), Chunk(1, text, 0, len(text))], f"Lease {number}", f"{number}.txt"

    def add(self, number: int, version: int) -> None:
        self.version[number] = version
        chunks, title, name = self.texts(number) or ([], "", "")
        self.index.add(number, chunks, vector(number, version), title, name)

    def remove(self, number: int) -> None:
        del self.version[number]
        self.index.remove(number)

    def purge(self, seconds: float = 1.0) -> int:
        for step in range(200):
            if self.index.purge(self.texts, seconds):
                return step
            self.index.publish()
            time.sleep(0.001)
        raise AssertionError("the purge does not end")


def words_in(root: Path) -> set[str]:
    """Return the canary words of every lexical segment of every generation, and of the working copy."""
    words: set[str] = set()
    for folder in [*root.glob("generations/*/lexical"), *root.glob("work-*")]:
        for meta in [folder / "meta.json"] if (folder / "meta.json").exists() else []:
            searcher = lexical.open_index(meta.parent).searcher()
            words |= {term for field in ("text", "code") for term, _ in searcher.terms_with_prefix(field, "canary")}
    return words


def rows_in(root: Path, numbers: dict[tuple[int, int], np.ndarray]) -> set[tuple[int, int]]:
    """Return those of the documents whose first vector stands in a file, in single or half precision."""
    contents = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    return {
        key
        for key, rows in numbers.items()
        if any(rows[0].astype(kind).tobytes() in content for content in contents for kind in ("<f4", "<f2"))
    }


@pytest.mark.parametrize(("seed", "exact_rows", "count"), [(0, 24, 16), (1, 1000, 30), (2, 1000, 30), (3, 1000, 30)])
def test_after_a_purge_no_file_holds_anything_of_what_was_removed_or_replaced(
    tmp_path: Path, seed: int, exact_rows: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PURGED_CHUNKS", 16)
    for module in (kinds, compaction):
        monkeypatch.setattr(module, "EXACT_ROWS", exact_rows)
    chance, documents = random.Random(seed), Collection(tmp_path)
    every: dict[tuple[int, int], np.ndarray] = {}
    for number in range(1, count + 1):
        version = 0
        if chance.random() < 0.2 and documents.version:
            number, version = chance.choice([*documents.version]), chance.randrange(1, 50)
        documents.add(number, version)
        every[number, version] = vector(number, version)
        if chance.random() < 0.3:
            documents.remove(chance.choice([*documents.version]))
        if chance.random() < 0.3:
            documents.index.publish()
    documents.index.publish()
    documents.purge(seconds=1.0 if seed else 0.0)
    present = set(documents.version.items())
    assert words_in(tmp_path) == {word(*key) for key in present}
    assert rows_in(tmp_path, every) == present
    assert len(generations(tmp_path)) == 1
    snapshot = FolderReader(tmp_path).snapshot()
    assert snapshot.numbers == set(documents.version)
    for number, version in present:
        (first, *_) = snapshot.lexical.search(parse(word(number, version)), 5, None)
        (nearest, *_) = snapshot.vectors.search(vector(number, version)[1], 5, None)
        assert first.document_number == nearest.document_number == number
    documents.index.close()


def test_a_purge_goes_on_after_a_restart(tmp_path: Path) -> None:
    documents = Collection(tmp_path)
    for number in range(1, 21):
        documents.add(number, 0)
    documents.index.publish()
    documents.remove(7)
    documents.index.publish()
    documents.index.purge(documents.texts, 0.0)
    documents.index.close()
    again = Collection(tmp_path)
    again.version = documents.version
    assert again.purge() > 0
    assert word(7, 0) not in words_in(tmp_path)
    assert again.purge() == 0
    again.index.close()
