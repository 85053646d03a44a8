"""A caller who may read five of ten thousand documents finds all five, however much better the forbidden ones match."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from indexes.catalogue.database import bump_visibility
from indexes.catalogue.scopes import ensure
from indexes.catalogue.tables import access, chunks, document_scopes, documents
from indexes.vectors import kinds
from pipeline.access import AccessRule, Effect, Scope
from pipeline.documents import Chunk, Stage, State
from pipeline.questions import Caller, SearchRequest
from tests.support.serving import make_mailroom
from tests.support.tiny import make_embedder
from workers.assemble import Mailroom

DOCUMENTS = 10_000
#: They are spread among the others.
FEW = (17, 2_500, 5_001, 7_777, 9_999)
LISTED, RULED, CLOSED = Caller(("user:ann",)), Caller(("user:cara",)), Caller(("user:dora",))
OFTEN, ONCE = "pump pump pump pump", "valve motor seal gasket sensor bearing pump filter"


def text_of(number: int) -> str:
    return f"{ONCE if number in FEW else OFTEN} {number}"


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailroom]:
    """Put Ann on the lists of the few, let Cara read their folder, and close the other folder to Dora."""
    root = Path(tmp_path_factory.mktemp("starvation"))
    model = make_embedder(root / "models", "1", sorted({*ONCE.split(), *OFTEN.split()}))
    settings = {"catalogue.url": "memory:", "models.embedder": str(model.path)}
    mailroom = make_mailroom(root / "data", **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "EXACT_ROWS", DOCUMENTS // 2)  # so that these few rows get an index that only proposes
        _fill(mailroom)
    mailroom.catalogue.rules.add(AccessRule(Scope("tray", "few"), "user:cara", Effect.ALLOW))
    mailroom.catalogue.rules.add(AccessRule(Scope("tray", "few"), "user:dora", Effect.ALLOW))
    mailroom.catalogue.rules.add(AccessRule(Scope("tray", "many"), "group:staff", Effect.ONLY))
    yield mailroom
    mailroom.close()


def _fill(mailroom: Mailroom) -> None:
    """Insert the rows that the ingest pipeline would, and write the index by the real writer."""
    numbers = range(1, DOCUMENTS + 1)
    many_vector, few_vector = mailroom.embedder.embed([OFTEN, ONCE])
    rows = [_document(number, mailroom.embedder.digest) for number in numbers]
    texts = [{"number": n, "ordinal": 0, "text": text_of(n), "start": 0, "end": len(text_of(n))} for n in numbers]
    lists = [{"number": n, "principal": "user:ann" if n in FEW else "user:dora"} for n in numbers]
    with mailroom.catalogue.database.write() as connection:
        places = {name: ensure(connection, Scope("tray", name)) for name in ("few", "many")}
        links = [{"number": n, "scope": places["few" if n in FEW else "many"]} for n in numbers]
        for table, values in ((documents, rows), (chunks, texts), (access, lists), (document_scopes, links)):
            connection.execute(sa.insert(table), values)
        bump_visibility(connection)
    for number, text in zip(numbers, texts, strict=True):
        vector = (few_vector if number in FEW else many_vector)[None, :]
        passage = (Chunk(0, text["text"], 0, text["end"]),)
        mailroom.writer.add(number, passage, np.ascontiguousarray(vector, np.float32), None, f"{number}.txt")
    mailroom.writer.publish()


def _document(number: int, embedder: str) -> dict:
    path = f"{'few' if number in FEW else 'many'}/{number}.txt"
    row = {"number": number, "id": f"{number:032x}", "tenant": "default", "content_hash": f"{number:064x}", "size": 1}
    row |= {"name": f"{number}.txt", "source": "tray", "path": path, "labels": [], "state": State.INDEXED}
    return row | {"stage": Stage.INDEX, "received_at": 1.0, "metadata": {}, "embedder": embedder}


@pytest.mark.parametrize("mode", ["lexical", "vector", "hybrid"])
@pytest.mark.parametrize("k", [5, 10])
@pytest.mark.parametrize("caller", [LISTED, RULED, CLOSED], ids=["listed", "ruled", "closed"])
def test_the_few_are_all_found(mailroom: Mailroom, caller: Caller, k: int, mode: str) -> None:
    segments = mailroom.reader.snapshot().vectors.segments
    assert any(segment.index is not None for segment in segments), "all rows are compared: this shows nothing of FAISS"
    for query in ("pump", OFTEN):
        result = mailroom.search.search(caller, SearchRequest(query, k, mode=mode, collapse=False))
        assert {int(passage.document_id, 16) for passage in result.passages} == set(FEW)
        assert result.total == len(FEW)
