"""The index follows the catalogue: missing documents are added, deleted ones removed, a damaged index is rebuilt."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.reader import FolderReader
from pipeline.documents import State
from tests.support.embedded import embedded
from workers.assemble import Mailroom
from workers.indexer.writer import Indexer
from workers.services.rebuild import REBUILD_REQUEST as REQUEST
from workers.settings import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def mailroom(home: Path) -> Iterator[Mailroom]:
    mailroom = opened(home)
    yield mailroom
    mailroom.close()


def opened(home: Path) -> Mailroom:
    return Mailroom(load_settings({"data.path": str(home)}, environ={}).settings)


def numbers(mailroom: Mailroom) -> frozenset[int]:
    return FolderReader(mailroom.settings.index_path).snapshot().numbers


def compare_now(writer: Indexer) -> None:
    writer._compared_at = float("-inf")
    writer.step()


def test_embedded_documents_become_searchable_and_their_jobs_end(mailroom: Mailroom) -> None:
    one, two = embedded(mailroom, 1), embedded(mailroom, 2, reason="low-confidence")
    assert mailroom.indexer().step() == 2
    documents = [mailroom.catalogue.documents.get(document_id) for document_id in (one, two)]
    assert [(d.state, d.reason) for d in documents] == [(State.INDEXED, None), (State.REVIEW, "low-confidence")]
    assert numbers(mailroom) == {d.number for d in documents}


def test_deleted_documents_leave_the_next_generation(mailroom: Mailroom) -> None:
    one, two = embedded(mailroom, 1), embedded(mailroom, 2)
    writer = mailroom.indexer()
    writer.step()
    mailroom.catalogue.documents.delete(one)
    compare_now(writer)
    assert numbers(mailroom) == {mailroom.catalogue.documents.get(two).number}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order_of_indexing_and_deletion_no_deleted_document_stays(mailroom: Mailroom, seed: int) -> None:
    chance, writer = random.Random(seed), mailroom.indexer()
    catalogue, present = mailroom.catalogue.documents, list[str]()
    for number in range(1, 25):
        action = chance.choice(["receive", "receive", "step", "delete", "compare"])
        if action == "receive":
            present.append(embedded(mailroom, number))
        elif action == "delete" and present:
            catalogue.delete(present.pop(chance.randrange(len(present))))
        elif action == "step":
            writer.step()
        elif action == "compare":
            compare_now(writer)
    for _ in range(2):  # the first indexes what is waiting, the second compares that, too
        compare_now(writer)
    assert numbers(mailroom) == {catalogue.get(document_id).number for document_id in present}


@pytest.mark.parametrize("moment", ["after its publication", "while it is added"])
def test_a_document_that_comes_and_goes_between_two_comparisons_leaves_the_index(
    mailroom: Mailroom, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, writer = embedded(mailroom, 1), mailroom.indexer()
    compare_now(writer)
    second, catalogue = embedded(mailroom, 2), mailroom.catalogue.documents
    if moment == "while it is added":
        monkeypatch.setattr(
            "workers.indexer.writer.fault", lambda name: name == "writer.added" and catalogue.delete(second)
        )
    writer.step()
    catalogue.delete(second)
    monkeypatch.undo()
    compare_now(writer)
    assert numbers(mailroom) == {catalogue.get(first).number}


def test_an_older_index_is_completed_from_the_catalogue(mailroom: Mailroom, home: Path) -> None:
    embedded(mailroom, 1)
    mailroom.indexer().step()
    mailroom.writer.close()
    shutil.copytree(mailroom.settings.index_path, home / "older")
    embedded(mailroom, 2)
    again = opened(home)
    again.indexer().step()
    expected = numbers(again)
    assert len(expected) == 2
    again.close()
    shutil.rmtree(mailroom.settings.index_path)
    (home / "older").rename(mailroom.settings.index_path)
    third = opened(home)
    compare_now(third.indexer())
    assert numbers(third) == expected
    third.close()


@pytest.mark.parametrize("damage", ["removed", "flipped", "requested"])
def test_a_damaged_or_unwanted_index_is_rebuilt(mailroom: Mailroom, home: Path, damage: str) -> None:
    embedded(mailroom, 1)
    mailroom.indexer().step()
    expected = numbers(mailroom)
    mailroom.writer.close()
    root = mailroom.settings.index_path
    if damage == "removed":
        shutil.rmtree(root)
    elif damage == "flipped":
        (segment,) = root.glob("generations/*1/vectors/*.f32") or [None]
        content = bytearray(segment.read_bytes())
        content[-1] ^= 1
        segment.write_bytes(content)
    else:
        (root / REQUEST).touch()
    again = opened(home)
    again.indexer().step()
    assert numbers(again) == expected
    assert not (root / REQUEST).exists()
    again.close()


def test_a_document_that_cannot_be_added_harms_only_itself(mailroom: Mailroom) -> None:
    writer = mailroom.indexer()
    writer.step()
    bad, good = embedded(mailroom, 1), embedded(mailroom, 2)
    number = mailroom.catalogue.documents.get(bad).number
    add = mailroom.writer.add

    def refuse_one(added: int, *rest: object, **more: object) -> None:
        if added == number:
            raise ValueError("not this one")
        add(added, *rest, **more)

    mailroom.writer.add = refuse_one  # type: ignore[method-assign]
    assert writer.step() == 1
    assert mailroom.catalogue.documents.get(good).state is State.INDEXED
    assert mailroom.catalogue.documents.get(bad).state is State.PROCESSING
