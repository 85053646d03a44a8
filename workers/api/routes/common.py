"""What the routes share: the parts of the application that they are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import anyio
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from workers.api.health import Health
from workers.api.metrics import Requests
from workers.assemble import Mailroom
from workers.queue.notify import Notifier

#: Uploads at once; each holds a thread while its bytes arrive, and no other route waits for them.
UPLOADS = 16


@dataclass(slots=True)
class AppState:
    """What one application works with."""

    mailroom: Mailroom
    notifier: Notifier
    registry: CollectorRegistry
    requests: Requests
    health: Health
    uploads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(UPLOADS))


def app_state(request: Request) -> AppState:
    return request.app.state.app_state


App = Annotated[AppState, Depends(app_state)]
