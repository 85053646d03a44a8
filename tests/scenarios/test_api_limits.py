"""Requests that take long or come in masses, over real sockets: health, keys and searches do not wait for them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom


@dataclass
class Busy:
    """An API whose explanations last until `end` is set."""

    mailroom: Mailroom
    url: str
    document: str
    end: threading.Event


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    mailroom, end = make_mailroom(tmp_path, **{"api.max_requests_per_key": "100"}), threading.Event()
    with serving(mailroom) as url, client(url, mailroom) as ann:
        document = ann.post("/v1/documents", content=b"lease", params={"name": "lease.txt"}).json()["id"]
        read_and_index(mailroom, document, "The notice period of the lease is three months.", "contract")
        explain = mailroom.explainer.explain

        def slow(*arguments: object) -> object:
            end.wait(60)
            return explain(*arguments)

        monkeypatch.setattr(mailroom.explainer, "explain", slow)
        yield Busy(mailroom, url, document, end)
        end.set()
    mailroom.close()


def test_sixty_explanations_leave_the_rest_usable(busy: Busy) -> None:
    with client(busy.url, busy.mailroom) as ann, client(busy.url, busy.mailroom) as bob, ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(ann.get, f"/v1/documents/{busy.document}/why") for _ in range(60)]
        refused = [answer for answer in done_within(waiting, 20) if answer.status_code == 429]
        assert refused
        for answer in refused:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
        for _ in range(5):
            assert httpx.get(f"{busy.url}/healthz", timeout=10).status_code == 200
            assert bob.get("/v1/me", timeout=10).status_code == 200
            assert bob.get("/v1/search", params={"query": "lease"}, timeout=10).json()["items"]
        busy.end.set()
        answers = Counter(answer.result().status_code for answer in waiting)
        assert answers[200] == 60 - len(refused)
        assert set(answers) == {200, 429}
        assert bob.get(f"/v1/documents/{busy.document}/why", timeout=60).status_code == 200


def done_within(futures: list[Future[httpx.Response]], seconds: float) -> list[httpx.Response]:
    """Return the answers that come while the explanations last."""
    done, _ = wait(futures, timeout=seconds / 10)
    while len(done) < len(futures) // 2 and seconds > 0:
        done, _ = wait(futures, timeout=1)
        seconds -= 1
    return [future.result() for future in done]


def test_another_key_still_gets_its_turn(busy: Busy) -> None:
    """One key takes half of the places at most."""
    with client(busy.url, busy.mailroom) as ann, client(busy.url, busy.mailroom) as bob, ThreadPoolExecutor(61) as pool:
        waiting = [pool.submit(ann.get, f"/v1/documents/{busy.document}/why") for _ in range(60)]
        done_within(waiting, 20)
        answer = pool.submit(bob.get, f"/v1/documents/{busy.document}/why")
        busy.end.set()
        assert answer.result(60).status_code == 200


def test_a_key_over_its_limits_is_429(tmp_path: Path) -> None:
    settings = {"api.requests_per_second_per_key": "2", "api.max_requests_per_key": "3"}
    mailroom = make_mailroom(tmp_path, **settings)
    with serving(mailroom) as url, client(url, mailroom) as ann, client(url, mailroom) as bob:
        answers = [ann.get("/v1/me") for _ in range(12)]
        assert 4 <= [answer.status_code for answer in answers].count(200) < 12
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("too-many-requests", "5")
        assert bob.get("/v1/me").status_code == 200
        assert httpx.get(f"{url}/healthz").status_code == 200
    mailroom.close()
