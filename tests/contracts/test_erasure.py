"""What is left of a document that was taken out of an index in Milvus: no row holds a word of it."""

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
#: The words of it that no other document has, with their stems.
WORDS = ("zurich", "zanzibar", "zz-4711", "4711", "quixotry@example.org", "quixotri", "xylograph", "quarrel", "vex")
KEPT = "The notice period of this example text is three months."


@pytest.fixture
def server(milvus: MilvusServer) -> Server:
    return Server(milvus.url())


def writer(server: Server, root: Path) -> MilvusWriter:
    return MilvusWriter(server, root, "serving", "E", 4)


def add(into: MilvusWriter, number: int, text: str, *named: str) -> None:
    into.add(number, [Chunk(0, text, 0, len(text))], np.ones((1, 4)), *named)


def left(server: Server) -> set[str]:
    """Those of the words that any row of any collection holds."""
    rows: list[dict[str, Any]] = []
    for collection in names("serving").values():
        rows += server.call("query", collection, filter="", limit=1000, output_fields=["*"], consistency_level="Strong")
    held = {word for row in rows for value in row.values() if isinstance(value, str) for word in value.split()}
    return {word for word in WORDS if word in held or token(word) in held}


def test_no_row_holds_a_word_that_only_a_former_text_had(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.milvus.vocabulary.LOOKUP_WORDS", 3)
    monkeypatch.setattr("indexes.milvus.vocabulary.LOOKUP_ROWS", 2)
    index, shared = writer(server, tmp_path), [f"word{letter}" for letter in "abcdef"]
    for number, word in enumerate(shared, 2):
        add(index, number, f"{word}. {KEPT}", "Lease", "lease.txt")
    add(index, 1, " ".join([*shared, SECRET]), TITLE, NAME)
    index.publish()
    assert left(server) == set(WORDS)
    add(index, 1, f"{KEPT} {' '.join(shared)} Zürich", "Lease", "lease.txt")
    index.publish()
    assert left(server) == {"zurich"}
    index.remove(1)
    index.publish()
    assert left(server) == set()
    lexical = MilvusReader(server, "serving").snapshot().lexical
    for query in ("notice", "noti*", "notcie", '"three months"', "lease.txt", "word*"):
        assert {hit.document_number for hit in lexical.search(parse(query), 20, None)} == {2, 3, 4, 5, 6, 7}, query
    assert all(len(lexical.search(parse(f"+{word}"), 20, None)) == 1 for word in shared)
    index.close()


def test_nothing_is_left_of_a_document_erased_after_a_publication_that_ended_half_way(
    server: Server, tmp_path: Path
) -> None:
    index = writer(server, tmp_path)
    add(index, 2, KEPT)
    index.publish()
    add(index, 1, SECRET, TITLE, NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexes.milvus.state.write", raising)  # the rows are in, the state is not
        with pytest.raises(Unavailable):
            index.publish()
    index.close()
    again = writer(server, tmp_path)
    assert again.numbers == {2} and left(server)
    again.publish()
    assert left(server) == set() and again.numbers == {2}
    again.close()


def raising(*_: object) -> None:
    raise Unavailable("index-unavailable", "as a server that ends just here")
