"""Authentication by API key, and the scopes that a route requires. Deny by default: every path but the open ones needs a
key before anything of the request is read. Every read of a document goes through `services.documents`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from starlette.types import Scope as Connection

from pipeline.errors import Refused
from pipeline.questions import Caller

if TYPE_CHECKING:
    from indexes.catalogue.keys import KeyStore

#: No key is needed here: they tell nothing of any document.
OPEN = re.compile(r"/healthz|/problems(/[a-z-]+)?")


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
