"""Permissions in the catalogue: inheritance, deny, groups, and that the next query of every process sees a change."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from indexes.catalogue.catalogue import Catalogue
from indexes.catalogue.tables import access as access_table
from indexes.catalogue.tables import document_scopes, scopes, visibility_version
from indexes.open import open_catalogue
from pipeline.access import AccessRule, Effect, Origin, Scope, decide, folder_scope, groups_of, with_ancestors
from pipeline.documents import Arrival, Child, Document, Outcome, QueueName, Stage, State
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller, Filters
from tests.contracts.test_catalogue import claim, content_hash, finish
from tests.contracts.test_catalogue_store import downgrade

ANN, BOB = Caller(("user:ann",)), Caller(("user:bob",))
ALLOW, DENY, ONLY = Effect.ALLOW, Effect.DENY, Effect.ONLY


def put(catalogue: Catalogue, number: int, path: str, access: tuple[str, ...] = (), source: str = "tray") -> Document:
    return catalogue.documents.receive(content_hash(number), 1, Arrival(source, path, 1.0, access))[0]


def sees(catalogue: Catalogue, caller: Caller) -> set[str]:
    """Return the paths that the caller's list shows, and check that reading the documents one by one agrees."""
    documents, total = catalogue.documents.find(caller, Filters(), 1000)
    assert total == len(documents)
    for document in catalogue.documents.find(ADMINISTRATOR, Filters(), 1000)[0]:
        if document.id in {match.id for match in documents}:
            assert catalogue.documents.read(caller, document.id) == document
        else:
            with pytest.raises(Refused, match="not-found"):
                catalogue.documents.read(caller, document.id)
    return {document.path for document in documents}


def rule(
    catalogue: Catalogue, effect: Effect, principal: str, source: str = "tray", folder: str = "", of: str = ""
) -> AccessRule:
    new = AccessRule(Scope("" if of else source, folder, of), principal, effect)
    assert catalogue.rules.add(new)
    return new


def test_documents_inherit_from_folder_and_source(catalogue: Catalogue) -> None:
    for number, path in enumerate(("hr/pay/a", "hr/b", "hr2/c", "d"), 1):
        put(catalogue, number, path)
    put(catalogue, 9, "hr/pay/other", source="api")
    assert sees(catalogue, ANN) == set()
    rule(catalogue, ALLOW, "user:ann", folder="hr/pay")
    assert sees(catalogue, ANN) == {"hr/pay/a"}
    rule(catalogue, ALLOW, "user:ann", folder="hr")
    assert sees(catalogue, ANN) == {"hr/pay/a", "hr/b"}
    rule(catalogue, ALLOW, "*")
    assert sees(catalogue, ANN) == sees(catalogue, BOB) == {"hr/pay/a", "hr/b", "hr2/c", "d"}


def test_deny_wins_wherever_it_stands(catalogue: Catalogue) -> None:
    document = put(catalogue, 1, "hr/a", ("user:ann", "user:bob"))
    denied = rule(catalogue, DENY, "user:bob")
    rule(catalogue, ALLOW, "user:bob", of=document.id)
    assert (sees(catalogue, ANN), sees(catalogue, BOB), sees(catalogue, ADMINISTRATOR)) == ({"hr/a"}, set(), {"hr/a"})
    assert catalogue.rules.remove(denied.scope, "user:bob", DENY)
    assert sees(catalogue, BOB) == {"hr/a"}
    rule(catalogue, DENY, "*", of=document.id)
    assert sees(catalogue, ANN) == sees(catalogue, BOB) == set()
    assert not catalogue.rules.remove(denied.scope, "user:bob", DENY)


def test_only_hides_from_everyone_else_and_allows_whom_it_names(catalogue: Catalogue) -> None:
    put(catalogue, 1, "hr/a", ("*",))
    put(catalogue, 2, "hr/b")
    put(catalogue, 3, "c", ("*",))
    rule(catalogue, ONLY, "group:hr", folder="hr")
    assert sees(catalogue, BOB) == {"c"}
    catalogue.groups.add("group:hr", ["user:bob"])
    assert sees(catalogue, BOB) == {"hr/a", "hr/b", "c"}
    rule(catalogue, ONLY, "user:ann", folder="hr")
    assert sees(catalogue, ANN) == {"hr/a", "hr/b", "c"}


def test_a_content_at_another_place_neither_hides_nor_opens_this_one(catalogue: Catalogue) -> None:
    put(catalogue, 1, "open/a", ("*",))
    put(catalogue, 1, "secret/a")
    put(catalogue, 1, "secret/a", ("user:ann",), source="other")
    rule(catalogue, DENY, "user:bob", folder="secret")
    rule(catalogue, ONLY, "user:ann", folder="secret")
    assert (sees(catalogue, ANN), sees(catalogue, BOB)) == ({"open/a", "secret/a"}, {"open/a"})


def test_attachments_inherit_from_what_they_are_attached_to(catalogue: Catalogue) -> None:
    mail = put(catalogue, 1, "in/m.eml", ("*",))
    child = Child(content_hash(2), 1, Arrival("tray", "in/m.eml/a.pdf", 1.0, ("*",)))
    catalogue.jobs.commit(claim(catalogue), Outcome("parse", children=(child,), state=State.INDEXED))
    rule(catalogue, DENY, "user:bob", of=mail.id)
    assert sees(catalogue, BOB) == set()
    later = Child(content_hash(3), 1, Arrival("tray", "in/m.eml/a.pdf/b.txt", 1.0, ("*",)))
    catalogue.jobs.commit(claim(catalogue), Outcome("parse", children=(later,), next_stage=Stage.CHUNK))
    assert sees(catalogue, BOB) == set() and len(sees(catalogue, ANN)) == 3
    assert len(catalogue.documents.delete(mail.id)) == 3
    assert sees(catalogue, ANN) == set()
    with catalogue.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(document_scopes)) == 0
        assert connection.scalar(sa.select(scopes.c.id).where(scopes.c.document_id != "")) is None


def test_groups_in_groups_and_no_cycles(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a", ("group:all",))
    assert catalogue.groups.add("group:hr", ["user:ann", "user:eve"]) == 2
    assert catalogue.groups.add("group:all", ["group:hr", "user:bob"]) == 2
    assert sees(catalogue, ANN) == sees(catalogue, BOB) == {"a"}
    with pytest.raises(Refused, match="cycle"):
        catalogue.groups.add("group:hr", ["group:all"])
    with pytest.raises(Refused, match="cycle"):
        catalogue.groups.put("group:all", ["group:all"])
    assert catalogue.groups.principals(["user:ann"]) == {"user:ann", "group:hr", "group:all", "*"}
    assert catalogue.groups.remove("group:hr", ["user:ann", "user:nobody"]) == 1
    assert (sees(catalogue, ANN), sees(catalogue, BOB)) == (set(), {"a"})
    catalogue.groups.put("group:all", [])
    assert catalogue.groups.all() == {"group:hr": ("user:eve",)}
    for bad in ("", " x", "a\x00b", "x" * 201):
        with pytest.raises(Refused, match="bad-request"):
            catalogue.groups.add(bad, ["user:ann"])


def test_a_principal_comes_off_the_list_that_a_document_arrived_with(catalogue: Catalogue) -> None:
    document = put(catalogue, 1, "a", ("*", "user:ann"))
    own = Scope(document_id=document.id)
    assert [(rule.principal, rule.origin) for rule in catalogue.rules.find(own)] == [
        ("*", Origin.ARRIVAL),
        ("user:ann", Origin.ARRIVAL),
    ]
    assert catalogue.rules.remove(own, "*", ALLOW)
    assert (sees(catalogue, ANN), sees(catalogue, BOB)) == ({"a"}, set())
    with pytest.raises(Refused, match="not-found"):
        catalogue.rules.add(AccessRule(Scope(document_id="0" * 32), "user:ann", ALLOW))


def test_the_settings_rules_replace_only_each_other(catalogue: Catalogue) -> None:
    put(catalogue, 1, "hr/a", ("*",))
    rule(catalogue, DENY, "user:eve")
    scope = Scope("tray", "hr")
    catalogue.rules.replace_configured(["tray"], [AccessRule(scope, "user:bob", DENY, Origin.SETTINGS)])
    assert sees(catalogue, BOB) == set()
    with pytest.raises(Refused, match="settings"):
        catalogue.rules.remove(scope, "user:bob", DENY)
    catalogue.rules.replace_configured(["other"], [])
    assert sees(catalogue, BOB) == set()
    catalogue.rules.replace_configured(["tray"], [])
    assert sees(catalogue, BOB) == {"hr/a"}
    assert [one.principal for one in catalogue.rules.find()] == ["user:eve"]


def test_the_next_query_of_another_process_sees_the_change(url: str) -> None:
    here, there = open_catalogue(url), open_catalogue(url)
    document = finish(here, 1)
    assert there.documents.visible(BOB, Filters()) == {document.number}
    before = there.documents.visible(BOB, Filters())
    assert there.documents.visible(BOB, Filters()) is before  # nothing changed: nothing is computed
    denied = AccessRule(Scope("tray", "in"), "group:out", DENY)
    here.rules.add(denied)
    assert there.documents.visible(BOB, Filters()) == {document.number}
    here.groups.add("group:out", ["user:bob"])
    assert there.documents.visible(BOB, Filters()) == set()
    here.rules.remove(denied.scope, "group:out", DENY)
    assert there.documents.visible(BOB, Filters()) == {document.number}
    here.close(), there.close()


def test_what_changed_is_read_again_and_nothing_else_is(url: str) -> None:
    """Random changes here; there, updated sets equal those that a fresh catalogue computes."""
    here, there, fresh = open_catalogue(url), open_catalogue(url), open_catalogue(url)
    rng, documents = random.Random(7), [finish(here, n, ("user:ann",)) for n in range(1, 9)]
    rule(here, DENY, "user:bob", folder="secret")
    people = ("user:ann", "user:bob", "*")

    def again() -> None:
        path, access = rng.choice([("secret", ()), ("in", (rng.choice(people),))])
        put(here, rng.randint(1, 8), f"{path}/again", access)

    def relabelled() -> None:
        document = rng.choice(documents)
        here.jobs.retry(document.id)
        if due := here.jobs.claim(QueueName.INGEST, "tester", 60):
            label = {"label": rng.choice(["memo", "invoice"])}
            here.jobs.commit(due[0], Outcome("classify", document=label, state=State.INDEXED))

    changes = [
        again,
        again,
        relabelled,
        lambda: documents.append(finish(here, len(documents) + 1, (rng.choice(people),))),
    ]
    changes += [lambda: here.documents.delete(rng.choice(documents).id)]
    changes += [lambda: here.groups.put("group:g", [rng.choice(people[:2])])]
    questions = [
        (caller, filters) for caller in (ANN, BOB, ADMINISTRATOR) for filters in (Filters(), Filters(labels=("memo",)))
    ]
    for _ in range(15):
        for change in rng.choices(changes, [6, 6, 2, 2, 1, 1], k=rng.randint(1, 3)):
            change()
        fresh.documents._cache.clear()
        for question in rng.sample(questions, 4):  # the others fall behind by several changes
            assert there.documents.visible(*question) == fresh.documents.visible(*question), question
    here.close(), there.close(), fresh.close()


def test_a_change_that_does_not_concern_a_caller_leaves_the_same_set(url: str) -> None:
    here, there = open_catalogue(url), open_catalogue(url)
    document = finish(here, 1, ("user:bob",))
    before = there.documents.visible(BOB, Filters())
    finish(here, 2, ("user:ann",))
    assert there.documents.visible(BOB, Filters()) is before == {document.number}
    here.close(), there.close()


def test_a_change_that_names_no_documents_is_seen_too(url: str) -> None:
    """An older version that is still running elsewhere makes such a change: it only raises the counter."""
    catalogue = open_catalogue(url)
    document = finish(catalogue, 1)
    assert catalogue.documents.visible(BOB, Filters()) == {document.number}
    with catalogue.database.write() as connection:
        connection.execute(sa.delete(access_table).where(access_table.c.number == document.number))
        connection.execute(sa.update(visibility_version).values(current=visibility_version.c.current + 1))
    assert catalogue.documents.visible(BOB, Filters()) == set()
    catalogue.close()


def test_another_arrival_at_its_place_opens_a_document_from_the_next_query_on(url: str) -> None:
    here, there = open_catalogue(url), open_catalogue(url)
    document = finish(here, 1, ("user:ann",))
    assert there.documents.visible(BOB, Filters()) == set()
    put(here, 1, document.path, ("user:bob",))
    assert there.documents.visible(BOB, Filters()) == {document.number}
    here.close(), there.close()


def test_what_was_there_before_the_rules_came_stands_under_its_folders(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.db'}"
    old = open_catalogue(url)
    put(old, 1, "hr/pay/a", ("*",))
    put(old, 2, "b", ("*",))
    downgrade(old, "0004")
    old.close()
    new = open_catalogue(url)
    rule(new, DENY, "user:bob", folder="hr")
    assert sees(new, BOB) == {"b"}
    new.close()


def test_the_rule_in_sql_is_the_rule_in_python(catalogue: Catalogue) -> None:
    """Random lists, rules and groups; the specification computes the scopes of a document by itself."""
    rng = random.Random(4)
    people = [f"user:{n}" for n in range(6)]
    teams = [f"group:{n}" for n in range(4)]
    folders = ["", "a", "a/b", "a/b/c", "ab", "x"]
    places: dict[str, list[Scope]] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for number in range(1, 31):
        source, folder = rng.choice(["s", "t"]), rng.choice(folders)
        access = tuple(rng.sample([*people, *teams, "*"], rng.choice([0, 1, 1, 2])))
        document = put(catalogue, number, f"{folder}/{number}".lstrip("/"), access, source)
        places[document.id], lists[document.id] = with_ancestors(folder_scope(source, document.path)), access
    for at in range(len(teams)):
        members = rng.sample(people, 2) + rng.sample(teams[at + 1 :], min(1, len(teams) - at - 1))
        catalogue.groups.put(teams[at], members)
    rules: list[AccessRule] = []
    for _ in range(8):
        own = Scope(document_id=rng.choice(list(places)))
        scope = rng.choice([own, Scope(rng.choice("st"), rng.choice(folders))])
        rules.append(AccessRule(scope, rng.choice([*people, *teams, "*"]), rng.choice([ALLOW, ALLOW, DENY, ONLY])))
        catalogue.rules.add(rules[-1])
        groups = catalogue.groups.all()
        bearing = {}
        for document_id, above in places.items():
            own = Scope(document_id=document_id)
            bearing[document_id] = [rule for rule in rules if rule.scope in (*above, own)]
            bearing[document_id] += [AccessRule(own, principal, ALLOW) for principal in lists[document_id]]
        for document_id in rng.sample(list(places), 3):
            returned = {(rule.scope, rule.principal, rule.effect) for rule in catalogue.rules.applying_to(document_id)}
            assert returned == {(rule.scope, rule.principal, rule.effect) for rule in bearing[document_id]}
        for person in rng.sample(people, 3):
            principals = groups_of([person], groups)
            expected = {document_id for document_id, on in bearing.items() if decide(principals, on).allowed}
            documents = {document.id for document in catalogue.documents.find(Caller((person,)), Filters(), 100)[0]}
            assert documents == expected
