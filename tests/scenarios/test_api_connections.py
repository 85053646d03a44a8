"""Clients that hold connections without using them, over real sockets: nobody else waits for them."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.api import connections, middleware
from workers.assemble import Mailroom

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    mailroom = make_mailroom(tmp_path)
    yield mailroom
    mailroom.close()


@contextmanager
def opened(url: str, count: int, send: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open ``count`` connections, and send the same bytes over each."""
    place = urlsplit(url)
    with ExitStack() as stack:
        lines = []
        for _ in range(count):
            lines.append(stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20)))
            lines[-1].sendall(send)
        yield lines


def read_all(line: socket.socket) -> bytes:
    """Return what the server sends until it closes."""
    received = b""
    while piece := line.recv(65536):
        received += piece
    return received


def problem_in(answer: bytes, status: int, code: str) -> httpx.Headers:
    """Check that the bytes are an answer with this problem; return its headers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = httpx.Headers([line.split(": ", 1) for line in lines])
    assert first.split(" ")[1] == str(status), answer
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == code
    return headers


def is_open(line: socket.socket) -> bool:
    """Return whether the server has neither closed the connection nor sent anything."""
    line.setblocking(False)
    try:
        line.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        line.setblocking(True)
    return False


def upload_head(key: str, length: int) -> bytes:
    return (
        f"POST /v1/documents?name=x.txt HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_thousand_idle_connections_disturb_nobody(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60.0)
    with serving(mailroom) as url, client(url, mailroom) as ann:
        receipt = ann.post("/v1/documents", content=b"lease", params={"name": "lease.txt"}).json()
        read_and_index(mailroom, receipt["id"], "The notice period of the lease is three months.")
        with opened(url, 500) as silent, opened(url, 500, HEAD) as half:
            for _ in range(10):
                assert httpx.get(f"{url}/healthz", timeout=10).status_code == 200
                assert ann.get("/v1/search", params={"query": "lease"}, timeout=10).json()["items"]
            assert all(map(is_open, [*silent, *half]))


def test_idle_connections_of_an_address_make_room(tmp_path: Path) -> None:
    mailroom = make_mailroom(tmp_path, **{"api.max_connections_per_address": "4"})
    with serving(mailroom) as url, opened(url, 30, HEAD) as lines:
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert sum(map(is_open, lines)) <= 4
    mailroom.close()


@pytest.mark.parametrize(
    ("setting", "limit", "status", "code"),
    [("max_connections_per_address", 4, 429, "too-many-requests"), ("max_connections", 8, 503, "overloaded")],
)
def test_where_all_connections_are_busy_the_next_one_is_refused(
    tmp_path: Path, setting: str, limit: int, status: int, code: str
) -> None:
    mailroom = make_mailroom(tmp_path, **{f"api.{setting}": str(limit)})
    with serving(mailroom) as url, client(url, mailroom) as ann:
        key = ann.headers["authorization"]
        with opened(url, limit, upload_head(key, 4) + b"ab") as busy:
            time.sleep(0.5)
            for _ in range(3):  # a refused connection makes no room for the next one
                with opened(url, 1, HEAD + b"\r\n") as (line,):
                    headers = problem_in(read_all(line), status, code)
                    assert (headers["retry-after"], headers["connection"]) == ("5", "close")
            for line in busy:
                line.sendall(b"cd")
                assert b" 20" in line.recv(100)
        assert httpx.get(f"{url}/healthz").status_code == 200
    mailroom.close()


def test_half_a_head_is_answered_and_silence_is_closed(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    with serving(mailroom) as url, opened(url, 1, HEAD) as (half,), opened(url, 1) as (silent,):
        problem_in(read_all(half), 408, "request-timeout")
        assert read_all(silent) == b""


def test_a_byte_at_a_time_does_not_move_the_deadline(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with serving(mailroom) as url, opened(url, 1, HEAD + b"\r\n") as (line,):
        assert b"200 OK" in line.recv(65536)  # the second request of a kept connection has a deadline too
        started = time.monotonic()
        with pytest.raises(OSError):
            for byte in HEAD * 100:
                line.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - started < 10


def test_a_refused_body_cannot_hold_its_connection(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the body is not read, and it may not go on for ever either."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with serving(mailroom) as url, opened(url, 1, upload_head("Bearer none", 10**9)) as (line,):
        assert b"401" in line.recv(65536)
        with pytest.raises(OSError):
            for _ in range(200):
                line.sendall(b"x")
                time.sleep(0.05)


def test_a_body_that_crawls_is_refused(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(middleware, "PAUSE_SECONDS", 0.5)
    with serving(mailroom) as url, client(url, mailroom) as ann:
        with opened(url, 1, upload_head(ann.headers["authorization"], 1000)) as (line,):
            problem_in(crawl(line), 408, "request-timeout")
        assert ann.get("/v1/documents").json()["total"] == 0


def crawl(line: socket.socket) -> bytes:
    """Send byte after byte until there is an answer. Each comes in time; all of them do not."""
    for _ in range(50):
        line.sendall(b"x")
        if select.select([line], [], [], 0.1)[0]:
            return read_all(line)
    return b""


def test_a_client_that_does_not_read_is_cut_off(mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "MIN_BYTES_PER_SECOND", 10**7)
    with serving(mailroom) as url, client(url, mailroom) as ann:
        content = bytes(32 * 1024 * 1024)
        document = ann.post("/v1/documents", content=content, params={"name": "x.txt"}).json()["id"]
        key = ann.headers["authorization"]
        request = f"GET /v1/documents/{document}/content HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n"
        with opened(url, 1, request.encode()) as (line,):
            time.sleep(4)
            assert length_until_end(line) < len(content)
        assert ann.get(f"/v1/documents/{document}/content").content == content


def length_until_end(line: socket.socket) -> int:
    length = 0
    try:
        while piece := line.recv(1 << 20):
            length += len(piece)
    except ConnectionResetError:
        pass
    return length


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: compress\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000, 431),
        (b"GET /" + b"x" * 1_000_000, 414),
    ],
)
def test_what_is_not_http_is_a_problem(mailroom: Mailroom, sent: bytes, status: int) -> None:
    with serving(mailroom) as url, opened(url, 1, sent) as (line,):
        problem_in(read_all(line), status, "bad-request")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, network: str) -> None:

    assert connections.network_of(address) == network
