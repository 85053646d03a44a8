"""The audit: the same as `mailroom audit tail`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.audit import AuditPage, AuditQuery

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("", responses=responses())
def list_audit(app: App, access: KeyAccess, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """Return entries of the audit, newest first: who did what, from where, with what outcome."""
    return AuditPage.of_query(query, app.mailroom.catalogue.audit, access.caller.tenant)
