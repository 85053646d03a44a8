"""THE authorisation rule, as SQL: what `pipeline.access.decide` decides for one document, for all documents at once.
Every query on documents for a caller takes its condition from here; nothing else decides who may see what."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.tables import access, access_rules, document_scopes, documents, group_members, scopes
from pipeline.access import EVERYONE, Effect
from pipeline.questions import Caller


@lru_cache(maxsize=256)  # building the expression takes longer than running it for one document
def readable(caller: Caller) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions on `documents` under which the caller may read one: it is of the caller's tenant, something
    allows it, and nothing hides it. An administrator's key may read all documents of the tenant."""
    in_tenant = documents.c.tenant == caller.tenant
    if caller.admin:
        return (in_tenant,)
    principals = _Principals(caller)
    listed = sa.exists().where(access.c.number == documents.c.number, principals.include(access.c.principal))
    c = access_rules.c
    allows = (c.tenant == caller.tenant, c.effect.in_((Effect.ALLOW, Effect.ONLY)), principals.include(c.principal))
    allowing = _with_descendants(sa.select(c.scope).where(*allows), "allowing")
    return in_tenant, listed | _under(allowing), ~_under(_hiding(caller, principals))


class _Principals:
    """The principals that a caller stands for: the key's own, and the groups that contain them, however deeply nested.
    A cycle of groups ends, since UNION keeps nothing twice."""

    def __init__(self, caller: Caller) -> None:
        self._own = sorted({*caller.principals, EVERYONE})
        c = group_members.c
        direct = sa.select(c.group.label("principal")).where(c.tenant == caller.tenant, c.member.in_(self._own))
        groups = direct.cte("groups_of_caller", recursive=True)
        nested = sa.select(c.group).join(groups, c.member == groups.c.principal)
        self._groups = groups.union(nested.where(c.tenant == caller.tenant))

    def include(self, principal: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """Return the condition that ``principal`` is one of them."""
        return principal.in_(self._own) | principal.in_(sa.select(self._groups.c.principal))


def _hiding(caller: Caller, principals: _Principals) -> sa.CTE:
    """Return the scopes on which, or above which, a rule hides from the caller: denies it, or is only for others."""
    c, within = access_rules.c, access_rules.alias("within").c
    same = (within.scope == c.scope, within.tenant == c.tenant, within.effect == Effect.ONLY)
    outside = ~sa.exists().where(*same, principals.include(within.principal)).correlate(access_rules)
    denies = (c.effect == Effect.DENY) & principals.include(c.principal)
    hides = denies | ((c.effect == Effect.ONLY) & outside)
    return _with_descendants(sa.select(c.scope).where(c.tenant == caller.tenant, hides), "hiding")


def _with_descendants(query: sa.Select[Any], name: str) -> sa.CTE:
    matches = query.cte(name, recursive=True)
    return matches.union(sa.select(scopes.c.id).join(matches, scopes.c.parent == matches.c.scope))


def _under(matches: sa.CTE) -> sa.ColumnElement[bool]:
    """Return the condition that a document is linked to one of these scopes."""
    link = document_scopes.c
    # "+ 0": otherwise SQLite looks every scope of the CTE up for every document, instead of the document's few scopes
    # in the CTE.
    listed = (link.scope + 0).in_(sa.select(matches.c.scope))
    return sa.exists().where(link.number == documents.c.number, listed)
