"""Access rules of sources, folders and documents, and groups of principals."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from indexes.catalogue import audit
from indexes.catalogue.database import Database, bump_visibility
from indexes.catalogue.scopes import ensure, find, insert_new, link_document
from indexes.catalogue.tables import access, access_rules, document_scopes, documents, group_members, scopes
from pipeline.access import EVERYONE, AccessRule, Effect, Origin, Scope, groups_of
from pipeline.audit import entry
from pipeline.documents import State
from pipeline.errors import Refused
from pipeline.printable import is_printable

#: Characters of a principal's name at most.
MAX_PRINCIPAL = 200


class RuleStore:
    """Access rules of sources, folders and documents, as `pipeline.access` evaluates them. Every change raises the
    visibility version, so that it holds from the next query on, in every process."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, rule: AccessRule, tenant: str = "default") -> bool:
        """Add a rule; return False if it exists already. Raises Refused: "not-found" for an unknown document,
        "bad-request" for an invalid principal."""
        valid_principal(rule.principal)
        with self.database.write() as connection:
            if rule.scope.document_id:
                _document_number(connection, rule.scope.document_id, tenant)
                scope = link_document(connection, rule.scope.document_id)
            else:
                scope = ensure(connection, rule.scope)
            added = _insert_rule(connection, scope, rule, tenant)
            bump_visibility(connection)
            if added:
                _audit_rule(connection, "access.add", rule.scope, rule.principal, rule.effect)
        return added

    def remove(self, scope: Scope, principal: str, effect: Effect, tenant: str = "default") -> bool:
        """Remove a rule, or a principal from the list that a document arrived with; return False if there is none.
        Raises Refused("conflict") for a rule that comes from the settings."""
        rule = access_rules.c
        with self.database.write() as connection:
            same = (
                rule.scope == find(connection, scope),
                rule.principal == principal,
                rule.effect == effect,
                rule.tenant == tenant,
            )
            count = connection.execute(sa.delete(access_rules).where(*same, rule.origin == Origin.GIVEN)).rowcount
            if scope.document_id and effect is Effect.ALLOW:
                number = _document_number(connection, scope.document_id, tenant)
                listed = (access.c.number == number, access.c.principal == principal)
                count += connection.execute(sa.delete(access).where(*listed)).rowcount
            if not count and connection.scalar(sa.select(rule.id).where(*same)):
                raise Refused("conflict", "This rule comes from the settings (tray.folders); remove it there.")
            bump_visibility(connection)
            if count:
                _audit_rule(connection, "access.remove", scope, principal, effect)
        return count > 0

    def replace_configured(
        self, sources: Collection[str], rules: Sequence[AccessRule], tenant: str = "default"
    ) -> None:
        """Replace the rules on these sources that came from the settings by ``rules``."""
        scopes_of_sources = sa.select(scopes.c.id).where(scopes.c.source.in_(sources))
        c = access_rules.c
        with self.database.write() as connection:
            stale = (c.scope.in_(scopes_of_sources), c.origin == Origin.SETTINGS, c.tenant == tenant)
            before = {_text(rule) for rule in _rules(connection, list(stale))}
            connection.execute(sa.delete(access_rules).where(*stale))
            for rule in rules:
                _insert_rule(connection, ensure(connection, rule.scope), rule, tenant)
            bump_visibility(connection)
            if before != (after := {_text(rule) for rule in rules}):
                change = {"removed": sorted(before - after), "added": sorted(after - before)}
                audit.add(connection, entry("access.configure", "settings:tray.folders", change))

    def find(self, scope: Scope | None = None, tenant: str = "default") -> list[AccessRule]:
        """Return the rules of one scope (for a document with the list that it arrived with), or without ``scope`` all
        rules but such lists. Raises Refused("not-found") for an unknown document."""
        conditions = [access_rules.c.tenant == tenant]
        with self.database.read() as connection:
            if scope is not None:
                conditions.append(access_rules.c.scope == find(connection, scope))
            rules = _rules(connection, conditions)
            if scope and scope.document_id:
                rules += _arrival_rules(connection, _document_number(connection, scope.document_id, tenant))
        return rules

    def applying_to(self, document_id: str, tenant: str = "default") -> list[AccessRule]:
        """Return every rule that bears on a document: its own, and those of the documents that it was attached to, of
        its folders and of its sources. Raises Refused("not-found")."""
        with self.database.read() as connection:
            number = _document_number(connection, document_id, tenant)
            own = sa.select(document_scopes.c.scope).where(document_scopes.c.number == number)
            above = own.cte("above", recursive=True)
            parents = sa.select(scopes.c.parent).join(above, scopes.c.id == above.c.scope)
            above = above.union(parents.where(scopes.c.parent.is_not(None)))
            conditions = [access_rules.c.tenant == tenant, access_rules.c.scope.in_(sa.select(above.c.scope))]
            return _rules(connection, conditions) + _arrival_rules(connection, number)


class GroupStore:
    """Groups of principals. A group may have groups as members, but not in a cycle."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self, tenant: str = "default") -> dict[str, tuple[str, ...]]:
        """Return the members of every group by its name; a group without members does not exist."""
        with self.database.read() as connection:
            return _groups(connection, tenant)

    def add(self, group: str, members: Collection[str], tenant: str = "default") -> int:
        """Add members and return how many are new. Raises Refused: "conflict" for a cycle, "bad-request" for an invalid
        name."""
        rows = _member_rows(group, members, tenant)
        with self.database.write() as connection:
            _lock(connection)
            groups = _groups(connection, tenant)
            _refuse_cycle(groups, group, members)
            new = [row for row in rows if row["member"] not in groups.get(group, ())]
            if new:
                connection.execute(sa.insert(group_members), new)
                audit.add(connection, entry("group.add", group, {"members": [row["member"] for row in new]}))
        return len(new)

    def remove(self, group: str, members: Collection[str], tenant: str = "default") -> int:
        """Remove members and return how many of them were in the group."""
        c = group_members.c
        conditions = (c.tenant == tenant, c.group == group, c.member.in_(sorted(members)))
        with self.database.write() as connection:
            count = connection.execute(sa.delete(group_members).where(*conditions)).rowcount
            bump_visibility(connection)
            if count:
                audit.add(connection, entry("group.remove", group, {"members": sorted(members)}))
        return count

    def put(self, group: str, members: Collection[str], tenant: str = "default") -> None:
        """Replace the members of a group. Raises Refused as `add` does."""
        c = group_members.c
        rows = _member_rows(group, members, tenant)
        with self.database.write() as connection:
            _lock(connection)
            others = {name: names for name, names in _groups(connection, tenant).items() if name != group}
            _refuse_cycle(others, group, members)
            connection.execute(sa.delete(group_members).where(c.tenant == tenant, c.group == group))
            if rows:
                connection.execute(sa.insert(group_members), rows)
            audit.add(connection, entry("group.replace", group, {"members": sorted(set(members))}))

    def principals(self, own: Collection[str], tenant: str = "default") -> frozenset[str]:
        """Return all principals that a key with the principals ``own`` stands for: these, the groups that contain one
        of them, however deeply nested, and "*"."""
        return groups_of(own, self.all(tenant))


def valid_principal(principal: str) -> str:
    """Return the principal. Raises Refused("bad-request") if it is not a valid one."""
    if len(principal) > MAX_PRINCIPAL or not is_printable(principal):
        name = f"{principal[:40]!r}"
        text = f"{name} is not a valid principal: use 1 to {MAX_PRINCIPAL} printable characters, such as user:ann."
        raise Refused("bad-request", text)
    return principal


def _audit_rule(connection: sa.Connection, action: str, scope: Scope, principal: str, effect: Effect) -> None:
    resource = f"document:{scope.document_id}" if scope.document_id else f"folder:{scope.source}/{scope.folder}"
    audit.add(connection, entry(action, resource, {"principal": principal, "effect": effect}))


def _text(rule: AccessRule) -> str:
    return f"{rule.effect} {rule.principal} on {rule.scope.source}/{rule.scope.folder}"


def _lock(connection: sa.Connection) -> None:
    """Let one change of groups happen at a time, so that two together make no cycle; all wait for the version's row."""
    bump_visibility(connection)


def _member_rows(group: str, members: Collection[str], tenant: str) -> list[dict[str, str]]:
    if valid_principal(group) == EVERYONE:
        raise Refused("contradictory", "* is everyone and cannot be a group; name the group, such as group:hr.")
    return [{"tenant": tenant, "group": group, "member": valid_principal(member)} for member in sorted(set(members))]


def _refuse_cycle(groups: Mapping[str, Collection[str]], group: str, members: Collection[str]) -> None:
    containing = groups_of([group], groups) - {EVERYONE}
    for member in sorted(set(members) & containing):
        which = "itself" if member == group else f"{member}, which contains {group} already"
        raise Refused("conflict", f"{group} cannot contain {which}: groups must not form a cycle.")


def _groups(connection: sa.Connection, tenant: str) -> dict[str, tuple[str, ...]]:
    c = group_members.c
    members: dict[str, list[str]] = {}
    query = sa.select(c.group, c.member).where(c.tenant == tenant).order_by(c.group, c.member)
    for group, member in connection.execute(query):
        members.setdefault(group, []).append(member)
    return {group: tuple(names) for group, names in members.items()}


def _document_number(connection: sa.Connection, document_id: str, tenant: str) -> int:
    """Return the document's number. Raises Refused("not-found") for an unknown or deleted one."""
    conditions = (documents.c.id == document_id, documents.c.tenant == tenant, documents.c.state != State.DELETED)
    number: int | None = connection.scalar(sa.select(documents.c.number).where(*conditions))
    if number is None:
        raise Refused("not-found", f"There is no document {document_id}.")
    return number


def _insert_rule(connection: sa.Connection, scope: int, rule: AccessRule, tenant: str) -> bool:
    """Insert a rule; return False if it exists already."""
    statement = insert_new(connection, access_rules).values(
        tenant=tenant,
        scope=scope,
        principal=rule.principal,
        effect=rule.effect,
        origin=rule.origin,
        by=rule.by,
        at=rule.at or time.time(),
    )
    return connection.scalar(statement.returning(access_rules.c.id)) is not None


def _rules(connection: sa.Connection, conditions: Sequence[sa.ColumnElement[bool]]) -> list[AccessRule]:
    """Return rules sorted by scope, the sources first."""
    columns = sa.select(access_rules, scopes.c.source, scopes.c.folder, scopes.c.document_id)
    query = columns.join(scopes, scopes.c.id == access_rules.c.scope).where(*conditions)
    order = (scopes.c.document_id, scopes.c.source, scopes.c.folder, access_rules.c.id)
    return [
        AccessRule(
            Scope(row.source, row.folder, row.document_id),
            row.principal,
            Effect(row.effect),
            Origin(row.origin),
            row.by,
            row.at,
        )
        for row in connection.execute(query.order_by(*order))
    ]


def _arrival_rules(connection: sa.Connection, number: int) -> list[AccessRule]:
    """Return the access list that a document arrived with, as rules."""
    columns = sa.select(documents.c.id, documents.c.received_at, access.c.principal)
    query = columns.join(access, access.c.number == documents.c.number).where(documents.c.number == number)
    return [
        AccessRule(Scope(document_id=row.id), row.principal, Effect.ALLOW, Origin.ARRIVAL, "", row.received_at)
        for row in connection.execute(query.order_by(access.c.principal))
    ]
