"""The audit on every database: one chain whoever writes, in the transaction of the change, and never changed."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from indexes.catalogue import audit
from indexes.catalogue.catalogue import Catalogue
from indexes.open import open_catalogue
from pipeline.access import AccessRule, Effect, Scope
from pipeline.audit import Anchor, AuditOrigin, acting, entry
from pipeline.errors import MailroomError
from pipeline.questions import Caller
from pipeline.rights import Access
from tests.contracts.test_catalogue import arrive


def actions(catalogue: Catalogue) -> list[str]:
    return [entry.action for entry in catalogue.audit.entries()]


def test_changes_are_in_the_audit_with_who_made_them_and_no_name_or_path(catalogue: Catalogue) -> None:
    with acting(AuditOrigin("user:ann", "0a", "rest", "request-1", "10.0.0.7")):
        document = arrive(catalogue, 1)
        key, _ = catalogue.keys.create("scanner", Access(Caller(("user:bob",))))
        catalogue.keys.rotate(key, 60)
        catalogue.keys.revoke(key)
        catalogue.rules.add(AccessRule(Scope("tray", "hr"), "group:hr", Effect.DENY))
        catalogue.rules.remove(Scope("tray", "hr"), "group:hr", Effect.DENY)
        catalogue.groups.add("group:hr", ["user:ann"])
        catalogue.groups.remove("group:hr", ["user:ann"])
        catalogue.documents.delete(document.id)
    expected = ["document.upload", "key.create", "key.rotate", "key.revoke", "access.add", "access.remove"]
    assert actions(catalogue) == [*expected, "group.add", "group.remove", "document.delete"]
    deleted = catalogue.audit.find(filters={"action": "document.delete"})[0]
    assert (deleted.actor, deleted.key_id, deleted.source) == ("user:ann", "0a", "rest")
    assert (deleted.request_id, deleted.address) == ("request-1", "10.0.0.7")
    assert deleted.resource == f"document:{document.id}"
    assert not [entry for entry in catalogue.audit.entries() if document.name in entry.data]


def test_a_change_without_effect_and_a_failed_one_add_nothing(catalogue: Catalogue) -> None:
    document = arrive(catalogue, 1)
    catalogue.documents.delete(document.id)
    before = catalogue.audit.head()
    catalogue.documents.delete(document.id)
    catalogue.keys.revoke("none")
    with pytest.raises(ZeroDivisionError), catalogue.database.write() as connection:
        audit.add(connection, entry("document.delete"))
        raise ZeroDivisionError
    catalogue.groups.add("group:a", [])
    assert catalogue.audit.head() == before


def write(url: str, name: str, count: int) -> None:
    opened = open_catalogue(url)
    with acting(AuditOrigin(name)):
        for number in range(count):
            opened.audit.append([entry("test.one", data={"n": number}), entry("test.two", "odd:\x00\ud800")])
    opened.close()


def test_processes_and_threads_write_one_chain(url: str) -> None:
    catalogue = open_catalogue(url)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write, args=(url, f"user:{number}", 25)) for number in range(3)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: arrive(catalogue, number), range(40)))
    for process in processes:
        process.join(60)
    check = catalogue.audit.verify([catalogue.audit.head(), Anchor()])
    assert (check.faults, check.entries) == ([], 3 * 25 * 2 + 40)
    catalogue.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE sequence = 2"]
)
def test_the_database_refuses_to_change_or_delete_an_entry(catalogue: Catalogue, statement: str) -> None:
    for number in range(3):
        arrive(catalogue, number)
    with pytest.raises((sa.exc.DBAPIError, MailroomError)), catalogue.database.write() as connection:
        connection.execute(sa.text(statement))
    assert catalogue.audit.verify().entries == 3


def test_tampering_past_the_database_is_found(catalogue: Catalogue) -> None:
    for number in range(6):
        arrive(catalogue, number)
    anchor = catalogue.audit.head()
    with catalogue.database.write() as connection:
        if catalogue.database.sqlite:
            connection.execute(sa.text("DROP TRIGGER audit_no_delete"))
        else:
            connection.execute(sa.text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(sa.text("DELETE FROM audit WHERE sequence = 6"))
    assert not catalogue.audit.verify().faults
    assert catalogue.audit.verify([anchor]).faults and not catalogue.audit.holds(anchor)
    arrive(catalogue, 7)
    assert catalogue.audit.verify([anchor]).faults and not catalogue.audit.holds(anchor)
    with catalogue.database.write() as connection:
        connection.execute(sa.text("DELETE FROM audit WHERE sequence = 3"))
    assert catalogue.audit.verify().faults


def test_entries_are_found_by_what_they_are_of_page_by_page(catalogue: Catalogue) -> None:
    generator = random.Random(4)
    for number in range(60):
        with acting(AuditOrigin(f"user:{generator.randrange(3)}", tenant=generator.choice(["default", "other"]))):
            action = generator.choice(["document.read", "document.delete", "documents.x", "key.create"])
            catalogue.audit.append([entry(action, f"document:{number % 5}", time=number * 1000)])
    everything = [entry for entry in catalogue.audit.entries() if entry.tenant == "default"]
    for filters, matches in (
        ({"action": "document."}, lambda e: e.action.startswith("document.")),
        ({"action": "key.create", "actor": "user:1"}, lambda e: e.action == "key.create" and e.actor == "user:1"),
        ({"resource": "document:2"}, lambda e: e.resource == "document:2"),
        ({"since": 10.0, "until": 30.0}, lambda e: 10_000 <= e.time < 30_000),
        ({"outcome": "failure"}, lambda e: False),
    ):
        pages, before = [], None
        while page := catalogue.audit.find(filters=filters, before=before, limit=4):
            pages += page
            before = page[-1].sequence
        assert pages == [entry for entry in reversed(everything) if matches(entry)]
