"""THE authorisation rule, as SQL: what `pipeline.access.decide` says, for all documents at once. Every reader of documents takes
its condition from here; nothing else decides who sees what."""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy as sa

from indexes.catalogue.tables import access, access_rules, document_scopes, documents, group_members, scopes
from pipeline.access import EVERYONE, Effect
from pipeline.questions import Caller


@lru_cache(maxsize=256)  # making the expression takes longer than running it for one document
def readable(caller: Caller) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions on `documents`: the caller's tenant; something allows; nothing hides. An administrator's key sees all of
    the tenant."""
    tenant = documents.c.tenant == caller.tenant
    if caller.admin:
        return (tenant,)
    stands = _Stands(caller)
    listed = sa.exists().where(access.c.number == documents.c.number, stands.for_(access.c.principal))
    return tenant, listed | _under(_granting(caller, stands)), ~_under(_hiding(caller, stands))


class _Stands:
    """The principals that a caller stands for: the key's own, and the groups that hold them, however deeply. A cycle of
    groups ends, since UNION keeps nothing twice."""

    def __init__(self, caller: Caller) -> None:
        self._own = sorted({*caller.principals, EVERYONE})
        member = group_members.c
        first = sa.select(member.group.label("principal"))
        first = first.where(member.tenant == caller.tenant, member.member.in_(self._own))
        held = first.cte("held", recursive=True)
        more = sa.select(member.group).join(held, member.member == held.c.principal)
        self._groups = held.union(more.where(member.tenant == caller.tenant))

    def for_(self, principal: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        return principal.in_(self._own) | principal.in_(sa.select(self._groups.c.principal))


def _granting(caller: Caller, stands: _Stands) -> sa.CTE:
    """The scopes on which, or above which, a rule allows the caller."""
    rule = access_rules.c
    where = (rule.tenant == caller.tenant, rule.effect.in_((Effect.ALLOW, Effect.ONLY)), stands.for_(rule.principal))
    return _and_below(sa.select(rule.scope).where(*where), "granting")


def _hiding(caller: Caller, stands: _Stands) -> sa.CTE:
    """The scopes on which, or above which, a rule hides from the caller: denies, or is for others only."""
    rule, within = access_rules.c, access_rules.alias("within").c
    same = (within.scope == rule.scope, within.tenant == rule.tenant, within.effect == Effect.ONLY)
    outside = ~sa.exists().where(*same, stands.for_(within.principal)).correlate(access_rules)
    denies = (rule.effect == Effect.DENY) & stands.for_(rule.principal)
    hides = denies | ((rule.effect == Effect.ONLY) & outside)
    return _and_below(sa.select(rule.scope).where(rule.tenant == caller.tenant, hides), "hiding")


def _and_below(found: sa.Select, name: str) -> sa.CTE:
    held = found.cte(name, recursive=True)
    return held.union(sa.select(scopes.c.id).join(held, scopes.c.parent == held.c.scope))


def _under(held: sa.CTE) -> sa.ColumnElement[bool]:
    """Whether the document stands under one of these scopes."""
    link = document_scopes.c
    # "+ 0": SQLite else looks every held scope up for every document, instead of the document's few scopes among the held.
    return sa.exists().where(link.number == documents.c.number, (link.scope + 0).in_(sa.select(held.c.scope)))
