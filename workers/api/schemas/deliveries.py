"""Deliveries that wait or were given up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from workers.api.schemas.common import Moment, Response


class DeliveryItem(BaseModel):
    """A copy or a webhook of a document that has not been made or sent."""

    id: str
    document_id: str
    kind: str
    target: str = Field(description="the webhook's name, the folder's template, or the tray's source")
    state: Literal["dead", "waiting"]
    attempts: int
    created_at: Moment
    run_after: Moment
    reason: str | None = Field(description="the code of the last failure")
    detail: str | None


class DeliveryPage(Response):
    """Deliveries, oldest first."""

    items: list[DeliveryItem]

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> DeliveryPage:
        """Return the page of the catalogue's rows."""
        return cls(items=[DeliveryItem(**row) for row in rows])


class RetryCount(BaseModel):
    """How many deliveries are due again."""

    count: int
