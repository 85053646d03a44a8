"""What HTTP promises: HEAD, conditional requests, ranges, Allow, CORS, encodings and lengths."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom

CONTENT = bytes(range(256)) * 4000
PAGE = "https://intranet.example"


@dataclass
class Place:
    """A served installation with one document."""

    mailroom: Mailroom
    url: str
    ann: httpx.Client
    content: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("http"), **{"api.cors_origins": f'["{PAGE}"]'})
    with serving(mailroom) as url, client(url, mailroom, admin=True) as ann:
        document = ann.post("/v1/documents", content=CONTENT, params={"name": "a.bin"}).json()["id"]
        read_and_index(mailroom, document, "The notice period of the lease is three months.")
        yield Place(mailroom, url, ann, f"/v1/documents/{document}/content")
    mailroom.close()


#: Parameters without which a route refuses.
NEEDED = {
    "/v1/search": {"query": "lease"},
    "/v1/suggest": {"prefix": "le"},
    "/v1/access/explain": {"principal": "*", "document_id": "0" * 32},
}


def test_every_get_has_a_head_with_the_same_headers(place: Place) -> None:
    document = place.content.split("/")[3]
    paths = [path for path, verbs in place.ann.get("/openapi.json").json()["paths"].items() if "get" in verbs]
    for path in paths:
        address = path.replace("{document_id}", document).replace("{code}", "not-found").replace("{query_id}", "0" * 32)
        params = NEEDED.get(path, {})
        whole, head = place.ann.get(address, params=params), place.ann.head(address, params=params)
        assert head.status_code == whole.status_code, path
        assert head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]
        if path not in ("/metrics", "/healthz", "/readyz"):  # they change between two requests
            assert head.headers.get("content-length") == whole.headers.get("content-length"), path
    assert httpx.head(f"{place.url}/healthz").status_code == 200
    assert httpx.head(f"{place.url}/v1/me").status_code == 401


def test_a_download_is_not_sent_twice(place: Place) -> None:
    first = place.ann.get(place.content)
    assert (first.content, first.headers["accept-ranges"]) == (CONTENT, "bytes")
    again = place.ann.get(place.content, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert place.ann.get(place.content, headers={"If-None-Match": '"other"'}).content == CONTENT


def test_a_download_is_resumed(place: Place) -> None:
    tag = place.ann.get(place.content).headers["etag"]
    part = place.ann.get(place.content, headers={"Range": "bytes=300000-", "If-Range": tag})
    assert (part.status_code, part.content) == (206, CONTENT[300_000:])
    assert part.headers["content-range"] == f"bytes 300000-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert place.ann.get(place.content, headers={"Range": "bytes=-5"}).content == CONTENT[-5:]
    changed = place.ann.get(place.content, headers={"Range": "bytes=5-", "If-Range": '"old"'})
    assert (changed.status_code, changed.content) == (200, CONTENT)
    beyond = place.ann.get(place.content, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    assert beyond.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/access", "DELETE, GET, HEAD, POST"),
        ("/v1/documents", "GET, HEAD, POST"),
        ("/v1/ask", "POST"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
def test_allow_lists_every_method(place: Place, path: str, methods: str) -> None:
    answer = place.ann.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert methods in answer.json()["detail"]


def test_a_page_of_an_allowed_origin_may_call(place: Place) -> None:
    ask = {"Origin": PAGE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    preflight = httpx.options(f"{place.url}/v1/search", headers=ask)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    answer = place.ann.get("/v1/me", headers={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    refused = httpx.get(f"{place.url}/v1/me", headers={"Origin": PAGE})  # a page can read why
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    other = {**ask, "Origin": "https://elsewhere.example"}
    assert "access-control-allow-origin" not in httpx.options(f"{place.url}/v1/search", headers=other).headers


def test_without_the_setting_no_page_may_call(tmp_path: Path) -> None:
    mailroom = make_mailroom(tmp_path)
    with serving(mailroom) as url:
        assert not [name for name in httpx.get(f"{url}/healthz", headers={"Origin": PAGE}).headers if "access-" in name]
    mailroom.close()


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/search"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "x-unheard-of"])
def test_an_encoded_body_is_415(place: Place, path: str, encoding: str) -> None:
    answer = place.ann.post(path, content=b"x", headers={"Content-Encoding": encoding, "X-Filename": "a"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-encoding")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_request_with_two_lengths_is_refused_and_what_follows_is_not_read(place: Place) -> None:
    where, key = urlsplit(place.url), place.ann.headers["authorization"]
    head = f"Host: x\r\nAuthorization: {key}\r\n"
    smuggled = f"GET /v1/me HTTP/1.1\r\n{head}\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=20) as line:
        line.sendall(
            f"POST /v1/search HTTP/1.1\r\n{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            f"0\r\n\r\n{smuggled}".encode()
        )
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Kündigung.txt".encode(), "Kündigung.txt"),
        ("Kündigung.txt".encode("latin-1"), "Kündigung.txt"),
        (b"K%C3%BCndigung.txt", "Kündigung.txt"),
        ("税務.pdf".encode(), "税務.pdf"),
        (b"100% sure.txt", "100% sure.txt"),
    ],
)
def test_a_file_name_is_read_as_it_was_sent(place: Place, raw: bytes, name: str) -> None:
    headers = [(b"X-Filename", raw)]
    href = place.ann.post("/v1/documents", content=raw, headers=headers).json()["href"]
    assert place.ann.get(href).json()["name"] == name


def test_documents_without_a_name_do_not_take_each_other_s_place(place: Place) -> None:
    names = set()
    for content in (b"first unnamed", b"second unnamed"):
        href = place.ann.post("/v1/documents", content=content, headers={"Content-Type": "text/plain"}).json()["href"]
        names.add(place.ann.get(href).json()["name"])
    assert len(names) == 2
    assert all(name.startswith("unnamed-") for name in names)


def test_a_form_s_fields_come_before_those_of_the_query(place: Place) -> None:
    fields = {"labels": "a,b", "path": "form.txt"}
    params = {"labels": "c", "metadata": '{"department": "hr"}', "path": "query.txt"}
    files = {"file": ("x.txt", b"form and query")}
    receipt = place.ann.post("/v1/documents", data=fields, params=params, files=files).json()
    status = place.ann.get(receipt["href"]).json()
    assert (status["labels"], status["path"], status["metadata"]) == (["a", "b"], "form.txt", {"department": "hr"})
    bad = place.ann.post("/v1/documents", data=fields, params={"source": "a\nb"}, files=files)
    assert bad.status_code == 400


def test_readiness_is_apart_from_liveness(place: Place) -> None:
    """This installation has no broker."""
    assert httpx.get(f"{place.url}/healthz").status_code == 200
    answer = httpx.get(f"{place.url}/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert "broker: unavailable" in answer.json()["detail"]
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("seed", range(4))
def test_a_list_by_cursor_has_each_document_once_while_others_come_and_go(
    tmp_path: Path, order: str, seed: int
) -> None:
    rng, mailroom = random.Random(seed), make_mailroom(tmp_path)

    def add(number: int) -> str:
        content = f"{seed} {number}".encode()
        return ann.post("/v1/documents", content=content, params={"name": f"{number}.txt"}).json()["id"]

    with serving(mailroom) as url, client(url, mailroom, admin=True) as ann:
        first = [add(number) for number in range(25)]
        stay = set(rng.sample(first, 12))
        rest, listed, page = [document for document in first if document not in stay], [], {"next_cursor": None}
        while page["next_cursor"] or not listed:
            cursor = {"cursor": page["next_cursor"]} if listed else {}
            page = ann.get("/v1/documents", params={"limit": rng.randint(1, 4), "order": order, **cursor}).json()
            listed += [item["id"] for item in page["items"]]
            assert page["next_offset"] is None or not cursor
            for _ in range(rng.randint(0, 2)):
                add(rng.randint(100, 10**9))
            for document in rng.sample(rest, min(len(rest), rng.randint(0, 2))):
                ann.delete(f"/v1/documents/{document}")  # perhaps the one that the cursor names
                rest.remove(document)
            if len(listed) > 200:
                break  # "oldest" never ends while more arrive than are listed
        assert len(listed) == len(set(listed))
        assert stay <= set(listed)
    mailroom.close()


def test_a_cursor_that_leads_nowhere_is_a_404(place: Place) -> None:
    answer = place.ann.get("/v1/documents", params={"cursor": "0" * 32})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert "cursor" in answer.json()["detail"]


def test_offsets_go_on_working(place: Place) -> None:
    first = place.ann.get("/v1/documents", params={"limit": 2}).json()
    second = place.ann.get("/v1/documents", params={"limit": 2, "offset": first["next_offset"]}).json()
    by_cursor = place.ann.get("/v1/documents", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert second["items"] == by_cursor["items"]
    assert first["total"] == second["total"] == by_cursor["total"]
