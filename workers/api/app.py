"""The application: routes, problems, the middleware before them, and a complete OpenAPI description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from threading import Thread
from typing import Any

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import compile_path

from workers.api import problems
from workers.api.auth import ANY_KEY, ROUTES, Authenticator, check_scope
from workers.api.health import HealthMonitor
from workers.api.key_use import KeyUse
from workers.api.limits import Limits
from workers.api.metrics import MailroomCollector, Requests
from workers.api.middleware import ApiMiddleware
from workers.api.redaction import Redactor
from workers.api.routes import (
    access,
    audit,
    deliveries,
    discovery,
    documents,
    erasures,
    feedback,
    holds,
    keys,
    predictions,
    queries,
    questions,
    retention,
    service,
)
from workers.api.routes.common import AppState
from workers.api.wrong_keys import WrongKeys
from workers.assemble import Mailroom
from workers.services.audit_log import AuditLog

#: Headers that a page of another origin may send, and those that it may read, beyond those that browsers allow anyway.
ALLOWED_HEADERS = "Authorization X-API-Key Content-Type Idempotency-Key X-Filename Range If-None-Match If-Range".split()
EXPOSED_HEADERS = "ETag Location Retry-After Content-Range Accept-Ranges Content-Disposition Allow X-Request-Id".split()
DESCRIPTION = """Sort, route, file and find documents. Every route but `/healthz`, `/readyz` and
`/problems` needs an API key.
Errors are RFC 9457 problem details; their `code` is stable. Times are ISO 8601 in UTC."""


def create_app(mailroom: Mailroom, warm: bool = True) -> FastAPI:
    """Return the REST API of one installation. ``warm`` opens the models in the background at the start, not at the
    first search."""
    # Built now, so that a mistake in the settings shows at the start.
    mailroom.catalogue, mailroom.blobs, mailroom.reader  # noqa: B018
    registry, notifier = CollectorRegistry(), mailroom.notifier
    registry.register(MailroomCollector(mailroom, notifier))
    limits = Limits.of(mailroom.settings.api)
    audit_log = AuditLog(mailroom.catalogue.audit, mailroom.settings.audit, mailroom.settings.run_path)
    health = HealthMonitor(mailroom, notifier)
    state = AppState(mailroom, notifier, registry, Requests(registry), health, limits, audit_log)
    use = KeyUse(mailroom.catalogue.keys)
    wrong_keys = WrongKeys.of(mailroom.settings.api.wrong_keys_per_minute, registry)
    authenticator = Authenticator(mailroom.catalogue.keys, use, wrong_keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            Thread(target=state.health.warm, daemon=True, name="warm").start()
        yield
        await anyio.to_thread.run_sync(use.close)
        await anyio.to_thread.run_sync(audit_log.close)

    # No page loads a script from elsewhere, so the interactive description is off; /openapi.json has all of it.
    app = FastAPI(
        title="Mailroom",
        version=version("mailroom-documents"),
        lifespan=lifespan,
        dependencies=[Depends(check_scope)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.app_state = state
    app.router.redirect_slashes = False
    problems.install(app)
    administration = (access, keys, deliveries, audit, holds, retention, service, predictions)
    for routes in (documents, erasures, questions, queries, discovery, feedback, *administration):
        app.include_router(routes.router)
    _add_middleware(app, state, authenticator)

    @app.exception_handler(405)
    def wrong_method(request: Request, _: HTTPException) -> JSONResponse:
        methods = ", ".join(allowed_methods(app, request.url.path))
        method = "HEAD" if request.scope.get("is_head") else request.method
        detail = f"{request.url.path} does not take {method[:20]}, but {methods}."
        return problems.problem("bad-request", 405, detail, request.url.path, headers={"Allow": methods})

    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def _add_middleware(app: FastAPI, state: AppState, authenticator: Authenticator) -> None:
    mailroom = state.mailroom
    app.add_middleware(
        ApiMiddleware,
        authenticator=authenticator,
        requests=state.requests,
        limits=state.limits,
        audit_log=state.audit_log,
        redactor=Redactor(mailroom.settings.privacy, mailroom.catalogue.chunks),
    )
    if origins := mailroom.settings.api.cors_origins:
        # Outermost: a browser's preflight has no key. Keys come in headers, so cookies are not needed.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=3600,
        )


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that all routes of a path take together."""
    paths: dict[str, dict[str, Any]] = {**app.openapi()["paths"], "/openapi.json": {"get": {}}}
    verbs = {
        verb.upper() for route, operations in paths.items() if compile_path(route)[0].match(path) for verb in operations
    }
    return sorted(verbs | ({"HEAD"} if "GET" in verbs else set()))


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with both ways to send the key and with problem+json as the errors."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    schema["security"] = [{"bearer": []}, {"header": []}]
    operations = {f"{verb.upper()} {path}": o for path, verbs in schema["paths"].items() for verb, o in verbs.items()}
    for name, operation in operations.items():
        if (scope := ROUTES.get(name, ANY_KEY)) != ANY_KEY:
            operation["description"] += f"\n\nNeeds the scope `{scope}`."
        operation["responses"].pop("422", None)  # FastAPI's own status; ours is 400
        for content in (r.get("content", {}) for status, r in operation["responses"].items() if status >= "400"):
            model = content.pop("application/json", {}).get("schema", {"$ref": "#/components/schemas/Problem"})
            content.setdefault(problems.MEDIA_TYPE, {})["schema"] = model
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    app.openapi_schema = schema
    return schema
