"""The service itself: problems, health, jobs, and what a key stands for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from workers.api.schemas.common import Moment, Response


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    detail: str


class Problem(BaseModel):
    """RFC 9457. ``code`` is the last segment of ``type`` and never changes."""

    type: str = Field(examples=["/problems/not-found"])
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] | None = None


class ProblemKind(BaseModel):
    """A code and what it means."""

    code: str
    title: str


class QueueBacklog(BaseModel):
    """How many jobs of a queue, stage and state there are, and since when the oldest one is due."""

    queue: str
    stage: str
    state: str
    count: int
    oldest: Moment


class JobCounts(Response):
    """What is waiting, in work, and given up."""

    documents: dict[str, int] = Field(description="documents by state")
    jobs: list[QueueBacklog]
    broker: dict[str, int] | None = Field(description="wake-ups waiting in each queue; null where the broker is down")


class RoleHealth(BaseModel):
    """A role: "ok", "silent" (it gave no sign of life and did not end), or "absent"."""

    state: Literal["ok", "silent", "absent"]
    processes: int
    last_sign_seconds: float | None = Field(description="seconds since the last sign of life; null without one")


class HealthReport(BaseModel):
    """``status`` is "degraded" where a part does not work. It says nothing about any document."""

    status: Literal["ok", "degraded"]
    version: str
    generation: str
    index: Literal["ok", "stale", "behind", "damaged", "read-only", "full"] = Field(
        description="`mailroom index status` says more, and what to do"
    )
    catalogue: Literal["ok", "unavailable"]
    broker: Literal["ok", "unavailable"]
    search: Literal["ok", "opening", "unavailable"]
    sandbox: Literal["strong", "medium", "weak", "unknown"] = Field(description="how well the parser is confined")
    roles: dict[str, RoleHealth]
    reasons: list[str] = Field(description="why it is degraded, in words")
    warnings: list[str] = Field(description="what an operator should see to, but stops nothing yet")


class KeyOwner(BaseModel):
    """What a key stands for."""

    key_id: str
    principals: list[str]
    scopes: list[str]
    sources: list[str] = Field(description="the sources, or SOURCE/FOLDER, that it may write to; * is any")
    grants: list[str] = Field(description="the principals that it may name beside its own")
    admin: bool
    expires_at: Moment | None
