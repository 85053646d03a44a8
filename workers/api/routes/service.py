"""The service itself: health, metrics, jobs, the key's owner, the kinds of problems, the description of the API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline.errors import CODES, Refused
from workers.api.auth import Access, Administrator
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.documents import Health, Jobs, Me, ProblemKind
from workers.services.workload import workload

router = APIRouter(tags=["service"])


@router.get("/healthz", responses={503: responses()[503]}, openapi_extra={"security": []})
def health(app: App) -> Health:
    """Is everything there? Needs no key and tells of no document."""
    return app.health.look()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses()},
)
def metrics(app: App, _: Administrator) -> Response:
    """Figures in Prometheus' text format."""
    return Response(generate_latest(app.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/jobs", responses=responses())
def jobs(app: App, _: Administrator) -> Jobs:
    """What is waiting, what is being worked on, and what was given up. For administrators: the counts are of all."""
    return Jobs.of(workload(app.mailroom.catalogue, app.notifier))


@router.get("/v1/me", responses=responses())
def me(request: Request) -> Me:
    """What the key that is used stands for."""
    access: Access = request.scope["access"]
    caller = access.caller
    return Me(
        key_id=caller.key_id, principals=list(caller.principals), scopes=sorted(access.scopes), admin=caller.admin
    )


@router.get("/problems", openapi_extra={"security": []})
def problem_kinds() -> list[ProblemKind]:
    """Every kind of problem that an answer or a document's reason may name."""
    return [ProblemKind(code=code, title=title) for code, title in CODES.items()]


@router.get("/problems/{code}", responses={404: responses(404)[404]}, openapi_extra={"security": []})
def problem_kind(code: str) -> ProblemKind:
    """What a problem's `type` points to."""
    if code not in CODES:
        raise Refused("not-found", "There is no such kind of problem; GET /problems lists them.")
    return ProblemKind(code=code, title=CODES[code])


@router.get("/openapi.json", include_in_schema=False)
def description(request: Request) -> dict[str, Any]:
    return request.app.openapi()
