"""Deliveries that were given up: listed, sent again, dropped, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from indexes.catalogue.catalogue import Catalogue
from pipeline.documents import Arrival, Destination, Outcome, QueueName, Stage, State
from pipeline.errors import Refused


def give_up(catalogue: Catalogue, count: int) -> list[str]:
    """Receive documents with a delivery each, park these, and return the ids."""
    jobs = catalogue.jobs
    for number in range(count):
        catalogue.documents.receive(f"{number:064x}", 1, Arrival("tray", f"{number}.txt", 0.0))
        (job,) = jobs.claim(QueueName.INGEST, "test", 60)
        outcome = Outcome(Stage.PARSE, state=State.REVIEW, deliveries=(Destination("webhook", "crm"),))
        jobs.commit(job, outcome)
        (delivery,) = jobs.claim(QueueName.DELIVER, "test", 60)
        jobs.park(delivery, "receiver-unavailable", "It does not answer.")
    return [row["id"] for row in catalogue.deliveries.find(dead=True)]


def test_what_was_given_up_is_listed_sent_again_and_dropped(catalogue: Catalogue) -> None:
    first, second, third = give_up(catalogue, 3)
    row = catalogue.deliveries.find(dead=True, limit=1)[0]
    assert (row["id"], row["kind"], row["target"], row["reason"]) == (first, "webhook", "crm", "receiver-unavailable")
    assert catalogue.deliveries.retry([first, "unknown"], "ann") == 1
    assert catalogue.jobs.due(QueueName.DELIVER) == [first]
    catalogue.deliveries.drop(second, "ann")
    with pytest.raises(Refused):
        catalogue.deliveries.drop(second, "ann")
    with pytest.raises(Refused):
        catalogue.deliveries.drop(first, "ann")  # it waits again
    assert [row["id"] for row in catalogue.deliveries.find(dead=True)] == [third]
    assert {row["state"] for row in catalogue.deliveries.find(dead=False)} == {"dead", "waiting"}
    assert catalogue.deliveries.retry(None, "ann") == 1
    _, events = catalogue.documents.history(catalogue.deliveries.find(dead=False)[0]["document_id"])
    assert ("retried", {"delivery": first, "by": "ann"}) in [(event.event, dict(event.data)) for event in events]
