"""Errors as problem+json (RFC 9457), everywhere; no traceback ever reaches a client."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipeline.errors import CODES, MailroomError, Misconfigured, Refused, Rejected, Unavailable
from workers.api.schemas.service import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS = {
    "bad-request": 400,
    "bad-query": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "request-timeout": 408,
    "conflict": 409,
    "contradictory": 409,
    "legal-hold": 409,
    "unsupported-encoding": 415,
    "upload-too-large": 413,
    "too-many-requests": 429,
    "overloaded": 503,
    "not-ready": 503,
    "disk-full": 507,
}
_OF_STATUS = {404: "not-found", 405: "bad-request", 401: "unauthorized", 403: "forbidden", 413: "upload-too-large"}
#: Seconds after which a client may try again if a part of the installation does not answer.
RETRY_AFTER = "5"


def status_of(error: MailroomError) -> int:
    """Return the HTTP status of an error."""
    kinds = {Refused: 400, Rejected: 422, Unavailable: 503, Misconfigured: 503}
    return STATUS.get(error.code) or kinds.get(type(error), 500)


def problem(
    code: str, status: int, detail: str, instance: str, errors: Any = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem+json response; ``instance`` is the path of the request, ``errors`` the fields that are wrong."""
    body = {
        "type": f"/problems/{code}",
        "title": CODES[code],
        "status": status,
        "detail": detail,
        "instance": instance[:200],
        "code": code,
    }
    if errors:
        body["errors"] = errors
    all_headers = dict(headers or {})
    if status == 401:
        all_headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        all_headers.setdefault("Retry-After", RETRY_AFTER)
    if status == 415:
        all_headers["Accept-Encoding"] = "identity"
    if status == 408:  # the rest of the request may come at any time
        all_headers["Connection"] = "close"
    return JSONResponse(body, status, all_headers, MEDIA_TYPE)


def from_error(error: MailroomError, instance: str) -> JSONResponse:
    """Return an error as a problem. Faults of the installation may name paths and hosts: these go to the log only."""
    detail = error.detail
    if error.code == "overloaded":  # said often, and the metrics count it: the log would grow with each request
        detail = CODES[error.code]
    elif not isinstance(error, (Refused, Rejected)):
        log.log(logging.WARNING if isinstance(error, Unavailable) else logging.ERROR, "%s: %s", instance, error)
        detail = CODES[error.code] + (
            " Try again." if isinstance(error, Unavailable) else " `mailroom doctor` shows the operator more."
        )
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return problem(error.code, status_of(error), detail, instance, headers=headers)


def unexpected(instance: str) -> JSONResponse:
    """Return the problem for an error that nobody foresaw; the log has the trace."""
    return problem("internal", 500, CODES["internal"], instance)


def install(app: FastAPI) -> None:
    """Register the handlers that return every exception as a problem."""

    @app.exception_handler(MailroomError)
    def ours(request: Request, error: MailroomError) -> JSONResponse:
        return from_error(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [field_error(line) for line in error.errors()[:20]]
        detail = "; ".join(f"{line['field']}: {line['detail']}" for line in errors[:5])
        return problem("bad-request", 400, detail, request.url.path, errors)

    @app.exception_handler(HTTPException)
    def framework(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, MailroomError):  # raised while the framework read the body, and wrapped by it
            return from_error(error.__cause__, request.url.path)
        code = _OF_STATUS.get(error.status_code, "bad-request")
        detail = str(error.detail or HTTPStatus(error.status_code).phrase)
        return problem(code, error.status_code, detail, request.url.path, headers=error.headers)


def field_error(error: Mapping[str, Any]) -> dict[str, str]:
    """Return the field and the reason of a validation error, never the value, which may be content."""
    if error["type"] == "json_invalid":
        return {"field": "body", "detail": f"it is not JSON from character {error['loc'][-1]} on"}
    place = [str(part) for part in error["loc"][1:]]  # the first says where in the request
    return {"field": ".".join(place) or str(error["loc"][0]), "detail": error["msg"]}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route may return: ``statuses``, and those of every route."""
    fallback = {416: "bad-request", 500: "internal", 503: "store-unavailable"}
    entries: dict[int | str, dict[str, Any]] = {}
    for status in sorted({400, 401, 403, 429, 500, 503, *statuses}):
        code = fallback.get(status) or next(code for code, value in STATUS.items() if value == status)
        example = {
            "type": f"/problems/{code}",
            "title": CODES[code],
            "status": status,
            "detail": CODES[code],
            "instance": "/v1/documents",
            "code": code,
        }
        content = {MEDIA_TYPE: {"example": example}}
        entries[status] = {"description": CODES[code], "model": Problem, "content": content}
    return entries
