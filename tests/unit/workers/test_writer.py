"""The index follows the catalogue: what it lacks is added, what it holds too much dropped, what is broken made anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.reader import IndexReader
from pipeline.documents import State
from tests.support.embedded import embedded
from workers.assemble import House
from workers.indexer.writer import REQUEST, Writer
from workers.settings import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def house(home: Path) -> Iterator[House]:
    house = opened(home)
    yield house
    house.close()


def opened(home: Path) -> House:
    return House(load_settings({"data.path": str(home)}, environ={}).settings)


def numbers(house: House) -> frozenset[int]:
    return IndexReader(house.settings.index_path).snapshot().numbers


def compare_now(writer: Writer) -> None:
    writer._compared_at = float("-inf")
    writer.step()


def test_embedded_documents_become_searchable_and_end(house: House) -> None:
    one, two = embedded(house, 1), embedded(house, 2, reason="low-confidence")
    assert Writer(house).step() == 2
    found = [house.catalogue.documents.get(each) for each in (one, two)]
    assert [(d.state, d.reason) for d in found] == [(State.INDEXED, None), (State.REVIEW, "low-confidence")]
    assert numbers(house) == {d.number for d in found}


def test_deleted_documents_leave_the_next_generation(house: House) -> None:
    one, two = embedded(house, 1), embedded(house, 2)
    writer = Writer(house)
    writer.step()
    house.catalogue.documents.delete(one)
    compare_now(writer)
    assert numbers(house) == {house.catalogue.documents.get(two).number}


def test_an_older_index_is_completed_from_the_catalogue(house: House, home: Path) -> None:
    embedded(house, 1)
    Writer(house).step()
    house.writer.close()
    shutil.copytree(house.settings.index_path, home / "older")
    embedded(house, 2)
    again = opened(home)
    Writer(again).step()
    expected = numbers(again)
    assert len(expected) == 2
    again.close()
    shutil.rmtree(house.settings.index_path)
    (home / "older").rename(house.settings.index_path)
    third = opened(home)
    compare_now(Writer(third))
    assert numbers(third) == expected
    third.close()


@pytest.mark.parametrize("damage", ["gone", "flipped", "asked"])
def test_a_damaged_or_unwanted_index_is_made_anew(house: House, home: Path, damage: str) -> None:
    embedded(house, 1)
    Writer(house).step()
    expected = numbers(house)
    house.writer.close()
    root = house.settings.index_path
    if damage == "gone":
        shutil.rmtree(root)
    elif damage == "flipped":
        (segment,) = root.glob("generations/*1/vectors/*.f32") or [None]
        content = bytearray(segment.read_bytes())
        content[-1] ^= 1
        segment.write_bytes(content)
    else:
        (root / REQUEST).touch()
    again = opened(home)
    Writer(again).step()
    assert numbers(again) == expected
    assert not (root / REQUEST).exists()
    again.close()


def test_a_document_that_cannot_be_added_harms_only_itself(house: House) -> None:
    writer = Writer(house)
    writer.step()
    bad, good = embedded(house, 1), embedded(house, 2)
    number = house.catalogue.documents.get(bad).number
    add = house.writer.add

    def refuse_one(given: int, *rest: object, **more: object) -> None:
        if given == number:
            raise ValueError("not this one")
        add(given, *rest, **more)

    house.writer.add = refuse_one  # type: ignore[method-assign]
    assert writer.step() == 1
    assert house.catalogue.documents.get(good).state is State.INDEXED
    assert house.catalogue.documents.get(bad).state is State.PROCESSING
