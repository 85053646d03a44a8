"""Errors as problem+json (RFC 9457), everywhere; no traceback ever reaches a client."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipeline.errors import CODES, MailroomError, Refused, Unavailable
from workers.api.schemas import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS = {
    "bad-request": 400,
    "bad-query": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "upload-too-large": 413,
    "disk-full": 507,
}
_OF_STATUS = {404: "not-found", 405: "bad-request", 401: "unauthorized", 403: "forbidden", 413: "upload-too-large"}
#: Seconds after which a client may try again when something around us does not answer.
RETRY_AFTER = "5"

#: For the OpenAPI description of every route.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text, "content": {MEDIA_TYPE: {}}}
    for status, text in ((400, "Bad request"), (401, "No valid key"), (403, "Not allowed"), (503, "Try again later"))
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Not found, or not visible"}}


def problem(request: Request, status: int, code: str, detail: str, errors: Any = None) -> JSONResponse:
    """One problem document as a response."""
    body = {
        "type": f"/problems/{code}",
        "title": CODES[code],
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
    }
    if errors:
        body["errors"] = errors
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception as a problem."""

    @app.exception_handler(MailroomError)
    def ours(request: Request, error: MailroomError) -> JSONResponse:
        if isinstance(error, Refused):
            return problem(request, STATUS.get(error.code, 400), error.code, error.detail)
        if isinstance(error, Unavailable):
            return problem(request, STATUS.get(error.code, 503), error.code, error.detail)
        log.error("%s %s: %s", request.method, request.url.path, error)
        return problem(request, 500, error.code, error.detail)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:5])
        return problem(request, 400, "bad-request", detail, errors[:50])

    @app.exception_handler(HTTPException)
    def framework(request: Request, error: HTTPException) -> JSONResponse:
        code = _OF_STATUS.get(error.status_code, "bad-request")
        detail = str(error.detail or HTTPStatus(error.status_code).phrase)
        return problem(request, error.status_code, code, detail)

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s failed", request.method, request.url.path)
        return problem(request, 500, "internal", CODES["internal"])
