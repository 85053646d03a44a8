"""Who is asking, and what they may see. Deny by default: every path but the open ones needs a key before anything of
the request is read, and every read of a document goes through `readable`, whose rule is the catalogue's as in search."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from starlette.types import Scope as Connection

from pipeline.access import Effect, Origin, Scope, folder_scope, with_ancestors
from pipeline.documents import Arrival, Document
from pipeline.errors import Refused
from pipeline.questions import Caller

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.catalogue.keys import KeyStore

#: No key is needed here: they tell nothing of any document.
OPEN = re.compile(r"/healthz|/problems(/[a-z-]+)?")
_DOCUMENT_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Access:
    """A checked key: the caller it stands for and what it may do."""

    caller: Caller
    scopes: frozenset[str]


def authenticate(scope: Connection, keys: KeyStore) -> Access:
    """The access that the request's key gives. Raises Refused("unauthorized")."""
    headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")}
    secret = headers.get(b"x-api-key", b"").decode("latin-1")
    kind, _, bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        secret = bearer.strip()
    found = keys.check(secret) if 0 < len(secret) <= 200 and secret.isascii() else None
    if found is None:
        raise Refused("unauthorized", "Send a valid API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
    return Access(*found)


def require(scope: str) -> Callable[[Request], Access]:
    """A dependency: the checked access, if its key has the scope."""

    def check(request: Request) -> Access:
        access: Access = request.scope["access"]
        if scope not in access.scopes:
            raise Refused(
                "forbidden", f"This key does not have the scope {scope!r}; ask the operator for one that has."
            )
        return access

    return check


Reader = Annotated[Access, Depends(require("read"))]
Uploader = Annotated[Access, Depends(require("write"))]
Administrator = Annotated[Access, Depends(require("admin"))]


def _granting_administrator(access: Administrator) -> Access:
    if not access.caller.admin:
        detail = "Rules of access and groups are for administrators' keys; `mailroom keys create --admin` makes one."
        raise Refused("forbidden", detail)
    return access


#: Granting rights needs an administrator key; otherwise a key with only the `admin` scope could grant itself read access.
GrantingAdministrator = Annotated[Access, Depends(_granting_administrator)]


def readable(catalogue: Catalogue, caller: Caller, document_id: str) -> Document:
    """The document; Refused("not-found") alike for what is not there and for what is not the caller's to see."""
    missing = Refused("not-found", "There is no such document, or this key may not see it.")
    if not _DOCUMENT_ID.fullmatch(document_id):
        raise missing
    try:
        return catalogue.documents.read(caller, document_id)
    except Refused:
        raise missing from None


def seen(catalogue: Catalogue, caller: Caller, document_id: str, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Those arrivals that were for the caller: one that was for others is not told, though its content is shared."""
    if caller.admin:
        return list(arrivals)
    held = catalogue.groups.principals(caller.principals, caller.tenant)
    allowing = {
        rule.scope
        for rule in catalogue.rules.applying_to(document_id, caller.tenant)
        if rule.effect is not Effect.DENY and rule.origin is not Origin.ARRIVAL and rule.principal in held
    }
    own = Scope(document_id=document_id)
    return [
        a for a in arrivals if held & {*a.access} or allowing & {own, *with_ancestors(folder_scope(a.source, a.path))}
    ]
