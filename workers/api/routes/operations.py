"""Health, jobs, metrics, the key's own rights, and what each problem code means."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.errors import CODES, MailroomError, Refused
from workers.api import metrics, schemas
from workers.api.auth import Admin, Granted, OurHouse, Reader
from workers.api.problems import RESPONSES
from workers.assemble import House

open_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"], responses=RESPONSES)


@open_router.get("/healthz", response_model=schemas.Health, summary="Is it up?")
def healthz(house: OurHouse, response: Response) -> schemas.Health:
    """Needs no key and tells no data. 503 when documents cannot be found; a broker that is down only degrades."""
    parts = {"catalogue": _catalogue(house), "broker": _broker(house), "index": _index(house)}
    degraded = any(not value.startswith("ok") for value in parts.values())
    response.status_code = 503 if not parts["catalogue"].startswith("ok") else 200
    return schemas.Health(status="degraded" if degraded else "ok", version=version("mailroom-documents"), parts=parts)


@router.get("/v1/jobs", response_model=schemas.Jobs, summary="What is waiting, what is held, what is stuck")
def jobs(house: OurHouse, _: Reader) -> schemas.Jobs:
    ledger, documents = house.catalogue.ledger, house.catalogue.documents
    return schemas.Jobs(documents=dict(documents.counts()), jobs=schemas.backlog(ledger.backlog()))


@router.get("/v1/me", response_model=schemas.Me, summary="What this key may do")
def me(granted: Granted) -> schemas.Me:
    caller = granted.caller
    return schemas.Me(
        key_id=caller.key_id, principals=list(caller.principals), scopes=sorted(granted.scopes), admin=caller.admin
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def prometheus(house: OurHouse, _: Admin) -> Response:
    """Prometheus text."""
    return Response(metrics.scrape(house), media_type=CONTENT_TYPE_LATEST)


@open_router.get("/problems/{code}", summary="What a problem code means")
def explain(code: str) -> dict[str, str]:
    if code not in CODES:
        raise Refused("not-found", f"There is no problem code {code!r}.")
    return {"code": code, "meaning": CODES[code]}


def _catalogue(house: House) -> str:
    try:
        house.catalogue.documents.counts()
        return "ok"
    except MailroomError as error:
        return error.code


def _broker(house: House) -> str:
    return "ok" if house.hints.waiting() is not None else "unreachable; documents wait in the ledger"


def _index(house: House) -> str:
    generation = house.reader.snapshot().generation
    return f"stale, serving generation {generation}" if house.reader.stale else f"ok, generation {generation}"
