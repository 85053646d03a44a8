"""What the routes share: the parts of the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import anyio
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from workers.api.health import HealthMonitor
from workers.api.limits import Limits
from workers.api.metrics import Requests
from workers.assemble import Mailroom
from workers.queue.notify import Notifier
from workers.services.audit_log import AuditLog

#: Concurrent uploads; each occupies a thread while its bytes arrive, and no other route waits for them.
UPLOADS = 16


@dataclass(slots=True)
class AppState:
    """The parts of one application."""

    mailroom: Mailroom
    notifier: Notifier
    registry: CollectorRegistry
    requests: Requests
    health: HealthMonitor
    limits: Limits
    audit_log: AuditLog
    uploads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(UPLOADS))


async def app_state(request: Request) -> AppState:
    """Return the parts of the application that the request came to. Like every dependency it waits for no thread."""
    state: AppState = request.app.state.app_state
    return state


App = Annotated[AppState, Depends(app_state)]
