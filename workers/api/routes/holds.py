"""Legal holds: the same as `mailroom hold`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.holds import HoldBody, HoldItem, HoldPage

router = APIRouter(prefix="/v1/holds", tags=["holds"])


@router.get("", responses=responses())
def list_holds(app: App, access: KeyAccess) -> HoldPage:
    """Return the legal holds, oldest first."""
    return HoldPage(items=[HoldItem.of(hold) for hold in app.mailroom.catalogue.holds.all(access.caller.tenant)])


@router.post(
    "",
    status_code=201,
    responses={200: {"model": HoldItem, "description": "There is such a hold already."}, **responses(404, 409)},
)
def add_hold(body: HoldBody, app: App, access: KeyAccess, response: Response) -> HoldItem:
    """Place a legal hold on a document, a source, or all documents that name a subject. It holds at once."""
    hold, created = app.mailroom.catalogue.holds.add(*body.parts, access.name, access.caller.tenant)
    response.status_code = 201 if created else 200
    return HoldItem.of(hold)


@router.delete("/{hold_id}", status_code=204, responses=responses(404))
def remove_hold(hold_id: str, app: App, access: KeyAccess) -> None:
    """Lift a legal hold."""
    app.mailroom.catalogue.holds.remove(hold_id, access.caller.tenant)
