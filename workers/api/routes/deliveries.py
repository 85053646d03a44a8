"""Deliveries that were given up: the same as `mailroom deliveries`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from pipeline.documents import QueueName
from pipeline.errors import Refused
from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.deliveries import DeliveryPage, RetryCount

router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"])


@router.get("", responses=responses())
def list_deliveries(
    app: App,
    state: Annotated[Literal["dead", "all"], Query(description="those that were given up, or all that wait")] = "dead",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DeliveryPage:
    """Return deliveries that are not done, of all documents, oldest first, and why the last attempt failed."""
    return DeliveryPage.of_rows(app.mailroom.catalogue.deliveries.find(state == "dead", limit))


@router.post("/{delivery_id}/retry", responses=responses(404))
def retry_delivery(delivery_id: str, app: App, access: KeyAccess) -> RetryCount:
    """Send one delivery that was given up again, or with `all` in the place of an id every one."""
    every = delivery_id == "all"
    count = app.mailroom.catalogue.deliveries.retry(None if every else [delivery_id], access.name)
    if not count and not every:
        raise Refused("not-found", f"No delivery {delivery_id[:32]} was given up; list those that were.")
    app.notifier.notify(app.mailroom.catalogue.jobs, QueueName.DELIVER)
    return RetryCount(count=count)


@router.delete("/{delivery_id}", status_code=204, responses=responses(404))
def drop_delivery(delivery_id: str, app: App, access: KeyAccess) -> None:
    """Remove a delivery that was given up; the document's record keeps who did."""
    app.mailroom.catalogue.deliveries.drop(delivery_id, access.name)
