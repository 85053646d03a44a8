"""Personal data is hidden in every JSON response to keys without the scope, and visible to the others."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from pipeline.errors import Misconfigured
from pipeline.personal_data.kinds import KINDS
from pipeline.rights import SCOPES
from tests.benchmarks.personal_data import NAMES, Values
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.settings import load_settings

SEED = 20261129
DOCUMENTS = 10


@dataclass
class Place:
    mailroom: Mailroom
    root: httpx.Client
    clerk: httpx.Client
    officer: httpx.Client
    #: document -> its values
    values: dict[str, list[str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    overrides = {"privacy.redact": json.dumps(KINDS), "privacy.downloads": "false", "catalogue.url": "memory:"}
    mailroom = make_mailroom(tmp_path_factory.mktemp("redaction"), **overrides)
    makers, source = Values(random.Random(SEED)).makers, random.Random(SEED)
    values: dict[str, list[str]] = {}
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        for number in range(DOCUMENTS):
            kinds = source.sample(sorted(NAMES), 4)
            own = [makers[kind]() for kind in kinds]
            text = "The pump was paid by the tenant. " + " ".join(
                f"His {source.choice(NAMES[kind])} is {value}, and the pump runs."
                for kind, value in zip(kinds, own, strict=True)
            )
            fields = {"metadata": json.dumps({"author": makers["email"]()}), "name": f"{makers['iban']()}.txt"}
            receipt = root.post("/v1/documents", content=str(number).encode(), params=fields).json()
            read_and_index(mailroom, receipt["id"], text, title=f"Letter of {makers['email']()}")
            values[receipt["id"]] = [*own, json.loads(fields["metadata"])["author"], fields["name"][:-4]]
        scopes = [scope for scope in SCOPES if scope != "personal-data"]
        clerk = client(url, mailroom, ["*"], scopes)
        yield Place(mailroom, root, clerk, client(url, mailroom, ["*"], ["read", "personal-data"]), values)
    mailroom.close()


def responses(caller: httpx.Client, document_id: str) -> list[httpx.Response]:
    """Ask for everything that says something of a document."""
    routes = ("", "/text", "/text?start=40&end=75", "/record", "/similar")
    answers = [caller.get(f"/v1/documents/{document_id}{route}") for route in routes]
    answers.append(caller.get("/v1/search", params={"query": "pump tenant", "k": 50, "per_document": 3}))
    answers.append(caller.post("/v1/ask", json={"question": "Who paid the pump?"}))
    answers.append(caller.get("/v1/documents", params={"limit": 100, "facets": "owner,personal_data,metadata.author"}))
    assert all(answer.status_code == 200 for answer in answers), [answer.text[:200] for answer in answers]
    return answers


def test_no_value_of_a_redacted_kind_is_in_any_answer(place: Place) -> None:
    everything = [value for values in place.values.values() for value in values]
    visible = 0
    for document_id in place.values:
        for answer in responses(place.clerk, document_id):
            text = json.dumps(answer.json(), ensure_ascii=False)
            assert not [value for value in everything if value in text], answer.url
        visible += sum(value in place.officer.get(f"/v1/documents/{document_id}/text").text for value in everything)
    assert visible >= 4 * len(place.values)


def test_highlights_stand_where_the_words_stand(place: Place) -> None:
    items = place.clerk.get("/v1/search", params={"query": "pump", "k": 50}).json()["items"]
    words = {item["text"][start:end].lower() for item in items for start, end in item["highlights"]}
    assert items and words == {"pump"} and all("[" in item["text"] for item in items)


def test_originals_are_refused_or_given(place: Place) -> None:
    document_id = next(iter(place.values))
    refused = place.clerk.get(f"/v1/documents/{document_id}/content")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert place.officer.get(f"/v1/documents/{document_id}/content").status_code == 200
    assert place.root.get(f"/v1/documents/{document_id}/content").status_code == 200


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Misconfigured, match="ibann"):
        load_settings({"privacy.redact": '["ibann"]'}, environ={})
