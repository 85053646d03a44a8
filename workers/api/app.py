"""The application: routes, problems, the gate in front of them, and a complete OpenAPI description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from threading import Thread
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from workers.api import problems
from workers.api.health import Health
from workers.api.metrics import MailroomCollector, Requests
from workers.api.middleware import Gate
from workers.api.routes import access, discovery, documents, feedback, queries, questions, service
from workers.api.routes import predictions as predictions
from workers.api.routes.common import AppState
from workers.assemble import Mailroom

DESCRIPTION = """Sort, route, file and find documents. Every route but `/healthz` and `/problems` needs an API key.
Errors are RFC 9457 problem details; their `code` is stable. Times are ISO 8601 in UTC."""
#: No page of ours loads a script from elsewhere, so the interactive description stays off; /openapi.json has it all.
NO_PAGES = {"docs_url": None, "redoc_url": None, "openapi_url": None}


def create_app(mailroom: Mailroom, warm: bool = True) -> FastAPI:
    """Return the REST API of one installation. ``warm`` opens the models in the background at start, not at the first search."""
    app_state = _app_state(mailroom)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            Thread(target=app_state.health.warm, daemon=True, name="warm").start()
        yield

    app = FastAPI(title="Mailroom", version=version("mailroom-documents"), lifespan=lifespan, **NO_PAGES)
    app.state.app_state = app_state
    app.router.redirect_slashes = False
    problems.install(app)
    for routes in (documents, questions, queries, discovery, feedback, access, service, predictions):
        app.include_router(routes.router)
    app.add_middleware(Gate, mailroom=mailroom, requests=app_state.requests)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _app_state(mailroom: Mailroom) -> AppState:
    mailroom.catalogue, mailroom.blobs, mailroom.reader  # noqa: B018  (built now: a mistake in the settings shows at start)
    registry, notifier = CollectorRegistry(), mailroom.notifier
    registry.register(MailroomCollector(mailroom, notifier))
    return AppState(mailroom, notifier, registry, Requests(registry), Health(mailroom, notifier))


def _describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with both ways of giving the key, and problem+json where FastAPI would describe its own errors."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    schema["security"] = [{"bearer": []}, {"header": []}]
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # ours is 400
            for status, response in operation["responses"].items():
                if status >= "400":
                    _as_problem(response)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    app.openapi_schema = schema
    return schema


def _as_problem(response: dict[str, Any]) -> None:
    content = response.get("content", {})
    model = content.pop("application/json", {}).get("schema", {"$ref": "#/components/schemas/Problem"})
    content.setdefault(problems.MEDIA_TYPE, {})["schema"] = model
