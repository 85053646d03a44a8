"""Erasure from an index in Milvus: no row contains a word of a document that was removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.milvus.reader import MilvusReader
from indexes.milvus.schema import names
from indexes.milvus.server import Server
from indexes.milvus.tokens import token
from indexes.milvus.writer import MilvusWriter
from pipeline.documents import Chunk
from pipeline.errors import Unavailable
from pipeline.query import parse
from tests.support.milvus import MilvusServer

SECRET = "Zürich zanzibar ZZ-4711 quixotry@example.org"
TITLE, NAME = "Xylograph of the quarrels", "vexing-memo.txt"
#: The words and stems of these texts that no other document contains.
WORDS = ("zurich", "zanzibar", "zz-4711", "4711", "quixotry@example.org", "quixotri", "xylograph", "quarrel", "vex")
COMMON_TEXT = "The notice period of this example text is three months."


@pytest.fixture
def server(milvus: MilvusServer) -> Server:
    return Server(milvus.url())


def writer(server: Server, root: Path) -> MilvusWriter:
    return MilvusWriter(server, root, "serving", "E", 4)


def add(index: MilvusWriter, number: int, text: str, *title_and_name: str) -> None:
    index.add(number, [Chunk(0, text, 0, len(text))], np.ones((1, 4)), *title_and_name)


def remaining(server: Server) -> set[str]:
    """Return those of WORDS that any row of any collection contains."""
    rows: list[dict[str, Any]] = []
    for collection in names("serving").values():
        rows += server.call("query", collection, filter="", limit=1000, output_fields=["*"], consistency_level="Strong")
    stored = {word for row in rows for value in row.values() if isinstance(value, str) for word in value.split()}
    return {word for word in WORDS if word in stored or token(word) in stored}


def test_no_row_contains_a_word_of_a_replaced_or_removed_text(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.milvus.vocabulary.LOOKUP_WORDS", 3)
    monkeypatch.setattr("indexes.milvus.vocabulary.LOOKUP_ROWS", 2)
    index, shared = writer(server, tmp_path), [f"word{letter}" for letter in "abcdef"]
    for number, word in enumerate(shared, 2):
        add(index, number, f"{word}. {COMMON_TEXT}", "Lease", "lease.txt")
    add(index, 1, " ".join([*shared, SECRET]), TITLE, NAME)
    index.publish()
    assert remaining(server) == set(WORDS)
    add(index, 1, f"{COMMON_TEXT} {' '.join(shared)} Zürich", "Lease", "lease.txt")
    index.publish()
    assert remaining(server) == {"zurich"}
    index.remove(1)
    index.publish()
    assert remaining(server) == set()
    lexical = MilvusReader(server, "serving").snapshot().lexical
    for query in ("notice", "noti*", "notcie", '"three months"', "lease.txt", "word*"):
        assert {hit.document_number for hit in lexical.search(parse(query), 20, None)} == {2, 3, 4, 5, 6, 7}, query
    assert all(len(lexical.search(parse(f"+{word}"), 20, None)) == 1 for word in shared)
    index.close()


def test_nothing_remains_of_a_document_erased_after_an_interrupted_publication(server: Server, tmp_path: Path) -> None:
    index = writer(server, tmp_path)
    add(index, 2, COMMON_TEXT)
    index.publish()
    add(index, 1, SECRET, TITLE, NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexes.milvus.state.write", raising)  # the rows are in, the state is not
        with pytest.raises(Unavailable):
            index.publish()
    index.close()
    again = writer(server, tmp_path)
    assert again.numbers == {2} and remaining(server)
    again.publish()
    assert remaining(server) == set() and again.numbers == {2}
    again.close()


def raising(*_: object) -> None:
    raise Unavailable("index-unavailable", "as if the server stopped here")
