"""Documents of several people over REST, by the real path in: known contents, revisions, mails and their erasure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import pytest

from pipeline.documents import QueueName
from tests.support.serving import client, make_mailroom, serving
from tests.support.tiny import make_classifier, make_embedder
from workers.assemble import Mailroom

SCOPES = ("read", "upload", "delete", "review")
WORDS = ["contract", "notice", "period", "months", "rent", "pump", "agenda", "falcon", "three", "six"]
#: Answers differ in these fields whatever was sent.
OWN = {"id", "href", "content_hash", "received_at", "finished_at", "sent_by", "access", "path", "name", "at", "seconds"}
OWN |= {"arrived_at", "generation"}


@dataclass
class Office:
    """A served installation; `work` is the workers."""

    mailroom: Mailroom
    ann: httpx.Client
    bob: httpx.Client
    root: httpx.Client
    parsed: list[str] = field(default_factory=list)

    def work(self) -> None:
        """Run every due job to its end."""
        while jobs := self.mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60):
            self.mailroom.ingest.run(jobs[0])
        self.mailroom.indexer().step()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    root = tmp_path_factory.mktemp("places")
    embedder = make_embedder(root / "models", "1", WORDS)
    classifier = make_classifier(root / "models", "1", {"contract": ["notice"], "minutes": ["agenda"]})
    settings = {"models.embedder": str(embedder.path), "models.classifier": str(classifier.path)}
    mailroom = make_mailroom(root / "data", **settings)
    with serving(mailroom) as url:
        people = [client(url, mailroom, [name], SCOPES) for name in ("user:ann", "user:bob")]
        place = Office(mailroom, *people, client(url, mailroom, admin=True))
        parse = mailroom.parser.parse

        def counted(content: Any, name: str) -> Any:
            place.parsed.append(name)
            return parse(content, name)

        mailroom.parser.parse = counted  # type: ignore[method-assign]  # counts, and does the same
        yield place
    mailroom.close()


def send(who: httpx.Client, text: str | bytes, path: str, **fields: str) -> httpx.Response:
    content = text.encode() if isinstance(text, str) else text
    return who.post("/v1/documents", content=content, params={"path": path, **fields})


def names(who: httpx.Client, route: str, **params: Any) -> list[str]:
    items = who.get(route, params=params).raise_for_status().json()["items"]
    return [item.get("path") or item["text"] for item in items]


def texts(who: httpx.Client, query: str, **params: Any) -> list[str]:
    items = who.get("/v1/search", params={"query": query, **params}).raise_for_status().json()["items"]
    return [item["text"] for item in items]


def shape(value: Any) -> Any:
    """Return an answer without what differs between any two documents."""
    if isinstance(value, dict):
        return {name: shape(entry) for name, entry in value.items() if name not in OWN}
    return [shape(entry) for entry in value] if isinstance(value, list) else value


def test_a_known_content_answers_and_works_like_a_new_one(office: Office) -> None:
    """Bob sends what Ann sent before, and something new of the same length; nothing tells the two apart."""
    stored_text, new_text = (
        "The zebra falcon is larger.",
        "The larger falcon is zebra.",
    )
    hers = send(office.ann, stored_text, "board/secret.txt", metadata='{"project": "x"}', access="*").json()
    office.work()
    before = office.ann.get(f"{hers['href']}/record").json()
    stories = []
    for text, path in ((stored_text, "inbox/1.txt"), (new_text, "inbox/2.txt")):
        office.parsed.clear()
        answer = send(office.bob, text, path)
        href = answer.json()["href"]
        story = [(answer.status_code, sorted(answer.headers), shape(answer.json()))]
        story.append(shape(office.bob.get(href).json()))
        office.work()
        story.append(shape(office.bob.get(href).json()))
        record = office.bob.get(f"{href}/record").json()
        story.append([(event["stage"], event["event"], sorted(event["data"])) for event in record["events"]])
        story += [office.parsed.copy(), shape(send(office.bob, text, path).json())]
        stories.append(story)
        assert "secret" not in str(record) and hers["id"] not in str(record)
    assert stories[0][:-2] == stories[1][:-2]
    assert [len(story[-2]) for story in stories] == [1, 1]
    assert stories[0][-1] == stories[1][-1]
    assert office.ann.get(f"{hers['href']}/record").json() == before


def test_a_known_content_takes_as_long_as_a_new_one(office: Office) -> None:
    """Rounds of one known and one new content; the medians are of the same order, whatever else the machine does."""
    seconds: dict[str, list[float]] = {"stored": [], "new": []}
    text = "agenda " * 20_000
    send(office.ann, text, "timing.txt")
    for number in range(15):
        for kind, content in (("stored", text), ("new", f"{number:06d} {text[7:]}")):
            started = perf_counter()
            assert send(office.bob, content, f"timing/{kind}-{number}.txt").status_code == 202
            seconds[kind].append(perf_counter() - started)
    stored, new = median(seconds["stored"]), median(seconds["new"])
    assert 0.4 < stored / new < 2.5, f"stored {stored * 1000:.1f} ms, new {new * 1000:.1f} ms"
    for item in office.bob.get("/v1/documents", params={"folder": "timing", "limit": 100}).json()["items"]:
        office.bob.delete(f"/v1/documents/{item['id']}").raise_for_status()


def test_the_same_content_in_two_folders_is_found_under_each_and_once_in_all(office: Office) -> None:
    text = "The pump of the agenda."
    first = send(office.ann, text, "a/first.txt", access="*").json()
    second = send(office.ann, text, "b/second.txt", access="*").json()
    third = send(office.bob, text, "c/third.txt").json()
    office.work()
    for folder, path in (("a", "a/first.txt"), ("b", "b/second.txt")):
        assert names(office.ann, "/v1/search", query="pump", folder=folder) == [path]
    assert names(office.ann, "/v1/search", query="name:second") == ["b/second.txt"]
    (hit,) = office.ann.get("/v1/search", params={"query": "pump", "mode": "lexical"}).json()["items"]
    assert {hit["document_id"], *hit["duplicates"]} == {first["id"], second["id"]}
    (hit,) = office.bob.get("/v1/search", params={"query": "pump", "mode": "lexical"}).json()["items"]
    assert {hit["document_id"], *hit["duplicates"]} == {first["id"], second["id"], third["id"]}


def test_a_revision_replaces_the_one_before_everywhere(office: Office) -> None:
    """Searches, questions, suggestions, facets and lists take the newest; older ones on request and in the record."""
    old = send(office.ann, "The notice period of the contract is three months.", "lease.txt", access="*").json()
    office.work()
    new = send(office.ann, "The notice period of the contract is six months.", "lease.txt", access="*").json()
    assert len(texts(office.bob, "notice months contract", mode="lexical")) == 1  # the newer one is not searchable yet
    office.work()
    assert texts(office.bob, "+notice +contract +months") == ["The notice period of the contract is six months."]
    both = texts(office.bob, "+notice +contract +months", revisions="all")
    assert len(both) == 2
    answer = office.bob.post("/v1/ask", json={"question": "What is the notice period of the contract?"}).json()
    assert old["id"] not in str(answer)
    page = office.bob.get("/v1/documents", params={"label": "contract", "facets": "type"}).json()
    assert old["id"] not in str(page) and new["id"] in str(page)
    everything = office.bob.get("/v1/documents", params={"label": "contract", "revisions": "all"}).json()
    assert everything["total"] == page["total"] + 1
    assert office.bob.get(old["href"]).json()["superseded"] is True
    (older,) = office.bob.get(f"{new['href']}/record").json()["revisions"]
    assert (older["id"], older["superseded"]) == (old["id"], True)
    suggested = office.bob.get("/v1/suggest", params={"prefix": "lease"}).json()["items"]
    assert {item["document_id"] for item in suggested} == {new["id"]}
    assert office.ann.delete(new["href"]).status_code == 200
    assert texts(office.bob, "+notice +contract +months") == ["The notice period of the contract is three months."]
    assert office.bob.get(old["href"]).json()["superseded"] is False


def test_a_revision_of_somebody_else_replaces_nothing(office: Office) -> None:
    hers = send(office.ann, "The rent of ann.", "shared/rent.txt", access="*").json()
    office.work()
    send(office.bob, "The rent of bob.", "shared/rent.txt", access="*")
    office.work()
    assert sorted(texts(office.root, "+rent")) == ["The rent of ann.", "The rent of bob."]
    assert office.root.get(hers["href"]).json()["superseded"] is False


def mail(attachment: str) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Pump contract", "ann@example.org", "bob@example.org"
    message.set_content("The agenda is attached to this mail.")
    message.add_attachment(attachment.encode(), maintype="text", subtype="plain", filename="agenda.txt")
    return message.as_bytes()


def test_one_mail_at_two_places_has_its_attachment_at_each_and_loses_it_with_the_mail(office: Office) -> None:
    content = mail("The falcon agenda of six months.")
    receipts = [send(office.ann, content, f"{folder}/m.eml", access="*").json() for folder in ("in", "out")]
    office.work()
    office.work()
    listed = [sorted(names(office.ann, "/v1/documents", folder=folder)) for folder in ("in", "out")]
    assert listed == [[f"{folder}/m.eml", f"{folder}/m.eml/agenda.txt"] for folder in ("in", "out")]
    answer = office.ann.delete(receipts[0]["href"]).json()
    assert (answer["id"], len(answer["attachments"])) == (receipts[0]["id"], 1)
    assert names(office.ann, "/v1/documents", folder="in") == []
    assert len(names(office.ann, "/v1/documents", folder="out")) == 2
    attachment = office.root.get("/v1/documents", params={"folder": "out/m.eml"}).json()["items"][0]
    assert office.root.get(f"/v1/documents/{attachment['id']}/content").text.startswith("The falcon agenda")
    assert office.ann.delete(receipts[1]["href"]).status_code == 200
    assert attachment["content_hash"] not in set(office.mailroom.blobs.digests())
