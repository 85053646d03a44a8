"""What every request passes before its route: key, limits of the body, safe headers, metrics, errors without trace."""

from __future__ import annotations

import logging
import re
import secrets
import time

import anyio
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.audit import AuditOrigin, acting
from pipeline.errors import MailroomError, Refused
from pipeline.rights import Access
from workers.api import problems
from workers.api.auth import OPEN, Authenticator
from workers.api.connections import PAUSE_SECONDS, transfer_seconds
from workers.api.limits import Limits
from workers.api.metrics import Requests
from workers.api.redaction import Redactor
from workers.logs import ids
from workers.services.audit_log import AuditLog

log = logging.getLogger(__name__)

#: Largest body of a request that is not an upload, bytes: enough that a query of a megabyte or a filter of ten thousand
#: values is refused with the name of its field.
MAX_BODY = 2 * 1024 * 1024
UPLOAD_PATH = "/v1/documents"
_DOCUMENT_ID = re.compile(r"[0-9a-f]{32}")
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class ApiMiddleware:
    """The outermost layer: authenticates, limits the body, adds headers, counts, and turns errors into problems."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        requests: Requests,
        limits: Limits,
        audit_log: AuditLog,
        redactor: Redactor,
    ) -> None:
        self.app, self._authenticator, self._requests, self._limits = app, authenticator, requests, limits
        self._audit_log, self._redactor = audit_log, redactor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        with ids(request=request_id):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, sender, method = time.perf_counter(), _ResponseSender(send, request_id), scope["method"]
        if method == "HEAD":  # the server sends no body, whatever the route sends
            scope = {**scope, "method": "GET", "is_head": True}
        try:
            refuse_ambiguous_length(scope, sender)
            await self._handle(scope, receive, sender.send, request_id)
        except MailroomError as error:
            await sender.send_problem(problems.from_error(error, scope["path"]), scope, receive)
        except Exception:
            log.exception("%s %s failed", scope["method"], route_of(scope))
            await sender.send_problem(problems.unexpected(scope["path"]), scope, receive)
        finally:
            self._requests.count(method, route_of(scope), sender.status, time.perf_counter() - started)
            self._record(scope, sender.status)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        if OPEN.fullmatch(scope["path"]):
            await self.app(scope, limited(scope, receive), send)
            return
        authenticate = self._authenticator.authenticate
        access = await anyio.to_thread.run_sync(authenticate, scope, limiter=self._limits.key_checks)
        refuse_encoded_body(scope)
        scope["access"] = access
        scope["origin"] = origin_of(scope, access, request_id)
        self._audit_log.check_room()
        with self._limits.keys.request(access.caller.key_id), acting(scope["origin"]):
            await self.app(scope, limited(scope, receive), self._redactor.sender(scope, send))

    def _record(self, scope: Scope, status: int) -> None:
        """Add to the audit that a key or a request was refused, or that a document was read."""
        if status == 401 or (status == 429 and "access" not in scope):  # refused, or not even looked at
            self._audit_log.refused_key(address_of(scope))
        elif (origin := scope.get("origin")) is not None:
            with acting(origin):
                document_id, route = scope.get("path_params", {}).get("document_id"), f"GET {route_of(scope)}"
                if status == 403:
                    self._audit_log.refused_route(f"{scope['method']} {route_of(scope)}")
                elif document_id and scope["method"] == "GET" and _DOCUMENT_ID.fullmatch(document_id):
                    self._audit_log.read(route, document_id, status)


def origin_of(scope: Scope, access: Access, request_id: str) -> AuditOrigin:
    """Return who a request acts for, for the audit."""
    caller = access.caller
    return AuditOrigin(caller.owner, caller.key_id, "rest", request_id, address_of(scope), caller.tenant)


def address_of(scope: Scope) -> str:
    """Return the address of the other end: the client's, or that of a proxy before this server."""
    return str((scope.get("client") or ("",))[0])


def request_id_of(scope: Scope) -> str:
    """Return the id that the client or a proxy gave the request, or a new one."""
    sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def route_of(scope: Scope) -> str:
    """Return the route's template, so that a metric has few values and no document's ID."""
    path: str = getattr(scope.get("route"), "path", "unmatched")
    return path


class _ResponseSender:
    """Sends a response with the safe headers, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id.encode()
        self.status = 500
        self.closes = False
        self._started = False

    async def send(self, message: Message) -> None:
        """Send a message of the response, its start with those headers that it does not set itself."""
        if message["type"] == "http.response.start":
            self._started, self.status = True, message["status"]
            names = {name.lower() for name, _ in message["headers"]}
            missing = [(name, value) for name, value in HEADERS.items() if name not in names]
            missing.append((b"x-request-id", self._request_id))
            if self.closes:
                missing.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *missing]}
        await self._send(message)

    async def send_problem(self, problem: Response, scope: Scope, receive: Receive) -> None:
        """Send a problem, unless a response has begun."""
        if not self._started:
            await problem(scope, receive, self.send)


def refuse_ambiguous_length(scope: Scope, sender: _ResponseSender) -> None:
    """Raise Refused for a request with two lengths, and close: what follows may be somebody else's (RFC 9112, 6.1)."""
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
        sender.closes = True
        raise Refused("bad-request", "Content-Length and Transfer-Encoding contradict each other; send one of them.")


def refuse_encoded_body(scope: Scope) -> None:
    """Raise Refused for a body with a Content-Encoding: what it unpacks to is unknown, and is never read."""
    encodings = {value.strip().lower() for name, value in scope["headers"] if name == b"content-encoding"}
    if encodings - {b"identity", b""}:
        raise Refused("unsupported-encoding", "Content-Encoding: send the body as it is, without compression.")


def limited(scope: Scope, receive: Receive) -> Receive:
    """Return a ``receive`` that raises Refused for a body that stops, comes too slowly, or is too large and not an
    upload. Uploads count their own bytes. A body whose length is too large is refused at once.
    """
    is_upload = scope["method"] == "POST" and scope["path"] == UPLOAD_PATH
    too_large = Refused("upload-too-large", f"The body is larger than {MAX_BODY:,} bytes.")
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not is_upload and re.fullmatch(rb"\d{1,18}", length) and int(length) > MAX_BODY:
        raise too_large
    size, waited, complete = 0, 0.0, False

    async def next_message() -> Message:
        nonlocal size, waited, complete
        if complete:  # what follows is the client's disconnection, at any time
            return await receive()
        # Only the time that this server waits counts: a client is not blamed for a slow disk here.
        message, started = None, time.monotonic()
        with anyio.move_on_after(min(PAUSE_SECONDS, transfer_seconds(size) - waited)):
            message = await receive()
        waited += time.monotonic() - started
        if message is None:
            raise Refused(
                "request-timeout", f"The body came too slowly: {size:,} bytes in {waited:.0f} s; send it again."
            )
        size += len(message.get("body", b""))
        complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        if not is_upload and size > MAX_BODY:
            raise too_large
        return message

    return next_message
