"""Reclassification plans: a saved difference is applied and undone exactly as saved."""

from __future__ import annotations

from typing import Any

import pytest

from indexes.catalogue.catalogue import Catalogue
from pipeline.documents import Document, QueueName
from pipeline.errors import Refused
from pipeline.reclassify import current_decision
from tests.contracts.test_catalogue import arrive, claim, finish


def item(document: Document, label: str) -> dict[str, Any]:
    old = current_decision(document)
    return {"document_id": document.id, "old": old, "new": {**old, "label": label, "destinations": ["folder:{label}"]}}


def planned(catalogue: Catalogue, *documents: Document) -> str:
    plan_id = catalogue.plans.create("m@2", "rules", {})
    catalogue.plans.add(plan_id, [item(document, "contract") for document in documents], ready=True)
    return plan_id


def run(catalogue: Catalogue, plan_id: str, action: str, batch: int = 2) -> dict[str, int]:
    catalogue.plans.start(plan_id, action, batch)
    total: dict[str, int] = {}
    while jobs := catalogue.jobs.claim(QueueName.RECLASSIFY, "w", 60):
        for state, count in (catalogue.plans.execute(jobs[0]) or {}).items():
            total[state] = total.get(state, 0) + count
    return total


def test_apply_changes_what_was_saved_and_undo_puts_it_back(catalogue: Catalogue) -> None:
    documents = [finish(catalogue, number) for number in (1, 2, 3)]
    plan_id = planned(catalogue, *documents)
    assert [catalogue.documents.get(d.id) for d in documents] == documents  # a plan touches nothing
    assert run(catalogue, plan_id, "apply") == {"applied": 3, "stale": 0}
    assert {catalogue.documents.get(d.id).label for d in documents} == {"contract"}
    assert catalogue.plans.get(plan_id)["state"] == "applied"
    assert len(catalogue.jobs.due(QueueName.DELIVER)) == 3
    assert run(catalogue, plan_id, "apply") == {}  # a repeat has nothing left to do
    assert run(catalogue, plan_id, "undo") == {"undone": 3, "stale": 0}
    assert [catalogue.documents.get(d.id) for d in documents] == documents
    assert catalogue.plans.get(plan_id)["state"] == "undone"


def test_what_changed_since_is_stale_and_stays_as_it_is(catalogue: Catalogue) -> None:
    first, second = finish(catalogue, 1), finish(catalogue, 2)
    plan_id, other = planned(catalogue, first, second), planned(catalogue, first)
    run(catalogue, other, "apply")
    assert run(catalogue, plan_id, "apply") == {"applied": 1, "stale": 1}
    assert [i["document_id"] for i in catalogue.plans.items(plan_id, "stale")] == [first.id]


def test_a_batch_whose_lease_is_lost_changes_nothing(catalogue: Catalogue) -> None:
    document = finish(catalogue)
    plan_id = planned(catalogue, document)
    catalogue.plans.start(plan_id, "apply", 10)
    late = claim(catalogue, QueueName.RECLASSIFY)
    catalogue.plans.start(plan_id, "apply", 10)  # resumed elsewhere: the first run's jobs are void
    assert catalogue.plans.execute(late) is None
    assert catalogue.documents.get(document.id) == document
    assert catalogue.plans.execute(claim(catalogue, QueueName.RECLASSIFY)) == {"applied": 1, "stale": 0}


def test_an_item_is_stored_once_and_items_come_in_pages(catalogue: Catalogue) -> None:
    documents = [finish(catalogue, number) for number in (1, 2, 3)]
    plan_id = planned(catalogue, *documents)
    catalogue.plans.add(plan_id, [item(documents[0], "other")], ready=True)
    page = catalogue.plans.items(plan_id, limit=2)
    rest = catalogue.plans.items(plan_id, limit=2, after=page[-1]["document_id"])
    assert [i["document_id"] for i in [*page, *rest]] == sorted(d.id for d in documents)
    assert {i["new"]["label"] for i in [*page, *rest]} == {"contract"}


def test_the_last_comparison_makes_the_plan_ready(catalogue: Catalogue) -> None:
    documents = [finish(catalogue, number) for number in (1, 2)]
    plan_id = catalogue.plans.create("m@2", "rules", {})
    assert len(catalogue.plans.start(plan_id, "compare", 1, [d.id for d in documents])) == 2
    with pytest.raises(Refused, match="conflict"):
        catalogue.plans.start(plan_id, "apply", 1)
    for expected in ("comparing", "ready"):
        job = claim(catalogue, QueueName.RECLASSIFY)
        (document_id,) = job.payload["documents"]
        assert catalogue.plans.finish_comparison(job, [item(catalogue.documents.get(document_id), "contract")])
        assert not catalogue.plans.finish_comparison(job, [])
        assert catalogue.plans.get(plan_id)["state"] == expected
    assert catalogue.plans.get(plan_id)["counts"] == {"pending": 2}


def test_unknown_plans_and_actions_too_early_are_refused(catalogue: Catalogue) -> None:
    arrive(catalogue)
    with pytest.raises(Refused, match="not-found"):
        catalogue.plans.get("none")
    with pytest.raises(Refused, match="not-found"):
        catalogue.plans.start("none", "apply", 1)
    plan_id = planned(catalogue)
    with pytest.raises(Refused, match="conflict"):
        catalogue.plans.start(plan_id, "undo", 1)
