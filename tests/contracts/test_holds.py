"""Legal holds on every database, compared with a plain reading of what they are on."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from indexes.catalogue.catalogue import Catalogue
from pipeline.codec import encode_parsed
from pipeline.documents import Arrival, Child, Document, Element, Outcome, Parsed, QueueName, Stage, State
from pipeline.errors import Refused
from tests.contracts.test_catalogue import arrive, claim, content_hash

NAMES = ("Erika Mustermann", "Zoë Müller", "Ab12-99")
SPELLINGS = {
    "Erika Mustermann": ("erika  MUSTERMANN", "Erika\nMustermann"),
    "Zoë Müller": ("ZOE MULLER", "Zoë Müller"),
    "Ab12-99": ("AB12-99",),
}


def read(catalogue: Catalogue, document: Document, text: str) -> None:
    """Let a document have a text, and be indexed."""
    job = catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
    assert job.subject == document.id
    parsed = Parsed("text/plain", (Element("NarrativeText", text, 1),), 1, "test")
    outcome = Outcome(Stage.PARSE, result=(document.id * 2, encode_parsed(parsed)), state=State.INDEXED)
    catalogue.jobs.commit(job, outcome)


def test_a_generated_set_of_holds_stops_what_it_is_on_and_nothing_else(catalogue: Catalogue) -> None:
    generator = random.Random(15)
    mentions: dict[str, set[str]] = {}
    sources: dict[str, str] = {}
    for number in range(1, 31):
        names = {name for name in NAMES if generator.random() < 0.25}
        text = " and ".join(["a letter", *(generator.choice(SPELLINGS[name]) for name in sorted(names))])
        source = generator.choice(["hr", "tray"])
        place = generator.choice(["text", "path", "metadata"])
        path = f"in/{number}-{text if place == 'path' else 'x'}.txt"
        metadata = {"about": text} if place == "metadata" else {}
        arrival = Arrival(source, path, 1.0, ("*",), metadata=metadata)
        document = catalogue.documents.receive(content_hash(number), 10, arrival)[0]
        read(catalogue, document, text if place == "text" else "nothing")
        mentions[document.id], sources[document.id] = names, source
    on_documents = set(generator.sample(sorted(mentions), 4))
    subjects = {"Erika Mustermann", "Zoë Müller"}
    targets = [*(("document", i) for i in on_documents), *(("subject", name) for name in subjects), ("source", "hr")]
    placed = [catalogue.holds.add(kind, target, "case", "ann")[0] for kind, target in targets]
    assert catalogue.holds.all() == placed
    for document_id, names in mentions.items():
        stopped = document_id in on_documents or bool(names & subjects) or sources[document_id] == "hr"
        assert bool(catalogue.documents.holds_on(document_id)) == stopped
        if stopped:
            with pytest.raises(Refused, match="legal-hold"):
                catalogue.documents.delete(document_id)
        else:
            catalogue.documents.delete(document_id)
        state = catalogue.documents.get(document_id).state
        assert state is (State.INDEXED if stopped else State.DELETED)
    for hold in placed:
        catalogue.holds.remove(hold.id)
    for document_id in mentions:
        catalogue.documents.delete(document_id)


def test_a_hold_keeps_a_mail_with_its_attachments(catalogue: Catalogue) -> None:
    mail = arrive(catalogue, 1)
    child = Child(content_hash(2), 5, Arrival("tray", "in/1.txt/a.pdf", 1.0, ("*",)))
    catalogue.jobs.commit(claim(catalogue), Outcome("parse", children=(child,), state=State.INDEXED))
    attachment = next(d for d in catalogue.documents.by_number(range(1, 9)).values() if d.parent == mail.id)
    for target, other in ((mail.id, attachment.id), (attachment.id, mail.id)):
        hold, created = catalogue.holds.add("document", target, "case", "ann")
        assert created and not catalogue.holds.add("document", target, "again", "ben")[1]
        for document_id in (target, other):
            with pytest.raises(Refused, match="legal-hold"):
                catalogue.documents.delete(document_id)
        catalogue.holds.remove(hold.id)
    assert len(catalogue.documents.delete(mail.id)) == 2


def test_what_has_not_been_read_stays_while_a_subject_is_on_hold(catalogue: Catalogue) -> None:
    document = arrive(catalogue, 1)
    hold, _ = catalogue.holds.add("subject", "somebody", "case", "ann")
    with pytest.raises(Refused, match="legal-hold"):
        catalogue.documents.delete(document.id)
    read(catalogue, document, "nobody at all")
    catalogue.documents.delete(document.id)
    with pytest.raises(Refused, match="not-found"):
        catalogue.holds.add("document", document.id, "too late", "ann")
    catalogue.holds.remove(hold.id)
    with pytest.raises(Refused, match="not-found"):
        catalogue.holds.remove(hold.id)


def test_a_hold_beside_a_deletion_is_in_time_or_refused(catalogue: Catalogue) -> None:
    for number in range(1, 13):
        document = arrive(catalogue, number)
        with ThreadPoolExecutor(2) as pool:
            deletion = pool.submit(catalogue.documents.delete, document.id)
            hold = pool.submit(catalogue.holds.add, "document", document.id, "case", "ann")
        is_gone = catalogue.documents.get(document.id).state is State.DELETED
        assert is_gone == (deletion.exception() is None) == (hold.exception() is not None)
