"""Documents whose time is over, as REST and the command line show and confirm them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Self

from pydantic import AliasPath, BaseModel, Field

from pipeline.retention import Proposal
from workers.api.schemas.common import DocumentId, Moment, Request, Response


class RetentionItem(Response):
    """A document whose time is over, and the rule that says so. ``then``: whether a person (review) or the rule (erase)
    confirms its erasure."""

    document_id: str = Field(validation_alias=AliasPath("document", "id"))
    name: str = Field(validation_alias=AliasPath("document", "name"))
    label: str | None = Field(validation_alias=AliasPath("document", "label"))
    source: str = Field(validation_alias=AliasPath("document", "source"))
    received_at: Moment = Field(validation_alias=AliasPath("document", "received_at"))
    rule: str
    due: datetime.date
    then: str


class RetentionPage(BaseModel):
    """Documents whose time is over, in the order of their arrival. ``has_more``: there are more than ``limit``."""

    items: list[RetentionItem]
    has_more: bool

    @classmethod
    def of_proposals(cls, proposals: Iterable[Proposal], limit: int) -> Self:
        """Return the first ``limit`` of the proposals."""
        first = list(islice(proposals, limit + 1))
        return cls(items=[RetentionItem.of(proposed) for proposed in first[:limit]], has_more=len(first) > limit)


class RetentionConfirmation(Request):
    """The documents to erase, all of whose time must be over."""

    document_ids: Annotated[list[DocumentId], Field(min_length=1, max_length=1000)]


class RetentionReceipt(BaseModel):
    """How many documents are being erased."""

    erased: int
