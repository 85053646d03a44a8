"""The chain of the audit: every change, removal, insertion, move and cut of generated chains is found."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from pipeline.audit import FAILURE, Anchor, AuditEntry, AuditOrigin, acting, chain_hash, check_chain, entry, ocsf


def make_chain(length: int, generator: random.Random) -> list[AuditEntry]:
    chain: list[AuditEntry] = []
    for sequence in range(1, length + 1):
        with acting(AuditOrigin(f"user:{generator.randrange(5)}", address=f"10.0.0.{generator.randrange(9)}")):
            new = entry(
                generator.choice(["document.read", "key.create"]), data={"n": generator.random()}, time=sequence
            )
        chain.append(new.chained(sequence, chain[-1].hash if chain else Anchor().hash))
    return chain


def change(chain: list[AuditEntry], generator: random.Random) -> list[AuditEntry]:
    """Return the chain with one field of one entry changed; its hash is computed anew every other time."""
    at = generator.randrange(len(chain))
    name = generator.choice(
        ["action", "actor", "address", "data", "outcome", "resource", "source", "request_id", "time"]
    )
    value = chain[at].time + 1 if name == "time" else getattr(chain[at], name) + "x"
    changed = replace(chain[at], **{name: value})
    if generator.random() < 0.5 and at < len(chain) - 1:
        changed = replace(changed, hash=chain_hash(chain[at - 1].hash if at else Anchor().hash, changed))
    return [*chain[:at], changed, *chain[at + 1 :]]


def remove(chain: list[AuditEntry], generator: random.Random) -> list[AuditEntry]:
    at = generator.randrange(len(chain) - 1)
    return [*chain[:at], *chain[at + 1 :]]


def insert(chain: list[AuditEntry], generator: random.Random) -> list[AuditEntry]:
    at = generator.randrange(1, len(chain))
    return [*chain[:at], entry("document.read").chained(at + 1, chain[at - 1].hash), *chain[at:]]


def swap(chain: list[AuditEntry], generator: random.Random) -> list[AuditEntry]:
    """Return the chain with two entries in each other's place, under each other's number."""
    one, two = sorted(generator.sample(range(len(chain)), 2))
    moved = list(chain)
    moved[one] = replace(chain[two], sequence=one + 1)
    moved[two] = replace(chain[one], sequence=two + 1)
    return moved


def forge(chain: list[AuditEntry], generator: random.Random) -> list[AuditEntry]:
    """Return the chain with a changed entry and every hash from there on computed anew."""
    at = generator.randrange(len(chain))
    forged = chain[:at]
    for old in [replace(chain[at], actor="user:other"), *chain[at + 1 :]]:
        forged.append(old.chained(old.sequence, forged[-1].hash if forged else Anchor().hash))
    return forged


def cut(chain: list[AuditEntry], generator: random.Random) -> list[AuditEntry]:
    return chain[: generator.randrange(len(chain))]


@pytest.mark.parametrize("tamper", [change, remove, insert, swap, forge, cut])
@pytest.mark.parametrize("seed", range(40))
def test_every_tampering_is_found(tamper, seed: int) -> None:
    generator = random.Random(seed)
    chain = make_chain(generator.randrange(3, 30), generator)
    anchor = Anchor(chain[-1].sequence, chain[-1].hash)
    assert check_chain(chain, [anchor]).faults == []
    assert check_chain(tamper(chain, generator), [anchor]).faults


def test_an_older_anchor_finds_what_happened_before_it_and_nothing_in_a_whole_chain() -> None:
    chain = make_chain(20, random.Random(1))
    old = Anchor(chain[9].sequence, chain[9].hash)
    assert check_chain(chain, [old, Anchor()]).faults == []
    assert check_chain(chain[:9], [old]).faults
    assert check_chain(forge(chain[:10], random.Random(2)) + chain[10:], [old]).faults
    assert check_chain(chain[:15], [old]).faults == []


def test_an_event_has_the_fields_of_ocsf() -> None:
    with acting(AuditOrigin("user:ann", "0a1b", "rest", "r-1", "10.0.0.1")):
        event = ocsf(entry("document.delete", "document:1", {"n": 1}, FAILURE, 5).chained(1, Anchor().hash))
    assert (event["class_uid"], event["type_uid"], event["status_id"], event["time"]) == (6003, 600304, 2, 5)
    assert event["actor"]["user"]["uid"] == "user:ann" and event["src_endpoint"]["ip"] == "10.0.0.1"
    assert event["api"]["request"]["uid"] == "r-1" and event["resources"][0]["uid"] == "document:1"
    assert json.loads(json.dumps(event)) == event
