"""What holds for every request, before any route: a key, bounds, safe headers, a count, and an answer without a trace."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import MailroomError, Refused
from workers.api import problems
from workers.api.auth import OPEN, authenticate
from workers.api.metrics import Requests
from workers.assemble import Mailroom

log = logging.getLogger(__name__)

#: Largest body of a request that is not an upload, bytes: enough that a query of a megabyte or a filter of ten thousand
#: values is refused by the field that is wrong.
MAX_BODY = 2 * 1024 * 1024
#: Seconds to wait for the next piece of a body.
PATIENCE = 30.0
UPLOAD_PATH = "/v1/documents"
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, mailroom: Mailroom, requests: Requests) -> None:
        self.app, self._mailroom, self._requests = app, mailroom, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, answer = time.perf_counter(), _Answer(send)
        try:
            await self._admit(scope)
            await self.app(scope, _bounded(scope, receive), answer.send)
        except MailroomError as error:
            await answer.fail(problems.from_error(error, scope["path"]), scope, receive)
        except Exception:
            log.exception("%s %s failed", scope["method"], route_of(scope))
            await answer.fail(problems.unexpected(scope["path"]), scope, receive)
        finally:
            self._requests.count(scope["method"], route_of(scope), answer.status, time.perf_counter() - started)

    async def _admit(self, scope: Scope) -> None:
        if OPEN.fullmatch(scope["path"]) is None:
            scope["access"] = await anyio.to_thread.run_sync(authenticate, scope, self._mailroom.catalogue.keys)


def route_of(scope: Scope) -> str:
    """The route's template, so that a metric has few values and no document's id."""
    return getattr(scope.get("route"), "path", "unmatched")


class _Answer:
    """Adds the headers; remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self._begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun, self.status = True, message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            more = [(name, value) for name, value in HEADERS.items() if name not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)

    async def fail(self, response: Any, scope: Scope, receive: Receive) -> None:
        """Nothing can be said once an answer has begun."""
        if not self._begun:
            await response(scope, receive, self.send)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Bodies arrive in time, and are small unless they are uploads (which count for themselves)."""
    upload = scope["method"] == "POST" and scope["path"] == UPLOAD_PATH
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not upload and re.fullmatch(rb"\d{1,18}", length) and int(length) > MAX_BODY:
        raise Refused("upload-too-large", f"The body is larger than {MAX_BODY:,} bytes.")
    taken, over = 0, False

    async def next_piece() -> Message:
        nonlocal taken, over
        if over:  # what comes now is the client leaving, which may take its time
            return await receive()
        message: Message | None = None
        with anyio.move_on_after(PATIENCE):
            message = await receive()
        if message is None:
            raise Refused("bad-request", f"The body did not go on for {PATIENCE:g} s; send it again.")
        taken += len(message.get("body", b""))
        over = message["type"] == "http.disconnect" or not message.get("more_body", False)
        if not upload and taken > MAX_BODY:
            raise Refused("upload-too-large", f"The body is larger than {MAX_BODY:,} bytes.")
        return message

    return next_piece
