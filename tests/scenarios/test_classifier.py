"""The active classifier changes while workers run: each document is classified and filed by one version, no restart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from pipeline.documents import Document, State
from pipeline.questions import Filters
from tests.scenarios.running import Running, letters, wait_for
from tests.support.serving import client, make_mailroom, read_and_index, serving
from tests.support.tiny import make_classifier
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main

WORDS = {"invoice": ("invoice", "total"), "letter": ("dear", "regards")}
RENAMED = {"bill": ("invoice", "total"), "mail": ("dear", "regards")}
#: What a version calls a letter.
LETTER = {"tiny@1": "letter", "tiny@2": "mail"}


def mailroom_of(home: Path) -> Mailroom:
    mailroom = make_mailroom(home, **{"models.classifier": "tiny"})
    make_classifier(mailroom.settings.models_root, "1", WORDS)
    make_classifier(mailroom.settings.models_root, "2", RENAMED)
    mailroom.promoter.promote("tiny@1")
    return mailroom


def versions_of(mailroom: Running, document: Document) -> list[tuple[str, str]]:
    """Return (stage, model or "again") of the decisions of a version, in order."""
    _, events = mailroom.catalogue.documents.history(document.id)
    decisions = [(e.stage, e.data.get("model") or e.data.get("again") or "") for e in events]
    return [(stage, what) for stage, what in decisions if stage in ("classify", "route")]


def test_workers_follow_a_promotion_between_documents_and_never_inside_one(tmp_path: Path) -> None:
    """Given running workers, When versions alternate and a worker is killed between classification and filing,
    Then every document is classified and filed by one version, and the workers are the same processes as before."""
    home = tmp_path / "data"
    mailroom = mailroom_of(home)
    marker = tmp_path / "killed"
    with Running(home, fault=f"route.before:kill:torn-0@{marker}", models__classifier="tiny") as running:
        running.drop(letters("torn", 1))
        wait_for(marker.exists, 180, "a worker to be killed between two stages", running)
        mailroom.promoter.promote("tiny@2", force=True)
        torn = running.await_all({"torn-0.txt"})["torn-0.txt"]
        assert (torn.label, torn.model) == ("mail", "tiny@2")
        assert versions_of(running, torn) == [
            ("classify", "tiny@1"), ("route", "classify"), ("classify", "tiny@2"), ("route", ""),
        ]  # fmt: skip
        concurrency = running.settings.workers.concurrency
        wait_for(lambda: len(running.children()) == concurrency, 180, "a worker in the killed one's place", running)
        workers = {process.pid for process in running.children()}
        names: set[str] = set()
        for turn in range(4):
            batch = letters(f"turn{turn}", 6)
            names |= set(batch)
            running.drop(batch)
            wait_for(lambda: not batch.keys().isdisjoint(running.documents()), 180, "documents", running)  # noqa: B023
            if turn % 2:
                mailroom.promoter.promote("tiny@2", force=True)
            else:
                mailroom.promoter.rollback("tiny")
        documents = running.await_all(names)
        for name in names:
            document = documents[name]
            assert document.state is State.INDEXED and document.label == LETTER[str(document.model)], document
            assert versions_of(running, document) == [("classify", document.model), ("route", "")]
            expected = [LETTER[str(document.model)]]
            wait_for(lambda: filed(home, name) == expected, 180, f"{name} to be filed", running)  # noqa: B023
        running.drop(letters("last", 2))
        assert {d.model for n, d in running.await_all({"last-0.txt", "last-1.txt"}).items() if "last" in n} == {
            "tiny@2"
        }
        assert {process.pid for process in running.children()} == workers
        running.check_once()
    mailroom.close()


def filed(home: Path, name: str) -> list[str]:
    """Return the labels under which copies of this name are filed."""
    return [path.relative_to(home / "filed").parts[0] for path in (home / "filed").rglob(name)]


@pytest.fixture
def mailroom(tmp_path: Path) -> Iterator[Mailroom]:
    mailroom = mailroom_of(tmp_path / "data")
    yield mailroom
    mailroom.close()


@pytest.fixture
def url(mailroom: Mailroom) -> Iterator[str]:
    with serving(mailroom) as url:
        yield url


def put(who: httpx.Client, mailroom: Mailroom, name: str, text: str, label: str, **fields: str) -> str:
    headers = {"X-Filename": quote(name)}
    document = who.post("/v1/documents", content=text.encode(), headers=headers, params=fields).json()["id"]
    read_and_index(mailroom, document, text, label)
    return document


def test_why_names_the_sentence_and_the_examples_that_the_caller_may_see(mailroom: Mailroom, url: str) -> None:
    ann = client(url, mailroom, ["user:ann"])
    bob = client(url, mailroom, ["user:bob"])
    secret = put(ann, mailroom, "secret.txt", "The invoice of the merger: the total is huge.", "invoice")
    shared = put(bob, mailroom, "shared.txt", "An invoice for a pump. The total is 5.", "invoice", access="*")
    document = put(bob, mailroom, "asked.txt", "We fixed the pump. The invoice has a total of 7. Regards.", "invoice")
    assert bob.get(f"/v1/documents/{document}/why").json()["examples"] == []  # nobody has labelled anything yet
    for who, example in ((ann, secret), (bob, shared)):
        assert who.post(f"/v1/documents/{example}/approve", json={"label": "invoice"}).json()["state"] == "indexed"
    why = bob.get(f"/v1/documents/{document}/why").json()
    assert (why["label"], why["model"], why["recorded"]) == ("invoice", "tiny@1", "invoice")
    assert [span["text"] for span in why["spans"]] == ["The invoice has a total of 7.", "Regards."]
    assert why["spans"][0]["influence"] > 0 > why["spans"][1]["influence"]
    span = why["spans"][0]
    text = bob.get(f"/v1/documents/{document}/text", params={"start": span["start"], "end": span["end"]}).json()["text"]
    assert text == span["text"] and span["page"] == 1
    assert [example["document_id"] for example in why["examples"]] == [shared]
    assert secret not in json.dumps(why)
    assert ann.get(f"/v1/documents/{document}/why").status_code == 404
    assert ann.post(f"/v1/documents/{document}/approve", json={}).status_code == 404
    nobody = client(url, mailroom, ["user:bob"], ["read"])
    assert nobody.post(f"/v1/documents/{document}/approve", json={}).status_code == 403


def test_a_person_s_label_stands_against_plans_until_the_taxonomy_renames_it(mailroom: Mailroom, url: str) -> None:
    root = client(url, mailroom, admin=True)
    document = put(root, mailroom, "a.txt", "Dear Ann, regards.", "letter")
    other = put(root, mailroom, "b.txt", "Dear Bob, regards and more.", "letter")
    assert root.post(f"/v1/documents/{document}/approve", json={"label": "complaint"}).json()["code"] == "not-found"
    approved = root.post(f"/v1/documents/{document}/approve", json={"label": "complaint", "new": True}).json()
    assert (approved["label"], approved["model"][:11]) == ("complaint", "person:key:")
    record = root.get(f"/v1/documents/{document}/record").json()["events"][-1]
    assert (record["stage"], record["event"], record["data"]["proposed"]) == ("review", "approved", "letter")

    assert root.get("/v1/taxonomy").json()["labels"] == ["complaint", "invoice", "letter"]
    body = {"kind": "rename", "labels": ["complaint"], "into": ["claim"], "reason": "the law says so"}
    changed = root.post("/v1/taxonomy", json=body).json()
    assert root.get("/v1/taxonomy").json()["labels"] == ["claim", "invoice", "letter"]
    assert (changed["documents"], changed["operation"]["reason"]) == (1, "the law says so")
    root.post("/v1/taxonomy", json={"kind": "rename", "labels": ["letter"], "into": ["mail"]})
    plan_id, _ = mailroom.reclassify.plan(Filters())
    list(mailroom.reclassify.steps(plan_id))
    items = {i["document_id"]: (i["old"]["label"], i["new"]["label"]) for i in mailroom.catalogue.plans.items(plan_id)}
    assert items == {document: ("complaint", "claim"), other: ("letter", "mail")}
    assert mailroom.catalogue.documents.get(other).label == "letter"  # a plan is only a plan
    mailroom.reclassify.start(plan_id, "apply")
    list(mailroom.reclassify.steps(plan_id))
    after = mailroom.catalogue.documents.get(document)
    assert (after.label, after.model) == ("claim", approved["model"])

    refusal = root.post(f"/v1/documents/{other}/approve", json={"label": "complaint", "new": True}).json()
    assert (refusal["code"], "renamed, merged" in refusal["detail"]) == ("conflict", True)

    undone = root.post("/v1/taxonomy/undo", json={}).json()
    assert (undone["operation"]["kind"], undone["documents"]) == ("undo", 1)
    assert root.get("/v1/taxonomy").json()["labels"] == ["claim", "invoice", "letter"]
    reader = client(url, mailroom, ["user:ann"], ["read"])
    assert reader.post("/v1/taxonomy/undo", json={}).status_code == 403
    assert root.post("/v1/taxonomy", json={"kind": "retire", "labels": ["nothing"]}).status_code == 404


def test_a_person_gives_several_labels_and_rules_see_them_all(mailroom: Mailroom, url: str) -> None:
    rule = '[[rule]]\nname = "bills"\nwhen = { label = "invoice" }\ndestinations = ["folder:bills/{name}"]\n'
    (mailroom.settings.home / "rules.toml").write_text(rule)
    root = client(url, mailroom, admin=True)
    document = put(root, mailroom, "a.txt", "Dear Ann, the invoice follows. Regards.", "letter")
    path = f"/v1/documents/{document}"
    assert root.post(f"{path}/approve", json={"labels": ["letter", "nowhere"]}).json()["code"] == "not-found"
    assert not mailroom.catalogue.reviews.labels()  # nothing was changed
    approved = root.post(f"{path}/approve", json={"labels": ["letter", "invoice", "letter"]}).json()
    assert (approved["label"], approved["state"]) == ("letter", "indexed")
    data = root.get(f"{path}/record").json()["events"][-1]["data"]
    assert (data["also"], data["to"]["rules"]) == (["invoice"], ["bills"])
    assert root.post(f"{path}/approve", json={}).json()["label"] == "letter"
    assert root.get(f"{path}/record").json()["events"][-1]["data"]["also"] == ["invoice"]
    assert mailroom.taxonomy.labels_of(mailroom.catalogue.documents.get(document)) == {
        "letter": "letter",
        "invoice": "invoice",
    }
    root.post("/v1/taxonomy", json={"kind": "rename", "labels": ["invoice"], "into": ["bill"]})
    assert root.post(f"{path}/approve", json={}).json()["label"] == "letter"
    assert root.get(f"{path}/record").json()["events"][-1]["data"]["also"] == ["bill"]


class Shell:
    """Runs `mailroom` on the installation's stores."""

    def __init__(self, mailroom: Mailroom, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = ["--data", str(mailroom.settings.home), "--set", "models.classifier=tiny"]
        self._capsys = capsys

    def __call__(self, *words: str, code: int = exits.OK) -> str:
        assert main([*self._options, *words]) == code
        output = self._capsys.readouterr()
        return output.out if code == exits.OK else output.err


def test_the_commands_from_list_to_rollback(
    mailroom: Mailroom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(mailroom, capsys)
    golden = tmp_path / "golden.csv"
    golden.write_text("text,label\nthe invoice of the total,invoice\ndear ann,letter\n")
    make_classifier(mailroom.settings.models_root, "1", WORDS, name="new")
    first = shell("models", "promote", "new@1")
    assert "it was nothing" in first and "To go back" not in first
    assert {(row["version"], row["active"]) for row in json.loads(shell("models", "list", "--json"))} >= {
        ("1", True), ("2", False),
    }  # fmt: skip
    assert "2 lost" in shell("models", "compare", "tiny@1", "tiny@2", "--labels", str(golden))
    refused = shell("models", "promote", "tiny@2", "--golden", str(golden), code=exits.ERROR)
    assert "accuracy 0.0000 instead of 1.0000" in refused and "--force" in refused
    forced = shell("models", "promote", "tiny@2", "--golden", str(golden), "--force")
    assert "against the gate" in forced and "To go back: mailroom models rollback tiny" in forced
    assert "forced" in shell("models", "show", "tiny")
    assert "tiny@1 is active again" in shell("models", "rollback", "tiny")
    shell("models", "export", "tiny@2", str(tmp_path / "v.tar.gz"))
    shutil.rmtree(mailroom.settings.models_root / "tiny" / "2")
    assert "models promote tiny@2" in shell("models", "import", str(tmp_path / "v.tar.gz"))
    assert "there already" in shell("models", "import", str(tmp_path / "v.tar.gz"), code=exits.ERROR)


def test_the_taxonomy_by_commands(
    mailroom: Mailroom, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(mailroom, capsys)
    (mailroom.settings.home / "rules.toml").write_text(
        "\n".join(
            f'[[rule]]\nname = "{name}"\nwhen = {{ label = "{label}" }}\ndestinations = ["folder:x"]'
            for name, label in (("letters", "letter"), ("all", "*"))
        )
    )
    root = client(url, mailroom, admin=True)
    document = put(root, mailroom, "\uff1d1+1.txt", "Dear Ann, regards.", "letter")
    relabel = tmp_path / "relabel.csv"
    shell("taxonomy", "split", "letter", "--into", "letter", "--list", str(relabel), code=exits.USAGE)
    assert not relabel.exists()
    output = shell("taxonomy", "split", "letter", "--into", "complaint", "--into", "enquiry", "--list", str(relabel))
    assert "mailroom train --labels" in output and "mailroom reclassify plan --type letter" in output
    assert "Rules that name the old label and not the new one: letters" in output
    rows = relabel.read_text(encoding="utf-8-sig").splitlines()
    assert rows == ["document,label,name", f"{document},,'\uff1d1+1.txt"]  # a spreadsheet takes the full-width sign too
    (prediction,) = mailroom.classifiers.current().classify(["Dear Ann, regards."])
    assert prediction.label == "letter" and not prediction.confident
    assert "complaint" in shell("taxonomy", "list")
    shell("taxonomy", "undo")
    assert "undone" in shell("taxonomy", "history")
    shell(
        "taxonomy", "merge", "letter", "invoice", "--into", "paper", code=exits.ERROR
    )  # nothing would be left to tell
    shell("taxonomy", "rename", "letter", "mail")
    (prediction,) = mailroom.classifiers.current().classify(["Dear Ann, regards."])
    assert (prediction.label, prediction.model_label, prediction.confident) == ("mail", "letter", True)
    output = shell("taxonomy", "rename", "mail", "post")
    assert "1 filed documents" in output and "--type mail --type letter" in output
    shell("taxonomy", "undo")
    assert "mail" in shell("why", document)
    assert "is mail, indexed" in shell("approve", document, "--label", "mail")
    shell("taxonomy", "retire", "mail", code=exits.ERROR)
