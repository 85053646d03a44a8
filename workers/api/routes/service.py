"""The service itself: health, metrics, jobs, what a key stands for, the kinds of problems, the API's description."""

from __future__ import annotations

from typing import Any

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline.errors import CODES, Refused
from workers.api.auth import KeyAccess
from workers.api.problems import problem, responses
from workers.api.routes.common import App
from workers.api.schemas.service import HealthReport, JobCounts, KeyOwner, ProblemKind
from workers.services.workload import workload

router = APIRouter(tags=["service"])


@router.get("/healthz", openapi_extra={"security": []})
async def health(app: App) -> HealthReport:
    """Return the state of every part: 200 for as long as this process answers, also when a part does not work.

    Needs no key, and says nothing about any document.
    """
    return await anyio.to_thread.run_sync(app.health.report, limiter=app.limits.health_checks)


@router.get("/readyz", response_model=HealthReport, responses={503: responses()[503]}, openapi_extra={"security": []})
async def readiness(app: App) -> HealthReport | JSONResponse:
    """Return the state of every part, or 503 with the parts that do not work: whether to send requests here."""
    report = await anyio.to_thread.run_sync(app.health.report, limiter=app.limits.health_checks)
    if report.status == "ok":
        return report
    detail = f"{'; '.join(report.reasons)}. `mailroom doctor` shows the operator more."
    return problem("not-ready", 503, detail, "/readyz")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses()},
)
def metrics(app: App) -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(generate_latest(app.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/jobs", responses=responses())
def jobs(app: App) -> JobCounts:
    """Return what is waiting, in work, and given up. It counts all documents, also those that the key may not see."""
    return JobCounts.of(workload(app.mailroom.catalogue, app.notifier))


@router.get("/v1/me", responses=responses())
async def key_owner(access: KeyAccess) -> KeyOwner:
    """Return what the key stands for."""
    caller = access.caller
    return KeyOwner(
        key_id=caller.key_id,
        principals=list(caller.principals),
        scopes=sorted(access.scopes),
        sources=list(access.sources),
        grants=list(access.grants),
        admin=caller.admin,
        expires_at=access.expires_at,
    )


@router.get("/problems", openapi_extra={"security": []})
async def problem_kinds() -> list[ProblemKind]:
    """Return every kind of problem that a response or a document's reason may name."""
    return [ProblemKind(code=code, title=title) for code, title in CODES.items()]


@router.get("/problems/{code}", responses={404: responses(404)[404]}, openapi_extra={"security": []})
async def problem_kind(code: str) -> ProblemKind:
    """Return the kind of problem that a `type` refers to."""
    if code not in CODES:
        raise Refused("not-found", "There is no such kind of problem; GET /problems lists them.")
    return ProblemKind(code=code, title=CODES[code])


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request) -> dict[str, Any]:
    """Return the OpenAPI description."""
    return request.app.openapi()
