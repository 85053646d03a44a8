"""The REST API as clients use it: uvicorn on a socket, SQLite and blobs on disk, two people with different rights."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline.documents import Document
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.services.keys import access_for

LIMIT = 1_000_000


@dataclass
class Place:
    """A served installation: the operator, Ann and Bob."""

    mailroom: Mailroom
    url: str
    root: httpx.Client
    ann: httpx.Client
    bob: httpx.Client


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("api"), **{"api.upload_max_bytes": str(LIMIT)})
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        ann = client(url, mailroom, ["user:ann"], ["read", "upload", "delete", "review"])
        bob = client(url, mailroom, ["user:bob"], ["read", "upload", "delete", "review"])
        yield Place(mailroom, url, root, ann, bob)
    mailroom.close()


def send(who: httpx.Client, content: bytes, name: str = "a.txt", **fields: str) -> httpx.Response:
    return who.post("/v1/documents", content=content, headers={"X-Filename": name}, params=fields)


def problem(response: httpx.Response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["code"], body["type"], body["status"]) == (code, f"/problems/{code}", status)
    assert "Traceback" not in response.text
    return body


@pytest.fixture(scope="module")
def lease(place: Place) -> Document:
    """Ann's lease, read and indexed."""
    receipt = send(place.ann, b"lease bytes", "lease.txt", path="legal/2026/lease.txt", labels="signed").json()
    return read_and_index(
        place.mailroom, receipt["id"], "The tenant may end the lease. The notice period is three months.", "contract"
    )


class TestUpload:
    def test_the_bytes_and_the_row_are_there_before_the_answer(self, place: Place) -> None:
        content = b"durable bytes" * 1000
        answer = send(place.ann, content, "r%C3%A4w.txt")
        assert answer.status_code == 202
        receipt = answer.json()
        assert answer.headers["location"] == receipt["href"]
        assert receipt["content_hash"] == hashlib.sha256(content).hexdigest()
        with place.mailroom.blobs.open(receipt["content_hash"]) as stored:
            assert stored.read() == content
        status = place.ann.get(receipt["href"]).json()
        assert (status["name"], status["state"], status["access"]) == ("räw.txt", "processing", ["user:ann"])

    def test_the_same_content_at_the_same_place_of_the_same_owner_is_one_document(self, place: Place) -> None:
        first, again = (send(place.ann, b"twice", "1.txt", metadata=f'{{"round": "{n}"}}') for n in (1, 2))
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json()["id"] == again.json()["id"]
        record = place.ann.get(f"{first.json()['href']}/record").json()
        assert [arrival["metadata"]["round"] for arrival in record["arrivals"]] == ["1", "2"]
        assert record["document"]["sent_by"] == "user:ann"

    def test_the_same_content_elsewhere_or_of_somebody_else_is_another_document(self, place: Place) -> None:
        answers = [send(place.ann, b"thrice", "1.txt"), send(place.ann, b"thrice", "2.txt")]
        answers += [send(place.ann, b"thrice", "1.txt", source="mail"), send(place.bob, b"thrice", "1.txt")]
        assert [answer.status_code for answer in answers] == [202] * 4
        assert len({answer.json()["id"] for answer in answers}) == 4

    def test_twenty_at_once_are_one_document(self, place: Place) -> None:
        answers: list[httpx.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(send(place.ann, b"at once"))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert [answer.json()["created"] for answer in answers].count(True) == 1

    def test_a_form_with_fields(self, place: Place) -> None:
        fields = {"labels": '["x", "y"]', "metadata": '{"sender": "Ostwind"}', "access": "user:ann,group:hr"}
        answer = place.ann.post("/v1/documents", data=fields, files={"file": ("form.txt", b"by form")})
        status = place.ann.get(answer.headers["location"]).json()
        assert (status["labels"], status["access"]) == (["x", "y"], ["group:hr", "user:ann"])
        assert status["metadata"] == {"sender": "Ostwind"}

    def test_an_idempotency_key_adds_nothing_twice(self, place: Place) -> None:
        headers = {"Idempotency-Key": "k-1", "X-Filename": "k.txt"}
        first = place.ann.post("/v1/documents", content=b"keyed", headers=headers)
        again = place.ann.post("/v1/documents", content=b"keyed", headers=headers)
        assert first.json()["id"] == again.json()["id"]
        assert len(place.ann.get(f"{first.json()['href']}/record").json()["arrivals"]) == 1
        other = place.ann.post("/v1/documents", content=b"other bytes", headers=headers)
        problem(other, 409, "conflict")
        assert hashlib.sha256(b"other bytes").hexdigest() not in set(place.mailroom.blobs.digests())
        assert place.bob.post("/v1/documents", content=b"bob's own", headers=headers).status_code == 202

    @pytest.mark.parametrize("announced", [True, False])
    def test_too_large_is_413_and_leaves_nothing(self, place: Place, announced: bool) -> None:
        before = set(place.mailroom.blobs.digests())
        content = b"x" * (LIMIT * 2)
        body = content if announced else iter([content[at : at + 65536] for at in range(0, len(content), 65536)])
        problem(place.ann.post("/v1/documents", content=body, headers={"X-Filename": "big"}), 413, "upload-too-large")
        assert set(place.mailroom.blobs.digests()) == before
        assert list((place.mailroom.settings.home / "blobs" / "tmp").iterdir()) == []

    def test_a_refused_form_leaves_no_bytes(self, place: Place) -> None:
        answer = place.ann.post("/v1/documents", data={"metadata": "{"}, files={"file": ("a", b"orphan")})
        problem(answer, 400, "bad-request")
        assert hashlib.sha256(b"orphan").hexdigest() not in set(place.mailroom.blobs.digests())

    def test_an_upload_that_breaks_off_leaves_nothing(self, place: Place) -> None:
        before = place.root.get("/v1/documents").json()["total"]
        where = urlsplit(place.url)
        with socket.create_connection((where.hostname, where.port)) as line:
            key = place.ann.headers["authorization"]
            line.sendall(f"POST /v1/documents?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n".encode())
            line.sendall(b"Content-Length: 1000\r\n\r\nonly this")
        assert place.root.get("/v1/documents").json()["total"] == before
        assert send(place.ann, b"after the break").status_code == 202

    def test_a_tray_s_name_cannot_be_claimed(self, place: Place) -> None:
        assert "tray" in problem(send(place.ann, b"x", source="tray"), 400, "bad-request")["detail"]


class TestReading:
    def test_search_and_ask(self, place: Place, lease: Document) -> None:
        page = place.ann.get("/v1/search", params={"query": "notice period", "explain": "true"}).json()
        without = {"query": "notice period", "explain": "true", "rerank": "false"}
        assert place.ann.get("/v1/search", params=without).json() == page
        refused = problem(place.ann.post("/v1/search", json={"query": "notice", "rerank": True}), 409, "contradictory")
        assert "models.reranker" in refused["detail"]
        (hit,) = [item for item in page["items"] if item["document_id"] == lease.id]
        assert {hit["text"][start:end].lower() for start, end in hit["highlights"]} >= {"notice", "period"}
        assert set(hit["explain"]) == {"lexical", "vector", "fused"}
        answer = place.ann.post("/v1/ask", json={"question": "How long is the notice period?"}).json()
        quote = answer["quotes"][0]
        assert answer["answered"]
        assert place.ann.get(quote["href"]).json()["text"] == quote["text"]

    @pytest.mark.parametrize(
        ("filters", "matches"),
        [
            ({}, True),
            ({"label": ["contract", "report"]}, True),
            ({"label": ["report"]}, False),
            ({"folder": "legal/2026"}, True),
            ({"folder": "legal/20"}, False),
            ({"source": ["api"], "media_type": ["text/plain"]}, True),
            ({"received_from": "2020-01-01"}, True),
            ({"received_to": "2020-01-01T00:00:00+02:00"}, False),
        ],
    )
    def test_filters(self, place: Place, lease: Document, filters: dict, matches: bool) -> None:
        body = {"query": "notice", "mode": "lexical", "filters": filters}
        hits = {item["document_id"] for item in place.ann.post("/v1/search", json=body).json()["items"]}
        listed = {item["id"] for item in place.ann.get("/v1/documents", params=filters).json()["items"]}
        assert (lease.id in hits, lease.id in listed) == (matches, matches)

    def test_pages_cover_everything_once(self, place: Place, lease: Document) -> None:
        ids: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = place.root.get("/v1/documents", params={"limit": 3, "offset": offset}).json()
            ids += [item["id"] for item in page["items"]]
            offset = page["next_offset"]
        assert len(ids) == len(set(ids)) == page["total"]

    def test_a_download_is_an_attachment_that_nothing_runs(self, place: Place, lease: Document) -> None:
        answer = place.ann.get(f"/v1/documents/{lease.id}/content")
        assert answer.content == b"lease bytes"
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]

    def test_retry(self, place: Place) -> None:
        receipt = send(place.ann, b"to retry").json()
        problem(place.ann.post(f"{receipt['href']}/retry"), 409, "conflict")
        read_and_index(place.mailroom, receipt["id"], "Some text to retry.")
        assert place.ann.post(f"{receipt['href']}/retry").json()["state"] == "processing"

    def test_erasure_is_immediate_and_takes_the_bytes(self, place: Place) -> None:
        receipt = send(place.ann, b"to erase").json()
        read_and_index(place.mailroom, receipt["id"], "The xylophone is to be erased.")
        assert place.ann.get("/v1/search", params={"query": "xylophone"}).json()["items"]
        answer = place.ann.delete(receipt["href"])
        erased = {"id": receipt["id"], "attachments": [], "erasure": answer.headers["Location"].rpartition("/")[2]}
        assert (answer.status_code, answer.json()) == (200, erased)
        erasure = place.ann.get(answer.headers["Location"]).json()
        assert (erasure["state"], erasure["documents"]) == ("running", [receipt["id"]])  # nothing runs the job here
        hits = place.root.get("/v1/search", params={"query": "xylophone", "mode": "lexical"}).json()
        assert (hits["items"], hits["total"]) == ([], 0)
        problem(place.ann.get(receipt["href"]), 404, "not-found")
        assert receipt["content_hash"] not in set(place.mailroom.blobs.digests())
        assert send(place.ann, b"to erase").json()["id"] != receipt["id"]


class TestAccess:
    def test_every_path_but_the_open_ones_needs_a_key(self, place: Place) -> None:
        paths = place.root.get("/openapi.json").json()["paths"]
        for path, verbs in paths.items():
            for verb in verbs:
                answer = httpx.request(
                    verb,
                    place.url + path.replace("{document_id}", "0" * 32).replace("{code}", "conflict"),
                    content=b"{broken",
                )
                if path in ("/healthz", "/readyz", "/problems", "/problems/{code}"):
                    assert answer.status_code == (503 if path == "/readyz" else 200)  # there is no broker
                else:
                    problem(answer, 401, "unauthorized")
        for path in ("/openapi.json", "/docs", "/nothing", "/"):
            problem(httpx.get(place.url + path), 401, "unauthorized")

    @pytest.mark.parametrize("value", ["", "Bearer", "Bearer x", "Bearer mr_x_y", "Basic YTpi", "Bearer " + "x" * 5000])
    def test_an_invalid_key_is_refused(self, place: Place, value: str) -> None:
        answer = httpx.get(f"{place.url}/v1/me", headers={"Authorization": value})
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"

    def test_a_revoked_key_ends_at_once_and_the_other_header_works(self, place: Place) -> None:
        key_id, secret = place.mailroom.catalogue.keys.create("short", access_for(["*"], ["read"]))
        headers = {"X-API-Key": secret}
        assert httpx.get(f"{place.url}/v1/me", headers=headers).json()["key_id"] == key_id
        place.mailroom.catalogue.keys.revoke(key_id)
        problem(httpx.get(f"{place.url}/v1/me", headers=headers), 401, "unauthorized")

    def test_scopes(self, place: Place, lease: Document) -> None:
        reader = client(place.url, place.mailroom, ["user:ann"], ["read"])
        scraper = client(place.url, place.mailroom, ["*"], ["metrics"])
        problem(send(reader, b"x"), 403, "forbidden")
        problem(reader.delete(f"/v1/documents/{lease.id}"), 403, "forbidden")
        problem(reader.get("/metrics"), 403, "forbidden")
        problem(scraper.get("/v1/documents"), 403, "forbidden")
        assert "mailroom_documents{" in scraper.get("/metrics").text

    def test_no_read_path_shows_another_s_document(self, place: Place, lease: Document) -> None:
        """Bob learns nothing of Ann's lease by any route: to him it is like a document that does not exist."""
        for verb, rest in (
            ("GET", ""),
            ("GET", "/content"),
            ("GET", "/text"),
            ("GET", "/record"),
            ("POST", "/retry"),
            ("DELETE", ""),
        ):
            forbidden = place.bob.request(verb, f"/v1/documents/{lease.id}{rest}")
            missing = place.bob.request(verb, f"/v1/documents/{'0' * 32}{rest}")
            problem(forbidden, 404, "not-found")
            assert forbidden.json()["detail"] == missing.json()["detail"]
        listed = place.bob.get("/v1/documents", params={"folder": "legal"}).json()
        page = place.bob.post("/v1/search", json={"query": "notice period lease"}).json()
        answer = place.bob.post("/v1/ask", json={"question": "How long is the notice period of the lease?"})
        assert (listed["items"], listed["total"]) == ([], 0)
        assert lease.id not in str(page)
        assert not answer.json()["answered"]
        assert "three months" not in answer.text

    @pytest.mark.parametrize("access", ["user:ann", "*"])
    def test_sending_another_s_content_shows_nothing_of_it_and_changes_nothing(self, place: Place, access: str) -> None:
        text = f"secret of ann for {access}"
        fields = {"path": "ann/ann-only-name.txt", "access": access, "metadata": '{"project": "Falcon"}'}
        hers = send(place.ann, text.encode(), "ann-only-name.txt", **fields).json()
        read_and_index(place.mailroom, hers["id"], text)
        before = place.ann.get(f"{hers['href']}/record").json()
        answer = send(place.bob, text.encode(), "bob.txt")
        receipt, new = answer.json(), send(place.bob, f"{access} is new".encode(), "new.txt").json()
        assert (answer.status_code, receipt["id"] != hers["id"]) == (202, True)
        own = dict.fromkeys(("id", "href", "content_hash", "size"))
        assert {**receipt, **own} == {**new, **own}
        record = place.bob.get(f"{receipt['href']}/record").json()
        assert not any(word in str(record) for word in ("ann-only-name", "Falcon", "user:ann", hers["id"]))
        assert place.bob.delete(receipt["href"]).status_code == 200
        assert place.ann.get(f"{hers['href']}/record").json() == before
        assert place.ann.get(f"{hers['href']}/content").text == text

    def test_only_its_owner_or_an_administrator_erases_a_document(self, place: Place) -> None:
        receipts = [send(place.ann, f"for all {n}".encode(), f"{n}.txt", access="*").json() for n in range(2)]
        problem(place.bob.delete(receipts[0]["href"]), 403, "forbidden")
        assert place.ann.get(receipts[0]["href"]).status_code == 200
        assert place.ann.delete(receipts[0]["href"]).status_code == 200
        assert place.root.delete(receipts[1]["href"]).status_code == 200


class TestBadRequests:
    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("k", {"query": "a", "k": 10**9}),
            ("query", {"query": " "}),
            ("query", {"query": "x" * 4001}),
            ("query", {"query": "a\x00b"}),
            ("query", {}),
            ("mode", {"query": "a", "mode": "magic"}),
            ("offset", {"query": "a", "offset": -1}),
            ("filters.label", {"query": "a", "filters": {"label": ["x"] * 1000}}),
            ("filters.folder", {"query": "a", "filters": {"folder": "\x00"}}),
            ("surprise", {"query": "a", "surprise": 1}),
        ],
    )
    def test_the_field_is_named(self, place: Place, field: str, body: dict) -> None:
        refusal = problem(place.ann.post("/v1/search", json=body), 400, "bad-request")
        assert field in {error["field"] for error in refusal["errors"]}

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[" * 60_000, b"[" * 2_000_000, b'{"query":"a","k":' + b"9" * 6000 + b"}", b"\xff\xfe"]
    )
    def test_a_body_that_is_not_json(self, place: Place, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        problem(place.ann.post("/v1/search", content=body, headers=headers), 400, "bad-request")

    @pytest.mark.parametrize("announced", [True, False])
    def test_a_body_that_is_too_large(self, place: Place, announced: bool) -> None:
        content = b'{"query":"' + b"a" * 3_000_000 + b'"}'
        body = content if announced else iter([content[:70_000], content[70_000:]])
        headers = {"Content-Type": "application/json"}
        problem(place.ann.post("/v1/search", content=body, headers=headers), 413, "upload-too-large")

    @pytest.mark.parametrize("path", ["/v1/documents/..%2f..%2fetc%2fpasswd", "/v1/documents/%00", "/v1/nothing", "//"])
    def test_an_unknown_path(self, place: Place, path: str) -> None:
        problem(place.ann.get(path), 404, "not-found")

    def test_an_unknown_method(self, place: Place) -> None:
        answer = place.ann.patch("/v1/search")
        problem(answer, 405, "bad-request")
        assert "POST" in answer.headers["allow"]

    @pytest.mark.parametrize(
        "query", ["(a+)+$", "[", 'name:"', "a AND OR", "/.*/", "*", "-", "a" * 2000, "\u202e\U0001f4a9"]
    )
    def test_a_strange_query_is_answered_or_refused(self, place: Place, query: str) -> None:
        for mode in ("hybrid", "lexical", "vector"):
            answer = place.ann.get("/v1/search", params={"query": query, "mode": mode})
            assert answer.status_code == 200 or problem(answer, 400, "bad-query")

    def test_an_unexpected_error_is_reported_without_a_trace(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("canary in the trace")

        monkeypatch.setattr(place.mailroom.search, "search", broken)
        answer = place.ann.get("/v1/search", params={"query": "a"})
        problem(answer, 500, "internal")
        assert "canary" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_full_disk_is_507(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("indexes.blobs.folder._write", full)
        problem(send(place.ann, b"no room"), 507, "disk-full")


def test_health_metrics_and_jobs(place: Place) -> None:
    health = httpx.get(f"{place.url}/healthz").json()
    assert (health["catalogue"], health["broker"], health["status"]) == ("ok", "unavailable", "degraded")
    jobs = place.root.get("/v1/jobs").json()
    assert jobs["broker"] is None
    assert {row["queue"] for row in jobs["jobs"] if row["stage"] != "erase"} == {"ingest"}
    metrics = place.root.get("/metrics").text
    assert 'mailroom_requests_total{method="GET",route="/healthz",status="200"}' in metrics
    assert not any(part in metrics for part in ("user:", "lease.txt"))


def test_a_problem_s_type_leads_to_its_description(place: Place) -> None:
    body = problem(place.ann.get("/v1/nothing"), 404, "not-found")
    assert httpx.get(place.url + body["type"]).json() == {"code": "not-found", "title": body["title"]}


def test_the_event_loop_stays_free_while_an_upload_dawdles(place: Place) -> None:
    where, key = urlsplit(place.url), place.ann.headers["authorization"]
    lines = [socket.create_connection((where.hostname, where.port)) for _ in range(20)]
    try:
        for number, line in enumerate(lines):
            head = f"POST /v1/documents?name={number} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
            line.sendall(f"{head}Content-Length: 1000\r\n\r\nx".encode())
        assert place.ann.get("/v1/documents", timeout=5).status_code == 200
        assert httpx.get(f"{place.url}/healthz", timeout=10).status_code == 200
    finally:
        for line in lines:
            line.close()


def test_a_port_in_use_is_reported(place: Place, tmp_path: Path) -> None:
    from pipeline.errors import Misconfigured
    from workers.api.serve import bind

    mailroom = make_mailroom(tmp_path, **{"api.port": str(urlsplit(place.url).port)})
    with pytest.raises(Misconfigured, match=r"api\.port"):
        bind(mailroom.settings)
