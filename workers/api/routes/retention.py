"""Documents whose time is over: the same as `mailroom retention`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import KeyAccess
from workers.api.limits import EXPENSIVE
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.retention import RetentionConfirmation, RetentionPage, RetentionReceipt

router = APIRouter(prefix="/v1/retention", tags=["retention"])


@router.get("", dependencies=[EXPENSIVE], responses=responses())
def propose(app: App, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> RetentionPage:
    """Return documents whose time is over by the rules, in the order of their arrival."""
    return RetentionPage.of_proposals(app.mailroom.retention.due(), limit)


@router.post("/confirm", dependencies=[EXPENSIVE], responses=responses(409))
def confirm(body: RetentionConfirmation, app: App, access: KeyAccess) -> RetentionReceipt:
    """Erase documents whose time is over. If one of them is not due, nothing is erased."""
    return RetentionReceipt(erased=app.mailroom.retention.confirm(body.document_ids, access.name))
