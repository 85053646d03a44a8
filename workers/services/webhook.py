"""Outgoing webhooks, signed by the Standard Webhooks scheme (https://www.standardwebhooks.com), to allowed addresses.

A name is resolved once and the connection is made to that address, so that it cannot resolve to another one between the
check and the call. Private addresses need the operator's permission, endpoint by endpoint.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import standardwebhooks

from pipeline.documents import Document
from pipeline.errors import Misconfigured, Unavailable
from workers.settings import Endpoint

CONNECT_SECONDS = 10
TOTAL_SECONDS = 20
#: Bytes of the response that are read at most; its content is ignored.
READ_BYTES = 64 * 1024
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
#: Networks that Python's registry lacks: 6to4 relays, documentation.
ALSO_SPECIAL = (ipaddress.ip_network("192.88.99.0/24"), ipaddress.ip_network("3fff::/20"))


class WebhookSender:
    """Sends one kind of message, ``document.routed``, to the configured endpoints."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    def send(self, name: str, message_id: str, document: Document, at: float) -> str:
        """Deliver once what was decided at ``at`` (epoch seconds) and return a receipt.

        Raises Unavailable if a later attempt may succeed, otherwise Misconfigured, also where the receiver answers 410.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise Misconfigured("bad-rules", f"A rule names the webhook {name!r}, which is not configured.")
        body = json.dumps(message(document, at), ensure_ascii=False).encode("utf-8", "replace")
        headers = signed_headers(signing_keys(name, endpoint), message_id, datetime.now(UTC), body)
        status = post(endpoint.url, body, headers, endpoint.allow)
        if status == 410:
            raise Misconfigured("receiver-unavailable", f"Webhook {name!r} answered 410: it is disabled there.")
        if not 200 <= status < 300:
            raise Unavailable("receiver-unavailable", f"Webhook {name!r} answered {status}.")
        return f"HTTP {status}"


def message(document: Document, at: float) -> dict[str, Any]:
    """Return the message to a receiver, less than 20 kB: names and decisions, never the document's text."""
    return {
        "type": "document.routed",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "data": {
            "id": document.id,
            "name": document.name[:500],
            "content_hash": document.content_hash,
            "label": document.label,
            "probability": document.probability,
            "model": document.model,
            "rules": list(document.rules)[:20],
            "source": document.source,
            "path": document.path[:1000],
            "url": f"/v1/documents/{document.id}",
        },
    }


def signing_keys(name: str, endpoint: Endpoint) -> list[bytes]:
    """Return the keys of an endpoint's secrets, the current one first. Raises Misconfigured("bad-settings")."""
    text = endpoint.secret or (Path(endpoint.secret_file).read_text() if endpoint.secret_file else "")
    try:
        keys = [base64.b64decode(word.removeprefix("whsec_"), validate=True) for word in text.split()]
    except ValueError as error:
        raise Misconfigured("bad-settings", f"webhooks.endpoints.{name}.secret is not whsec_ and base64.") from error
    if not keys or not all(keys):
        raise Misconfigured("bad-settings", f"webhooks.endpoints.{name} has no secret, or an empty one.")
    return keys


def signed_headers(keys: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message with one signature for each key in use."""
    signatures = [standardwebhooks.Webhook(key).sign(message_id, at, body.decode()) for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": "mailroom",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def post(url: str, body: bytes, headers: Mapping[str, str], allow: tuple[str, ...]) -> int:
    """POST to the address that the name resolves to now, without proxy or redirect, and return the status.

    ``allow`` are the networks (CIDR) that may be reached although they are private. Raises Misconfigured for an address
    that may not be reached, Unavailable if the receiver does not answer within TOTAL_SECONDS.
    """
    parts = parse_url(url)
    address, allowed = resolve(parts, allow)
    if parts.scheme != "https" and not allowed:
        raise Misconfigured(
            "bad-settings", "A webhook goes over https, unless its address is in the endpoint's allow list."
        )
    if parts.port not in (None, 443) and not allowed:
        raise Misconfigured("bad-settings", "A webhook goes to port 443, unless its address is in the allow list.")
    connection = _PinnedConnection(parts, address)
    # A receiver that drips single bytes stays inside every socket timeout; the timer ends the whole call.
    timer = threading.Timer(TOTAL_SECONDS, connection.abort)
    timer.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {**headers, "host": parts.netloc.rpartition("@")[2]})
        response = connection.getresponse()
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            response.read(READ_BYTES)
        return response.status
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        raise Unavailable("receiver-unavailable", f"The receiver did not answer: {type(error).__name__}.") from error
    finally:
        timer.cancel()
        connection.close()


def parse_url(url: str) -> SplitResult:
    """Return the parts of a webhook URL. Raises Misconfigured("bad-settings") for one that is not acceptable."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Misconfigured("bad-settings", "A webhook URL cannot be read.") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise Misconfigured("bad-settings", "A webhook URL starts with https:// and names a host.")
    if parts.username or parts.password:
        raise Misconfigured("bad-settings", "A webhook URL holds no user name or password; use the secret.")
    return parts


def resolve(parts: SplitResult, allow: tuple[str, ...]) -> tuple[str, bool]:
    """Return the address to connect to, and True if it is in one of the ``allow`` networks.

    Raises Misconfigured for a private address that is not in them, Unavailable for a name that does not resolve.
    """
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable("receiver-unavailable", "The receiver's name cannot be resolved.") from error
    address = str(addresses[0][4][0])
    if is_allowed(address, allow):
        return address, True
    if not is_public(address):
        raise Misconfigured(
            "bad-settings", f"The receiver resolves to {address}, a private address; list its network under allow."
        )
    return address, False


def is_allowed(address: str, allow: tuple[str, ...]) -> bool:
    """Return True for an address in one of the networks; a mapped or translated one is judged by the IPv4 inside."""
    inner = unwrapped(address)
    networks = [ipaddress.ip_network(network, strict=False) for network in allow]
    return any(inner.version == network.version and inner in network for network in networks)


def is_public(address: str) -> bool:
    """Return True for an address of the open internet."""
    inner = unwrapped(address)
    if isinstance(inner, ipaddress.IPv6Address) and inner not in GLOBAL_UNICAST:
        return False
    special = any(inner.version == network.version and inner in network for network in ALSO_SPECIAL)
    return inner.is_global and not (inner.is_multicast or inner.is_reserved or special)


def unwrapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address inside ::ffff:a.b.c.d, 2002::/16 or 64:ff9b::/96, otherwise the address itself."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to a given address under the URL's name, which the certificate must match."""

    def __init__(self, parts: SplitResult, address: str) -> None:
        super().__init__(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._parts, self._address = parts, address

    def connect(self) -> None:
        self.sock = raw = socket.create_connection((self._address, self.port), CONNECT_SECONDS)
        raw.settimeout(TOTAL_SECONDS)
        if self._parts.scheme == "https":
            secure = ssl.create_default_context()
            # The handshake comes after the assignment, so that `abort` can end it.
            self.sock = secure.wrap_socket(raw, server_hostname=self._parts.hostname, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def abort(self) -> None:
        """End a read or write that is under way in another thread."""
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)
