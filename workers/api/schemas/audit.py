"""Entries of the audit, as REST and the command line show them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from workers.api.schemas.common import ISO, Moment, Request, Response, ShortText

if TYPE_CHECKING:
    from indexes.catalogue.audit_store import AuditStore

#: The fields of a query that are filters as they are.
_EQUAL = ("actor", "key_id", "action", "resource", "outcome", "request_id")


class AuditQuery(Request):
    """Which entries. Several filters must all match."""

    actor: ShortText | None = Field(None, description="user:NAME or key:ID")
    key_id: ShortText | None = None
    action: ShortText | None = Field(None, description="domain.verb, or a domain with its dot: document.")
    resource: ShortText | None = Field(None, description="kind:id", examples=["document:0198..."])
    outcome: Literal["success", "failure"] | None = None
    request_id: ShortText | None = None
    since: Annotated[AwareDatetime, ISO] | None = None
    until: Annotated[AwareDatetime, ISO] | None = Field(None, description="up to this time, itself not included")
    cursor: int | None = Field(None, ge=1, le=2**63 - 1, description="`next_cursor` of the page before")
    limit: int = Field(100, ge=1, le=1000)

    def filters(self) -> dict[str, Any]:
        """Return the filters that are set, as the store takes them."""
        texts = {name: value for name in _EQUAL if (value := getattr(self, name)) is not None}
        times = {"since": self.since, "until": self.until}
        return texts | {name: value.timestamp() for name, value in times.items() if value is not None}


class AuditItem(Response):
    """An entry. ``hash`` is the SHA-256 over the hash of the entry before and the canonical JSON of this one."""

    sequence: int
    time: Annotated[Moment, BeforeValidator(lambda milliseconds: milliseconds / 1000)]
    actor: str
    key_id: str
    action: str
    resource: str
    outcome: str
    request_id: str
    address: str
    source: str
    data: Annotated[dict[str, Any], BeforeValidator(json.loads)]
    hash: str


class AuditPage(BaseModel):
    """Entries, newest first. ``next_cursor`` leads to older ones."""

    items: list[AuditItem]
    next_cursor: int | None

    @classmethod
    def of_query(cls, query: AuditQuery, store: AuditStore, tenant: str) -> Self:
        """Return the page of the entries that a query asks for."""
        rows = store.find(tenant, query.filters(), query.cursor, query.limit + 1)
        page = rows[: query.limit]
        next_cursor = page[-1].sequence if len(rows) > query.limit else None
        return cls(items=[AuditItem.of(row) for row in page], next_cursor=next_cursor)
