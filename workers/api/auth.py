"""Authentication by API key, and the scopes that a route requires. Deny by default: every path but the open ones needs
a key before anything of the request is read. Every read of a document goes through `services.documents`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from starlette.types import Scope as Connection

from pipeline.errors import Refused
from pipeline.questions import Caller

if TYPE_CHECKING:
    from indexes.catalogue.keys import KeyStore

#: Paths that need no key: they say nothing about any document.
OPEN = re.compile(r"/healthz|/readyz|/problems(/[a-z-]+)?")


@dataclass(frozen=True, slots=True)
class Access:
    """A valid key: the caller that it stands for, and its scopes."""

    caller: Caller
    scopes: frozenset[str]


def authenticate(scope: Connection, keys: KeyStore) -> Access:
    """Return the access that the request's key gives. Raises Refused("unauthorized")."""
    headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")}
    secret = headers.get(b"x-api-key", b"").decode("latin-1")
    kind, _, bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        secret = bearer.strip()
    owner = keys.check(secret) if 0 < len(secret) <= 200 and secret.isascii() else None
    if owner is None:
        raise Refused("unauthorized", "Send a valid API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
    return Access(*owner)


def require(scope: str) -> Callable[[Request], Awaitable[Access]]:
    """Return a dependency that gives the request's access, and raises Refused("forbidden") without the scope."""

    async def check(request: Request) -> Access:
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


async def require_granting(access: Administrator) -> Access:
    """Return the request's access. Raises Refused("forbidden") for a key that is not an administrator's."""
    if not access.caller.admin:
        detail = "Access rules and groups need an administrator's key; `mailroom keys create NAME --admin` makes one."
        raise Refused("forbidden", detail)
    return access


#: Granting rights needs an administrator's key; otherwise a key with only the scope `admin` could grant itself the
#: right to read.
GrantingAdministrator = Annotated[Access, Depends(require_granting)]
