"""Who calls and what they may. ONE rule decides who reads a document: the catalogue's (`readable`), asked by `visible_one`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from pipeline.documents import Document, State
from pipeline.errors import Refused
from pipeline.questions import Caller
from workers.assemble import House

bearer = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer mr_...`")
header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key in a header of its own")


@dataclass(frozen=True, slots=True)
class Grant:
    """An authenticated caller and the scopes of the key."""

    caller: Caller
    scopes: frozenset[str]


def house_of(request: Request) -> House:
    return request.app.state.house


def grant(
    request: Request,
    token: Annotated[object | None, Depends(bearer)] = None,
    key: Annotated[str | None, Depends(header)] = None,
) -> Grant:
    """The caller, or Refused("unauthorized")."""
    secret = getattr(token, "credentials", None) or key
    found = house_of(request).catalogue.keys.check(secret) if secret else None
    if found is None:
        raise Refused(
            "unauthorized", "Give a valid API key: Authorization: Bearer KEY. `mailroom keys create` makes one."
        )
    return Grant(*found)


def needs(scope: str) -> Callable[[Grant], Caller]:
    """A dependency: the caller, if the key has the scope ("admin" has all)."""

    def check(granted: Annotated[Grant, Depends(grant)]) -> Caller:
        if scope not in granted.scopes and "admin" not in granted.scopes:
            raise Refused("forbidden", f"This key lacks the scope {scope!r}.")
        return granted.caller

    return check


def may_read(caller: Caller, document: Document) -> bool:
    """The same rule as the catalogue's `readable`, for one document at hand; a test holds the two together."""
    if document.state is State.DELETED or document.tenant != caller.tenant:
        return False
    return caller.admin or bool({*caller.principals, "*"} & set(document.access))


def readable_document(house: House, caller: Caller, document_id: str) -> Document:
    """The document, or not-found, which does not tell whether it exists."""
    document = house.catalogue.documents.get(document_id)
    if not may_read(caller, document):
        raise Refused("not-found", "There is no such document.")
    return document


Reader = Annotated[Caller, Depends(needs("read"))]
Editor = Annotated[Caller, Depends(needs("write"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
OurHouse = Annotated[House, Depends(house_of)]
Granted = Annotated[Grant, Depends(grant)]
