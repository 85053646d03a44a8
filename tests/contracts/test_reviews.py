"""Reviews: what people decided of documents."""

from __future__ import annotations

import pytest

from indexes.catalogue.catalogue import Catalogue
from pipeline.documents import Destination, Document, Event, QueueName, State
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller
from pipeline.reclassify import (
    approval,
    current_labels,
    delivered_to,
    document_labels,
    has_person_label,
    person_decision,
    person_prediction,
)
from pipeline.route import route
from pipeline.rules import load_rules
from pipeline.taxonomy import Operation
from tests.support.filed import file_away
from tests.support.memory_blobs import MemoryBlobs

FOLDER = Destination("folder", "{label}/{year}/{name}")


@pytest.fixture
def filed(catalogue: Catalogue) -> Document:
    return file_away(catalogue, MemoryBlobs(), "a.txt", "A text of some kind.", "letter", (FOLDER,))


def decide(catalogue: Catalogue, document: Document, label: str, *also: str) -> bool:
    routing = route(load_rules(None), person_prediction(label, "ann", also), document, "", {})
    sent = delivered_to(catalogue.documents.history(document.id)[1])
    data = {"by": "ann", "taxonomy": "", **({"also": list(also)} if also else {})}
    return catalogue.reviews.decide(approval(document, label, "ann", routing, sent), data)


def deliveries(catalogue: Catalogue) -> int:
    return len(catalogue.jobs.due(QueueName.DELIVER))


def test_a_decision_is_the_document_s_and_is_recorded(catalogue: Catalogue, filed: Document) -> None:
    before = deliveries(catalogue)
    assert decide(catalogue, filed, "invoice")
    document = catalogue.documents.get(filed.id)
    assert (document.label, document.probability, document.model, document.state) == (
        "invoice",
        1.0,
        "person:ann",
        State.INDEXED,
    )
    assert has_person_label(document) and not has_person_label(filed)
    event = catalogue.documents.history(filed.id)[1][-1]
    assert (event.stage, event.event, event.data["by"]) == ("review", "approved", "ann")
    assert (event.data["from"]["label"], event.data["to"]["label"]) == ("letter", "invoice")
    assert deliveries(catalogue) == before + 1
    assert catalogue.reviews.labels() == {"invoice"}
    assert list(catalogue.reviews.approved(ADMINISTRATOR)) == [filed.number]


def test_a_destination_under_the_same_label_is_not_served_again(catalogue: Catalogue, filed: Document) -> None:
    before = deliveries(catalogue)
    assert decide(catalogue, filed, "letter")
    assert deliveries(catalogue) == before
    again = catalogue.documents.get(filed.id)
    assert decide(catalogue, again, "letter")
    assert deliveries(catalogue) == before


def test_a_document_that_changed_meanwhile_stays_as_it_is(catalogue: Catalogue, filed: Document) -> None:
    assert decide(catalogue, filed, "invoice")
    assert not decide(catalogue, filed, "memo")
    assert catalogue.documents.get(filed.id).label == "invoice"


def test_only_a_caller_who_may_read_it_gets_it(catalogue: Catalogue, filed: Document) -> None:
    decide(catalogue, filed, "invoice")
    assert len(catalogue.reviews.approved(Caller(("user:bob",)))) == 1  # it is everyone's
    assert len(catalogue.reviews.approved(Caller(("user:bob",), tenant="other"))) == 0
    catalogue.documents.delete(filed.id)
    assert len(catalogue.reviews.approved(ADMINISTRATOR)) == 0
    assert catalogue.reviews.labels() == frozenset()


def test_a_document_on_its_way_is_not_decided(catalogue: Catalogue, filed: Document) -> None:
    catalogue.jobs.retry(filed.id)
    with pytest.raises(Refused, match="processing"):
        decide(catalogue, catalogue.documents.get(filed.id), "invoice")


def test_a_decision_follows_the_taxonomy(catalogue: Catalogue, filed: Document) -> None:
    decide(catalogue, filed, "invoice")
    document, events = catalogue.documents.get(filed.id), catalogue.documents.history(filed.id)[1]
    renamed = [Operation("1", 0.0, "ann", "rename", ("invoice",), ("bill",))]
    prediction = person_decision(document, events, renamed)
    assert (prediction.label, prediction.model, prediction.confident) == ("bill", "person:ann", True)


def test_a_decision_may_give_several_labels(catalogue: Catalogue, filed: Document) -> None:
    assert decide(catalogue, filed, "invoice", "urgent", "energy")
    document, events = catalogue.documents.get(filed.id), catalogue.documents.history(filed.id)[1]
    assert catalogue.reviews.labels() == {"invoice", "urgent", "energy"}
    assert document_labels(document, events, ()) == ("invoice", "urgent", "energy")
    operations = [
        Operation("1", 0.0, "ann", "rename", ("urgent",), ("express",)),
        Operation("2", 0.0, "ann", "retire", ("energy",), ()),
    ]
    called = current_labels(document, events, operations)
    assert called == {"invoice": "invoice", "urgent": "express", "energy": None}
    prediction = person_decision(document, events, operations)
    assert (prediction.label, prediction.also) == ("invoice", ("express",))
    assert document_labels(document, events, operations) == ("invoice", "express")
    assert decide(catalogue, document, "invoice")
    document, events = catalogue.documents.get(filed.id), catalogue.documents.history(filed.id)[1]
    assert document_labels(document, events, ()) == ("invoice",)


def test_the_labels_above_threshold_are_the_document_s_until_a_plan_decides(filed: Document) -> None:
    def event(stage: str, name: str, **data: object) -> Event:
        return Event(filed.id, 0.0, stage, name, data)

    judged = event("classify", "done", label="letter", also=["urgent"])
    assert document_labels(filed, [judged, event("route", "done")], ()) == ("letter", "urgent")
    assert document_labels(filed, [judged, event("reclassify", "applied")], ()) == ("letter",)
    assert document_labels(filed, [], ()) == ("letter",)
