"""Erasures and their receipts."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from pipeline.erasure import Erasure
from workers.api.schemas.common import Moment, Response


class ErasureStatus(Response):
    """An erasure. Its documents are hidden from the beginning; the receipt comes when nothing else is left of them."""

    id: str
    state: str = Field(description="open (documents are being added), running or done")
    requested_at: Moment
    requested_by: str = Field(description="user:NAME, key:ID or operator:NAME")
    documents: list[str] = Field(description="ids, those of attachments included")
    receipt: dict[str, Any] | None = Field(description="signed by the installation's key; see docs/operating.md")

    @classmethod
    def of_erasure(cls, erasure: Erasure) -> Self:
        """Return the response for an erasure."""
        return cls(
            id=erasure.id,
            state=erasure.state,
            requested_at=erasure.requested_at,
            requested_by=erasure.requested_by,
            documents=[document.id for document in erasure.documents],
            receipt=dict(erasure.receipt) if erasure.receipt else None,
        )
