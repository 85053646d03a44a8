"""Keys as people use them: places and grants, keys made by keys, rotation and end, wrong keys, `mailroom keys`."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.rights import SCOPES, Access
from tests.support.serving import client, make_mailroom, read_and_index, serving
from tests.unit.pipeline.test_rights import specified_may_name, specified_may_write
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.services.keys import access_for, seconds_of

SEED, UPLOADS, CHANGES = 20261129, 300, 150


@dataclass
class Place:
    """A served installation with a tray named "tray", and its administrator."""

    mailroom: Mailroom
    url: str
    root: httpx.Client

    def client(self, *scopes: str, **rights: Any) -> httpx.Client:
        """Return a client with a key of these rights, for Ann unless ``principals`` say otherwise."""
        access = access_for(rights.pop("principals", ["user:ann"]), scopes, **rights)
        return self.with_secret(self.mailroom.catalogue.keys.create("test", access)[1])

    def with_secret(self, secret: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("keys"), **{"catalogue.url": "memory:"})
    with serving(mailroom) as url:
        yield Place(mailroom, url, client(url, mailroom, admin=True))
    mailroom.close()


def send(who: httpx.Client, content: bytes = b"", path: str = "a.txt", **fields: Any) -> httpx.Response:
    """Send a document; without ``content`` it is one that nobody sent before."""
    content = content or secrets.token_bytes(8)
    return who.post("/v1/documents", content=content, params={"path": path, **fields})


def test_a_key_sends_to_its_places_only_and_the_refusal_names_them(place: Place) -> None:
    scanner = place.client("upload", sources=["scans", "contracts/new"])
    assert send(scanner, source="scans", path="hr/a.txt").status_code == 202
    assert send(scanner, source="contracts", path="new/2026/a.txt").status_code == 202
    for fields in ({}, {"source": "contracts"}, {"source": "contracts", "path": "newer/a.txt"}, {"source": "Scans"}):
        refused = send(scanner, **fields)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "contracts/new, scans, not to " in refused.json()["detail"]
    assert send(place.client("upload", sources=["tray"]), source="tray").status_code == 400  # trays take no uploads


def test_a_refused_form_leaves_no_bytes(place: Place) -> None:
    before = {*place.mailroom.blobs.digests()}
    form = {"source": "elsewhere"}
    refused = place.client("upload").post("/v1/documents", data=form, files={"file": ("a.txt", b"left behind?")})
    assert refused.status_code == 403
    assert {*place.mailroom.blobs.digests()} == before


def test_a_key_names_its_own_principals_and_its_grants(place: Place) -> None:
    ann = place.client("upload", "read", grants=["group:hr", "team:*"])
    for access in ("user:ann", "user:ann,group:hr,team:blue"):
        assert send(ann, access=access).status_code in (200, 202)
    for access in ("*", "user:bob", "user:ann,group:board", "team", "group:hr2"):
        refused = send(ann, access=access)
        assert refused.status_code == 403
        assert "user:ann, group:hr, team:*" in refused.json()["detail"]
    assert send(place.client("upload", grants=["*"]), access="*").status_code == 202
    assert send(place.root, access="*,user:bob", source="anywhere").status_code == 202


def test_generated_uploads_go_where_the_specification_lets_them(place: Place) -> None:
    """Random keys and uploads: 202 or 403 as the plain rule says; a document of a refused one is never there."""
    chance = random.Random(SEED)
    sources, folders = ["api", "hr", "HR", "hr2"], ["", "pay", "pay/2026", "payroll", "./pay"]
    places = ["*", "api", "hr", "hr/pay", "hr//pay/", "hr2/pay/2026", "HR/./pay"]
    names = ["*", "user:ann", "user:bob", "group:hr", "group:hrx"]
    keys = []
    for _ in range(25):
        rights = {"sources": chance.sample(places, chance.randint(0, 2)), "principals": chance.sample(names, 1)}
        rights["grants"] = chance.sample([*names, "user:*", "group:hr*"], chance.randint(0, 2))
        access = access_for(rights["principals"], ["upload"], rights["sources"], rights["grants"])
        keys.append((access, place.client("upload", **rights)))
    accepted = 0
    for number in range(UPLOADS):
        access, who = chance.choice(keys)
        source, folder = chance.choice(sources), chance.choice(folders)
        named = chance.sample(names, chance.randint(0, 2))
        fields = {"source": source, "path": f"{folder}/{number}.txt".lstrip("/")} | ({"access": named} if named else {})
        allowed = specified_may_write(access, source, folder) and all(specified_may_name(access, n) for n in named)
        answer = send(who, str(number).encode(), **fields)
        assert answer.status_code == (202 if allowed else 403), (access, fields, answer.text)
        accepted += allowed
    assert UPLOADS // 10 < accepted < UPLOADS - UPLOADS // 10
    stored = place.root.get("/v1/documents", params={"limit": 1}).json()["total"]
    assert stored >= accepted


def test_a_new_label_needs_the_scope_taxonomy_too(place: Place) -> None:
    sent = send(place.root, b"an invoice", access="*").json()
    document = read_and_index(place.mailroom, sent["id"], "An invoice.", "invoice").id
    reviewer, officer = place.client("review"), place.client("review", "taxonomy")
    address = f"/v1/documents/{document}/approve"
    for body in ({"label": "=cmd|calc", "new": True}, {"labels": ["invoice", "brand-new"], "new": True}):
        refused = reviewer.post(address, json=body)
        assert (refused.status_code, "taxonomy" in refused.json()["detail"]) == (403, True)
    labels = place.mailroom.taxonomy.labels()
    assert reviewer.post(address, json={"label": "no such label"}).status_code in ({400, 404} if labels else {403})
    assert officer.post(address, json={"label": "brand-new", "new": True}).status_code == 200
    assert reviewer.post(address, json={"label": "brand-new"}).status_code == 200


def test_the_scope_access_reaches_the_key_s_places_and_grants_only(place: Place) -> None:
    hr = place.client("access", sources=["people/hr"], grants=["group:hr", "user:*"], principals=["service:sync"])
    rule = {"effect": "allow", "principal": "group:hr", "source": "people", "folder": "hr/pay"}
    assert hr.post("/v1/access", json=rule).status_code == 201
    own = send(place.root, b"hr's", source="people", path="hr/a.txt", access="user:zoe").json()["id"]
    other = send(place.root, b"board's", source="people", path="board/a.txt", access="user:zoe").json()["id"]
    rule = {"effect": "only", "principal": "user:bob", "document_id": own}
    assert hr.post("/v1/access", json=rule).status_code == 201
    place.root.post("/v1/access", json={"effect": "deny", "principal": "user:bob", "source": "people"})
    for status, change in (
        (403, {"effect": "allow", "principal": "group:hr", "source": "people"}),
        (403, {"effect": "allow", "principal": "group:hr", "source": "people", "folder": "board"}),
        (403, {"effect": "allow", "principal": "*", "source": "people", "folder": "hr"}),
        (403, {"effect": "deny", "principal": "group:board", "source": "people", "folder": "hr"}),
        (404, {"effect": "allow", "principal": "user:bob", "document_id": other}),
        (404, {"effect": "allow", "principal": "user:bob", "document_id": "0" * 32}),
    ):
        assert hr.post("/v1/access", json=change).status_code == status, change
        assert hr.delete("/v1/access", params=change).status_code == status, change
    listed = hr.get("/v1/access").json()["items"]
    assert {(item["folder"], item["document_id"]) for item in listed} == {("hr/pay", None), (None, own)}
    assert hr.get("/v1/access", params={"source": "people"}).status_code == 403
    ask = {"principal": "user:bob"}
    assert hr.get("/v1/access/explain", params=ask | {"document_id": own}).status_code == 200
    assert hr.get("/v1/access/explain", params=ask | {"document_id": other}).status_code == 404
    assert hr.post("/v1/groups", json={"name": "group:hr", "members": ["user:bob"]}).status_code == 200
    assert hr.post("/v1/groups", json={"name": "group:board", "members": ["user:bob"]}).status_code == 403
    assert hr.post("/v1/groups", json={"name": "group:hr", "members": ["group:board"]}).status_code == 403
    place.root.post("/v1/groups", json={"name": "group:board", "members": ["user:zoe"]})
    assert [group["name"] for group in hr.get("/v1/groups").json()["items"]] == ["group:hr"]
    assert hr.delete("/v1/groups", params={"name": "group:board", "member": "user:zoe"}).status_code == 403


def test_no_chain_of_generated_keys_gains_a_right(place: Place) -> None:
    """Keys with the scope admin make, rotate and revoke random keys: what they make or take over has no more rights."""
    chance = random.Random(SEED)
    places, grants = ["*", "api", "hr", "hr/pay"], ["*", "user:*", "user:ann", "group:hr"]

    def rights() -> dict[str, Any]:
        scopes = {"admin", *chance.sample(sorted(SCOPES), chance.randint(0, 2))}
        lists = {"sources": chance.sample(places, chance.randint(1, 2)), "grants": chance.sample(grants, 1)}
        ends = {"expires": chance.choice(["1h", "2h"])} if chance.random() < 0.3 else {}
        return {"scopes": sorted(scopes), "principals": chance.sample(grants, 1), **lists, **ends}

    first = place.root.post("/v1/keys", json={"name": "first"} | rights()).json()
    valid, refused = {first["id"]: first["key"]}, 0
    for _ in range(CHANGES):
        creator_id = chance.choice([*valid])
        creator = place.mailroom.catalogue.keys.check(valid[creator_id])
        with place.with_secret(valid[creator_id]) as who:
            if chance.random() < 0.7:
                answer = who.post("/v1/keys", json={"name": "k", "admin": chance.random() < 0.1} | rights())
            else:
                answer = who.post(f"/v1/keys/{chance.choice([*valid])}/rotate", json={"overlap": "1h"})
        if answer.status_code == 403:
            refused += 1
            continue
        new = place.mailroom.catalogue.keys.check(answer.json()["key"])
        _assert_no_more(creator, new)
        valid[answer.json()["id"]] = answer.json()["key"]
        if chance.random() < 0.4:  # somebody else's key, so that there are strangers to take over
            stranger = place.root.post("/v1/keys", json={"name": "other"} | rights()).json()
            valid[stranger["id"]] = stranger["key"]
    assert CHANGES // 10 < refused < CHANGES


def _assert_no_more(creator: Access, new: Access) -> None:
    """Compare what both may do, for each place and principal that occurs, by the plain specification."""
    assert new.scopes <= creator.scopes and not new.caller.admin
    for source, folder in (("api", ""), ("hr", ""), ("hr", "pay"), ("else", "")):
        assert specified_may_write(creator, source, folder) or not specified_may_write(new, source, folder)
    for principal in ("*", "user:ann", "user:bob", "group:hr", "group:x"):
        assert specified_may_name(creator, principal) or not specified_may_name(new, principal)
    assert (new.expires_at or 1e12) <= (creator.expires_at or 1e12)


def test_an_administrator_s_key_is_no_other_key_s_to_rotate_or_revoke(place: Place) -> None:
    _, secret = place.mailroom.catalogue.keys.create("root", access_for([], [], admin=True))
    root_id = place.with_secret(secret).get("/v1/me").json()["key_id"]
    clerk = place.client(*SCOPES, sources=["*"], grants=["*"])
    assert clerk.post(f"/v1/keys/{root_id}/rotate", json={}).status_code == 403
    assert clerk.delete(f"/v1/keys/{root_id}").status_code == 403
    assert clerk.post("/v1/keys", json={"name": "x", "admin": True}).status_code == 403
    assert place.with_secret(secret).get("/v1/me").status_code == 200


def test_a_rotated_key_owns_what_it_sent(place: Place) -> None:
    new = {"name": "robot", "scopes": ["read", "upload", "delete"], "principals": ["service:robot"]}
    robot = place.root.post("/v1/keys", json=new).json()
    sent = send(place.with_secret(robot["key"]), b"the robot's").json()
    rotated = place.root.post(f"/v1/keys/{robot['id']}/rotate", json={"overlap": "1h", "expires": "90d"}).json()
    assert rotated["id"] == robot["id"] and rotated["rotated_by"].startswith("key:")
    for secret in (robot["key"], rotated["key"]):
        me = place.with_secret(secret).get("/v1/me").json()
        assert (me["key_id"], me["scopes"]) == (robot["id"], ["delete", "read", "upload"])
    assert place.with_secret(rotated["key"]).delete(sent["href"]).status_code in (200, 204)
    again = place.root.post(f"/v1/keys/{robot['id']}/rotate", json={"overlap": "0"}).json()
    statuses = [place.with_secret(s).get("/v1/me").status_code for s in (again["key"], rotated["key"], robot["key"])]
    assert statuses == [200, 401, 401]
    assert place.root.delete(f"/v1/keys/{robot['id']}").status_code == 204
    assert place.root.delete(f"/v1/keys/{robot['id']}").status_code == 404
    (listed,) = [key for key in place.root.get("/v1/keys").json()["items"] if key["id"] == robot["id"]]
    assert listed["revoked_by"].startswith("key:") and listed["revoked_at"]
    assert not {"key", "hash", "salt"} & {*listed}


def test_a_key_that_has_expired_says_when(place: Place) -> None:
    access = Access(access_for([], []).caller, frozenset({"read"}), expires_at=time.time() - 60)
    _, secret = place.mailroom.catalogue.keys.create("visitor", access)
    answer = place.with_secret(secret).get("/v1/me")
    assert (answer.status_code, "expired on" in answer.json()["detail"]) == (401, True)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"scopes": ["write"]}, "write"), ({"scopes": []}, "scopes"), ({"expires": "90"}, "duration"),
        ({"expires": "0"}, "expires"), ({"expires": "1y"}, "duration"), ({"sources": ["/hr"]}, "sources"),
        ({"sources": [""]}, "sources"), ({"grants": ["a\n"]}, "grants"), ({"name": ""}, "name"), ({"key": "x"}, "key"),
    ],
)  # fmt: skip
def test_a_key_that_makes_no_sense_is_refused(place: Place, body: dict, word: str) -> None:
    answer = place.root.post("/v1/keys", json={"name": "n"} | body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")
    assert word in answer.json()["detail"]


def test_durations() -> None:
    texts = ("0", "30m", "24h", "90d", "2w", "999999999w")
    assert [seconds_of(text) for text in texts] == [0, 1800, 86400, 7776000, 1209600, 3653 * 86400]


def test_wrong_keys_slow_their_address_and_nobody_else(tmp_path: Path) -> None:
    """Guesses from one address get 429 with the seconds to wait; other addresses and keys in use there go on."""
    mailroom = make_mailroom(tmp_path, **{"catalogue.url": "memory:", "api.wrong_keys_per_minute": "2"})
    with serving(mailroom) as url:
        place = Place(mailroom, url, client(url, mailroom, admin=True))
        reader, late = place.client("read"), place.client("read")
        for who in (reader, place.root):
            assert who.get("/v1/me").status_code == 200
        guesses = [place.with_secret(f"mr_{number:012x}_{'0' * 64}").get("/v1/me") for number in range(10)]
        assert [answer.status_code for answer in guesses] == [401] * 2 + [429] * 8
        assert 1 <= int(guesses[-1].headers["retry-after"]) <= 30
        assert guesses[-1].json()["code"] == "too-many-requests"
        assert (reader.get("/v1/me").status_code, late.get("/v1/me").status_code) == (200, 429)
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=url, headers=late.headers, transport=elsewhere) as other:
            assert other.get("/v1/me").status_code == 200
        assert httpx.get(f"{url}/v1/me").status_code == 401  # without a key nothing is guessed
        assert 'mailroom_wrong_keys_total{outcome="slowed"} 9.0' in place.root.get("/metrics").text
    mailroom.close()


@pytest.mark.parametrize("by_url", [False, True])
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], by_url: bool) -> None:
    """`mailroom keys` on the data folder and with --url: the same output, and the same refusals."""
    mailroom = make_mailroom(tmp_path / "data")
    _, secret = mailroom.catalogue.keys.create("root", access_for([], [], admin=True), "setup")
    with serving(mailroom) as url:
        options = ["--url", url, "--key", secret] if by_url else ["--data", str(mailroom.settings.home)]

        def keys(*words: str) -> tuple[int, str, str]:
            code = main([*options, "keys", *words])
            streams = capsys.readouterr()
            return code, streams.out, streams.err

        rights = ["--scope", "upload", "--source", "scans", "--grant", "group:hr", "--principal", "user:ann"]
        code, output, message = keys("create", "scanner", *rights, "--expires", "90d")
        assert code == exits.OK and output.startswith("mr_") and "shown this once" in message
        access = mailroom.catalogue.keys.check(output.strip())
        assert (access.sources, access.grants, access.scopes) == (("scans",), ("group:hr",), {"upload"})
        assert access.expires_at == pytest.approx(time.time() + 90 * 86400, abs=60)
        key_id = access.caller.key_id
        code, rotated, message = keys("rotate", key_id, "--overlap", "1h")
        assert code == exits.OK and "the one before is valid until 20" in message
        assert mailroom.catalogue.keys.check(rotated.strip()) == mailroom.catalogue.keys.check(output.strip())
        listed = keys("list")[1]
        assert all(word in listed for word in (key_id, "scans", "group:hr", "until 20", "rotated 20", "never"))
        items = json.loads(keys("list", "--json")[1])["items"]
        assert [item["name"] for item in items] == ["root", "scanner"]
        assert keys("revoke", key_id)[0] == exits.OK
        assert keys("revoke", key_id)[0] == keys("rotate", key_id)[0] == exits.NOT_FOUND
        assert "revoked 20" in keys("list")[1]
        assert keys("create", "x", "--scope", "write")[0] == exits.USAGE
        assert keys("create", "x", "--expires", "soon")[0] == exits.USAGE
    mailroom.close()
