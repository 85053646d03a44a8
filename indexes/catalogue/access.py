"""The ports Rules and Groups over SQL: access lists of sources, folders and documents; who is in which group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.scopes import ensure, find, insert_new, link_document
from indexes.catalogue.tables import access, access_rules, document_scopes, documents, group_members, scopes
from pipeline.access import EVERYONE, Effect, Origin, Rule, Scope, groups_of
from pipeline.documents import State
from pipeline.errors import Refused

#: Characters of a principal's name.
LONGEST = 200


class RuleStore:
    """Access rules of sources, folders and documents, as `pipeline.access` evaluates them. A change holds from the next query
    on, in every process."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, rule: Rule, tenant: str = "default") -> bool:
        """False where it was there already. Refused("not-found") for an unknown document, Refused("bad-request") for a
        principal that cannot be one."""
        checked(rule.principal)
        with self.database.write() as connection:
            if rule.scope.document_id:
                _existing(connection, rule.scope.document_id, tenant)
                scope = link_document(connection, rule.scope.document_id)
            else:
                scope = ensure(connection, rule.scope)
            made = self._insert(connection, scope, rule, tenant)
            self.database.bump_visibility(connection)
        return made

    def remove(self, scope: Scope, principal: str, effect: Effect, tenant: str = "default") -> bool:
        """Take a rule away, or a principal from the list that a document arrived with; False where there is none.
        Refused("conflict") for one that the settings make."""
        rule = access_rules.c
        with self.database.write() as connection:
            number = find(connection, scope)
            same = (rule.scope == number, rule.principal == principal, rule.effect == effect, rule.tenant == tenant)
            gone = connection.execute(sa.delete(access_rules).where(*same, rule.origin == Origin.GIVEN)).rowcount
            if scope.document_id and effect is Effect.ALLOW:
                gone += self._unlist(connection, scope.document_id, principal, tenant)
            if not gone and connection.scalar(sa.select(rule.id).where(*same)):
                raise Refused("conflict", "This rule comes from the settings (tray.folders); take it out there.")
            self.database.bump_visibility(connection)
        return gone > 0

    def replace_configured(self, sources: Collection[str], rules: Sequence[Rule], tenant: str = "default") -> None:
        """The settings' rules for these sources, in place of those that they made before."""
        ours = sa.select(scopes.c.id).where(scopes.c.source.in_(sources))
        rule = access_rules.c
        with self.database.write() as connection:
            stale = (rule.scope.in_(ours), rule.origin == Origin.SETTINGS, rule.tenant == tenant)
            connection.execute(sa.delete(access_rules).where(*stale))
            for each in rules:
                self._insert(connection, ensure(connection, each.scope), each, tenant)
            self.database.bump_visibility(connection)

    def find(self, scope: Scope | None = None, tenant: str = "default") -> list[Rule]:
        """Those of one scope (for a document with the list that it arrived with), or all but such lists."""
        where = [access_rules.c.tenant == tenant]
        with self.database.read() as connection:
            if scope is not None:
                where.append(access_rules.c.scope == find(connection, scope))
            found = _rules(connection, where)
            if scope and scope.document_id:
                found += _listed(connection, _existing(connection, scope.document_id, tenant))
        return found

    def applying_to(self, document_id: str, tenant: str = "default") -> list[Rule]:
        """Every rule that bears on a document: its own, those of what it was attached to, of its folders and sources."""
        with self.database.read() as connection:
            number = _existing(connection, document_id, tenant)
            held = sa.select(document_scopes.c.scope).where(document_scopes.c.number == number)
            above = held.cte("above", recursive=True)
            step = sa.select(scopes.c.parent).join(above, scopes.c.id == above.c.scope)
            above = above.union(step.where(scopes.c.parent.is_not(None)))
            where = [access_rules.c.tenant == tenant, access_rules.c.scope.in_(sa.select(above.c.scope))]
            return _rules(connection, where) + _listed(connection, number)

    def _insert(self, connection: sa.Connection, scope: int, rule: Rule, tenant: str) -> bool:
        values = {"tenant": tenant, "scope": scope, "principal": rule.principal, "effect": rule.effect}
        more = {"origin": rule.origin, "by": rule.by, "at": rule.at or time.time()}
        new = insert_new(connection, access_rules).values(**values, **more).returning(access_rules.c.id)
        return connection.scalar(new) is not None

    def _unlist(self, connection: sa.Connection, document_id: str, principal: str, tenant: str) -> int:
        """Off the list that the document arrived with."""
        number = _existing(connection, document_id, tenant)
        same = (access.c.number == number, access.c.principal == principal)
        return connection.execute(sa.delete(access).where(*same)).rowcount


class GroupStore:
    """Principals that stand together under a name. Groups may hold groups, but not in a circle: Refused("conflict")."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self, tenant: str = "default") -> dict[str, tuple[str, ...]]:
        """Members by name; a group without members is none."""
        with self.database.read() as connection:
            return _groups(connection, tenant)

    def add(self, group: str, members: Collection[str], tenant: str = "default") -> int:
        """Add members; return how many are new."""
        _check_group(group)
        rows = [{"tenant": tenant, "group": group, "member": checked(each)} for each in sorted(set(members))]
        with self.database.write() as connection:
            self._lock(connection)
            groups = _groups(connection, tenant)
            _refuse_cycle(groups, group, members)
            new = [row for row in rows if row["member"] not in groups.get(group, ())]
            if new:
                connection.execute(sa.insert(group_members), new)
        return len(new)

    def remove(self, group: str, members: Collection[str], tenant: str = "default") -> int:
        """How many were in it."""
        c = group_members.c
        where = (c.tenant == tenant, c.group == group, c.member.in_(sorted(members)))
        with self.database.write() as connection:
            gone = connection.execute(sa.delete(group_members).where(*where)).rowcount
            self.database.bump_visibility(connection)
        return gone

    def put(self, group: str, members: Collection[str], tenant: str = "default") -> None:
        """These members and no others."""
        _check_group(group)
        c = group_members.c
        rows = [{"tenant": tenant, "group": group, "member": checked(each)} for each in sorted(set(members))]
        with self.database.write() as connection:
            self._lock(connection)
            others = {name: held for name, held in _groups(connection, tenant).items() if name != group}
            _refuse_cycle(others, group, members)
            connection.execute(sa.delete(group_members).where(c.tenant == tenant, c.group == group))
            if rows:
                connection.execute(sa.insert(group_members), rows)

    def principals(self, own: Collection[str], tenant: str = "default") -> frozenset[str]:
        """All that a key of these principals stands for: with the groups, however deeply, and "*"."""
        return groups_of(own, self.all(tenant))

    def _lock(self, connection: sa.Connection) -> None:
        """One change at a time, so that two together make no cycle; it is the counter's row that everyone waits for."""
        self.database.bump_visibility(connection)


def checked(principal: str) -> str:
    """The principal; Refused("bad-request") where it cannot be one."""
    if not 0 < len(principal) <= LONGEST or principal != principal.strip() or not principal.isprintable():
        text = f"{principal[:40]!r} is no principal: give up to {LONGEST} printable characters, such as user:ann."
        raise Refused("bad-request", text)
    return principal


def _check_group(group: str) -> None:
    if checked(group) == EVERYONE:
        raise Refused("bad-request", "* is everyone and cannot be a group; name the group, such as group:hr.")


def _refuse_cycle(groups: Mapping[str, Collection[str]], group: str, members: Collection[str]) -> None:
    above = groups_of([group], groups) - {EVERYONE}
    for member in sorted(set(members) & above):
        how = "itself" if member == group else f"{member}, which it is in already"
        raise Refused("conflict", f"{group} cannot contain {how}: groups must not go round in a circle.")


def _groups(connection: sa.Connection, tenant: str) -> dict[str, tuple[str, ...]]:
    c, found = group_members.c, {}
    query = sa.select(c.group, c.member).where(c.tenant == tenant).order_by(c.group, c.member)
    for group, member in connection.execute(query):
        found.setdefault(group, []).append(member)
    return {group: tuple(members) for group, members in found.items()}


def _existing(connection: sa.Connection, document_id: str, tenant: str) -> int:
    """The document's number; Refused("not-found") for one that is not there."""
    where = (documents.c.id == document_id, documents.c.tenant == tenant, documents.c.state != State.DELETED)
    number = connection.scalar(sa.select(documents.c.number).where(*where))
    if number is None:
        raise Refused("not-found", f"There is no document {document_id}.")
    return number


def _rules(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]]) -> list[Rule]:
    """Sorted by scope, the sources first."""
    joined = sa.select(access_rules, scopes.c.source, scopes.c.folder, scopes.c.document_id)
    query = joined.join(scopes, scopes.c.id == access_rules.c.scope).where(*where)
    order = (scopes.c.document_id, scopes.c.source, scopes.c.folder, access_rules.c.id)
    return [_rule(row) for row in connection.execute(query.order_by(*order))]


def _rule(row: sa.Row) -> Rule:
    scope = Scope(row.source, row.folder, row.document_id)
    return Rule(scope, row.principal, Effect(row.effect), Origin(row.origin), row.by, row.at)


def _listed(connection: sa.Connection, number: int) -> list[Rule]:
    """What the document arrived with, as rules."""
    query = sa.select(documents.c.id, documents.c.received_at, access.c.principal)
    joined = query.join(access, access.c.number == documents.c.number).where(documents.c.number == number)
    return [
        Rule(Scope(document_id=row.id), row.principal, Effect.ALLOW, Origin.ARRIVAL, "", row.received_at)
        for row in connection.execute(joined.order_by(access.c.principal))
    ]
