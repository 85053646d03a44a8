"""Connections to the API: how many there may be, and how long each may wait for what it sends or reads.

uvicorn closes a connection that was kept open after a request, and nothing else: one that never sends a request, sends
half of one, or does not read its answer would stay for good. Here a connection without a request in progress counts
for nothing: where there are too many, the one that has waited longest makes room.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.errors import CODES
from workers.api import problems

#: Largest head of a request, its URL too, bytes.
MAX_HEAD = 32 * 1024
#: Seconds for the head of a request, from the connection or from the first byte after the request before.
HEAD_SECONDS = 10.0
#: Seconds that a connection may wait for its next request.
KEEP_ALIVE_SECONDS = 15
#: Seconds that a client may pause, and the bytes a second that it must send or read beyond them.
PAUSE_SECONDS, MIN_BYTES_PER_SECOND = 30.0, 1024
#: Seconds between two looks at all connections.
SWEEP_SECONDS = 1.0
#: Seconds for a client to read why its connection is closed.
LINGER_SECONDS = 2.0


def transfer_seconds(size: int) -> float:
    """Return the seconds that a client has for ``size`` bytes."""
    return PAUSE_SECONDS + size / MIN_BYTES_PER_SECOND


def network_of(address: str) -> str:
    """Return what counts as one address: for IPv6 the network of 64 bits, which one machine may use as a whole."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a unix socket has no address
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@dataclass(slots=True)
class Connections:
    """The open connections of one server, the oldest first."""

    total: int
    per_address: int
    _open: dict[BoundedProtocol, str] = field(default_factory=dict)
    _by_address: dict[str, dict[BoundedProtocol, None]] = field(default_factory=dict)

    def admit(self, connection: BoundedProtocol, address: str) -> str | None:
        """Add a connection, and cut the one that has waited longest where there are too many.

        Returns the code of the problem if all others are busy: "too-many-requests" for those of the address,
        "overloaded" for all. The connection counts in any case until `remove`.
        """
        if not self._open:
            connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)
        peers = self._by_address.setdefault(address, {})
        self._open[connection] = address
        peers[connection] = None
        if not self._make_room(peers, self.per_address, connection):
            return "too-many-requests"
        if not self._make_room(self._open, self.total, connection):
            return "overloaded"
        return None

    def remove(self, connection: BoundedProtocol) -> None:
        """Forget a connection, if it is still counted."""
        address = self._open.pop(connection, None)
        if address is not None:
            peers = self._by_address[address]
            del peers[connection]
            if not peers:
                del self._by_address[address]

    def _make_room(self, connections: Collection[BoundedProtocol], limit: int, newest: BoundedProtocol) -> bool:
        """Cut idle connections until at most ``limit`` are left; return whether that was possible."""
        while len(connections) > limit:
            idle = [connection for connection in connections if connection.is_idle and connection is not newest]
            if not idle:
                return False
            oldest = min(idle, key=BoundedProtocol.eviction_order)
            self.remove(oldest)
            oldest.transport.abort()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection in list(self._open):
            connection.close_if_late(loop.time())
        if self._open:
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)

    def protocol(self, **arguments: Any) -> BoundedProtocol:
        """Return the protocol of a new connection, with uvicorn's arguments."""
        return BoundedProtocol(self, **arguments)


class BoundedProtocol(H11Protocol):
    """One connection: closed when it waits too long, and with problem+json for what is not HTTP."""

    def __init__(self, connections_of_server: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._all = connections_of_server
        self._deadline: float | None = None  # of the next request's head
        self._write_deadline: float | None = None
        self._has_begun = True
        self._has_ended = False

    @property
    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress, and no answer on its way."""
        return self._has_ended or (self._awaits_head and self.transport.get_write_buffer_size() == 0)

    def eviction_order(self) -> tuple[bool, bool, float]:
        """Return the key to sort by: refused, without any request yet, then the one that has waited longest."""
        return not self._has_ended, self.cycle is not None, self._deadline or 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request, or refuse the connection."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + HEAD_SECONDS
        code = self._all.admit(self, network_of(self.client[0] if self.client else ""))
        if code is not None:
            self._answer(problems.problem(code, problems.STATUS[code], CODES[code], ""))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read the next bytes. Only a complete head ends the deadline: bytes one at a time do not move it."""
        if self._has_ended:  # what it still sends is dropped
            return
        if self._awaits_head and not self._has_begun:
            self._has_begun, self._deadline = True, self.loop.time() + HEAD_SECONDS
        super().data_received(data)
        if not self._awaits_head:
            self._has_begun, self._deadline = False, None

    def on_response_complete(self) -> None:
        """Start the deadline of the next request."""
        self._has_begun, self._deadline = False, self.loop.time() + KEEP_ALIVE_SECONDS
        super().on_response_complete()
        if not self._awaits_head:  # the next request was there already
            self._deadline = None

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not read."""
        super().pause_writing()
        self._write_deadline = self.loop.time() + transfer_seconds(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """End the deadline of a client that reads again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._write_deadline = None

    def close_if_late(self, now: float) -> None:
        """Close the connection if a deadline is over."""
        if self.transport.is_closing() and self._write_deadline is None:
            self._write_deadline = now + transfer_seconds(self.transport.get_write_buffer_size())
        if self._write_deadline is not None and now > self._write_deadline:
            self.transport.abort()
            return
        if self._deadline is None or now <= self._deadline or self.transport.is_closing():
            return
        if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
            detail = f"The request's head did not arrive within {HEAD_SECONDS:g} s."
            self._answer(problems.problem("request-timeout", 408, detail, ""))
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP. uvicorn calls it while it handles h11's error."""
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        detail = f"This is not a valid HTTP request: {str(error)[:200]}."
        if status == 431:
            is_target = b"\n" not in self.conn.trailing_data[0]
            status = 414 if is_target else 431
            detail = f"The {'URL' if is_target else 'head'} is longer than {MAX_HEAD:,} bytes; send less in it."
        self._answer(problems.problem("bad-request", status, detail, ""))

    def _answer(self, response: Response) -> None:
        """Send a response that no route made, and close."""
        if not self._awaits_head:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
            events = (
                h11.Response(status_code=response.status_code, headers=headers),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        # Closing while bytes come in would reset the connection, and the client would not read the answer.
        self._has_ended, self._deadline = True, None
        self.transport.write_eof()
        self._write_deadline = self.loop.time() + LINGER_SECONDS
