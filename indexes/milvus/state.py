"""Which documents an index holds, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from indexes.milvus.server import PAGE, Server


@dataclass(frozen=True, slots=True)
class Facts:
    """``serial`` counts publications; ``since``: what the catalogue finished later may be missing (epoch seconds);
    ``born`` tells this index from another one of the same name."""

    serial: int
    embedder: str
    dimension: int
    model: str
    since: float
    born: str
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """One document; ``passages`` 0: it is gone."""

    number: int
    passages: int
    bare: bool


def read_facts(server: Server, collection: str) -> Facts | None:
    """None where nothing was ever published."""
    if not server.call("has_collection", collection):
        return None
    rows = server.call("get", collection, ids=[0], output_fields=["facts"], consistency_level="Strong")
    if not rows:
        return None
    values = json.loads(rows[0]["facts"])
    return Facts(**{**values, "languages": tuple(values["languages"])})


def announce(server: Server, collection: str, serial: int, before: Mapping[int, Held]) -> None:
    """Say which documents the coming publication will change, as they stand ``before`` it: were it to end half way, the next
    writer finds them as changed after the last one."""
    _put(server, collection, [_row(each.number, serial, each.passages, each.bare) for each in before.values()])


def write(server: Server, collection: str, facts: Facts, changed: Mapping[int, Held]) -> None:
    """The documents first: with the facts the publication is seen."""
    rows = [_row(each.number, facts.serial, each.passages, each.bare) for each in changed.values()]
    _put(server, collection, rows)
    server.call("upsert", collection, [{**_row(0, facts.serial, 0, False), "facts": json.dumps(asdict(facts))}])


def _put(server: Server, collection: str, rows: Sequence[Mapping[str, object]]) -> None:
    for at in range(0, len(rows), PAGE):
        server.call("upsert", collection, rows[at : at + PAGE])


def _row(number: int, serial: int, passages: int, bare: bool) -> dict[str, object]:
    return {"number": number, "serial": serial, "passages": passages, "bare": bare, "facts": "", "none": [0.0, 0.0]}


def changed_since(server: Server, collection: str, serial: int) -> Iterator[Held]:
    """Documents that publications after ``serial`` changed."""
    for row in server.rows(collection, f"number > 0 and serial > {serial}", ["number", "passages", "bare"]):
        yield Held(row["number"], row["passages"], row["bare"])
