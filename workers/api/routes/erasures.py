"""Erasures: how far they are, and their receipts."""

from __future__ import annotations

from fastapi import APIRouter

from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.erasures import ErasureStatus

router = APIRouter(prefix="/v1/erasures", tags=["documents"])


@router.get("/{erasure_id}", responses=responses(404))
def erasure_status(erasure_id: str, app: App, access: KeyAccess) -> ErasureStatus:
    """Return an erasure that this key's owner requested; an administrator's key sees every one.

    The receipt is there once the state is `done`.
    """
    return ErasureStatus.of_erasure(app.mailroom.erasures.get(access.caller, erasure_id))
