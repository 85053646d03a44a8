"""Authentication by API key, and the scope that each route needs. Deny by default: every path but the open ones needs
a key before anything of the request is read, and a route without a line in `ROUTES` answers nobody. Every read of a
document goes through `services.documents`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from starlette.types import Scope as Connection

from pipeline.errors import Refused
from pipeline.rights import Access
from workers.api.connections import network_of
from workers.api.key_use import KeyUse
from workers.api.wrong_keys import WrongKeys

if TYPE_CHECKING:
    from indexes.catalogue.keys import KeyStore

#: Paths that need no key: they say nothing about any document.
OPEN = re.compile(r"/healthz|/readyz|/problems(/[^/]*)?")
#: Any valid key, whatever its scopes.
ANY_KEY = "any"
#: method and route -> the scope that it needs. Every route that is not open stands here once.
ROUTES: Mapping[str, str] = {
    "POST /v1/documents": "upload",
    "GET /v1/documents": "read",
    "GET /v1/documents/{document_id}": "read",
    "GET /v1/documents/{document_id}/content": "read",
    "GET /v1/documents/{document_id}/text": "read",
    "GET /v1/documents/{document_id}/record": "read",
    "GET /v1/documents/{document_id}/why": "read",
    "GET /v1/documents/{document_id}/similar": "read",
    "POST /v1/documents/{document_id}/approve": "review",
    "POST /v1/documents/{document_id}/retry": "review",
    "DELETE /v1/documents/{document_id}": "delete",
    "GET /v1/erasures/{erasure_id}": "delete",
    "GET /v1/search": "read",
    "POST /v1/search": "read",
    "POST /v1/ask": "read",
    "GET /v1/suggest": "read",
    "GET /v1/queries": "read",
    "POST /v1/queries": "read",
    "GET /v1/queries/{query_id}/results": "read",
    "DELETE /v1/queries/{query_id}": "read",
    "POST /v1/feedback": "read",
    "GET /v1/feedback": "train",
    "GET /v1/taxonomy": "read",
    "POST /v1/taxonomy": "taxonomy",
    "POST /v1/taxonomy/undo": "taxonomy",
    "GET /v1/access": "access",
    "POST /v1/access": "access",
    "DELETE /v1/access": "access",
    "GET /v1/access/explain": "access",
    "GET /v1/groups": "access",
    "POST /v1/groups": "access",
    "DELETE /v1/groups": "access",
    "GET /v1/keys": "admin",
    "POST /v1/keys": "admin",
    "POST /v1/keys/{key_id}/rotate": "admin",
    "DELETE /v1/keys/{key_id}": "admin",
    "GET /v1/audit": "audit",
    "GET /v1/retention": "admin",
    "POST /v1/retention/confirm": "admin",
    "GET /v1/holds": "admin",
    "POST /v1/holds": "admin",
    "DELETE /v1/holds/{hold_id}": "admin",
    "GET /v1/deliveries": "admin",
    "POST /v1/deliveries/{delivery_id}/retry": "admin",
    "DELETE /v1/deliveries/{delivery_id}": "admin",
    "GET /metrics": "metrics",
    "GET /v1/jobs": "metrics",
    "GET /v1/me": ANY_KEY,
    "GET /openapi.json": ANY_KEY,
}


class Authenticator:
    """Checks the keys of requests. May be called by several threads at once."""

    def __init__(self, keys: KeyStore, use: KeyUse, wrong_keys: WrongKeys) -> None:
        self._keys, self._use, self._wrong_keys = keys, use, wrong_keys

    def authenticate(self, scope: Connection) -> Access:
        """Return the access that the request's key gives.

        Raises Refused("unauthorized"), and Refused("too-many-requests") for an address with many wrong keys.
        """
        refusal = Refused("unauthorized", "Send a valid API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
        if not (secret := secret_of(scope)):
            raise refusal
        address = network_of(scope["client"][0]) if scope.get("client") else ""
        self._wrong_keys.check(address, secret)
        access = self._keys.check(secret) if len(secret) <= 200 and secret.isascii() else None
        self._wrong_keys.count(address, secret, access is not None)
        if access is None:
            raise refusal
        self._use.record(access.caller.key_id)
        return access


def secret_of(scope: Connection) -> str:
    """Return the key that a request carries, empty if there is none."""
    headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")}
    kind, _, bearer = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        return bearer.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1")


async def check_scope(request: Request) -> None:
    """Raise Refused("forbidden") for a key without the scope that the route needs. Runs before every route."""
    if OPEN.fullmatch(request.scope["path"]):
        return
    scope = ROUTES.get(f"{request.method} {request.scope['route'].path}")
    if scope != ANY_KEY and scope not in request.scope["access"].scopes:
        raise Refused("forbidden", f"This key does not have the scope {scope!r}; ask the operator for one that has.")


async def key_access(request: Request) -> Access:
    """Return the access that the request's key gives."""
    access: Access = request.scope["access"]
    return access


#: The access of a request's key, for a route. Whether the key has the route's scope is checked before.
KeyAccess = Annotated[Access, Depends(key_access)]
