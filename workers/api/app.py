"""The FastAPI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from workers.api import metrics, problems
from workers.api.auth import Grant, grant
from workers.api.routes import documents, operations, search
from workers.assemble import House

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(house: House) -> FastAPI:
    """The application over one House. Handlers that wait for a disk are plain functions: they run beside the loop."""
    app = FastAPI(
        title="Mailroom",
        version=version("mailroom-documents"),
        description="Sort, route, file and find documents. Every route but /healthz and /problems needs an API key.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
    )
    app.state.house = house
    problems.install(app)
    app.middleware("http")(metrics.observe)
    app.middleware("http")(_headers)
    for router in (documents.router, search.router, operations.router, operations.open_router):
        app.include_router(router)

    @app.get("/openapi.json", include_in_schema=False)
    def openapi(_: Annotated[Grant, Depends(grant)]) -> JSONResponse:
        return JSONResponse(app.openapi())

    return app


async def _headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
