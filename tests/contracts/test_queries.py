"""Saved queries: searches under a name, visible to their owner alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from indexes.catalogue import queries
from indexes.catalogue.catalogue import Catalogue
from pipeline.errors import Refused
from pipeline.questions import Caller

ANN = Caller(("group:hr", "user:ann"), key_id="k1")
BEN = Caller(("group:hr", "user:ben"), key_id="k2")
SEARCH = {"query": '"notice period" +lease', "filters": {"label": ["contract"]}}


def names(catalogue: Catalogue, caller: Caller) -> list[str]:
    return [query.name for query in catalogue.queries.of_owner(caller)]


def test_a_query_is_stored_read_and_deleted(catalogue: Catalogue) -> None:
    query = catalogue.queries.create(ANN, "leases é", SEARCH)
    catalogue.queries.create(ANN, "a first", {"query": "x"})
    assert catalogue.queries.get(ANN, query.id) == query
    assert query.search == SEARCH
    assert names(catalogue, ANN) == ["a first", "leases é"]
    catalogue.queries.delete(ANN, query.id)
    assert names(catalogue, ANN) == ["a first"]
    with pytest.raises(Refused, match="not-found"):
        catalogue.queries.delete(ANN, query.id)
    with pytest.raises(Refused, match="not-found"):
        catalogue.queries.get(ANN, query.id)


@pytest.mark.parametrize(
    "other",
    [BEN, replace(BEN, admin=True), Caller(("group:hr",), key_id="k1"), replace(ANN, tenant="other"), Caller(())],
)
def test_for_other_callers_it_does_not_exist(catalogue: Catalogue, other: Caller) -> None:
    query = catalogue.queries.create(ANN, "leases", SEARCH)
    assert names(catalogue, other) == []
    for attempt in (catalogue.queries.get, catalogue.queries.delete):
        with pytest.raises(Refused, match="not-found"):
            attempt(other, query.id)
    assert catalogue.queries.create(other, "leases", SEARCH).id != query.id
    assert names(catalogue, ANN) == ["leases"]


def test_the_queries_of_all_callers_of_a_tenant(catalogue: Catalogue) -> None:
    for caller in (ANN, BEN, replace(ANN, tenant="other")):
        catalogue.queries.create(caller, "leases", {"query": caller.principals[-1]})
    assert [query.search["query"] for query in catalogue.queries.of_tenant()] == ["user:ann", "user:ben"]


def test_a_user_has_them_with_every_key_and_a_service_with_its_own(catalogue: Catalogue) -> None:
    catalogue.queries.create(ANN, "leases", SEARCH)
    assert names(catalogue, replace(ANN, key_id="k9", principals=("user:ann",))) == ["leases"]
    service = Caller(("group:hr",), key_id="k3")
    catalogue.queries.create(service, "pumps", SEARCH)
    assert names(catalogue, replace(service, key_id="k4")) == []


def test_a_name_is_unique_and_the_number_is_limited(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.queries.create(ANN, "leases", SEARCH)
    with pytest.raises(Refused, match=r"conflict.*'leases'"):
        catalogue.queries.create(ANN, "leases", {"query": "other"})
    monkeypatch.setattr(queries, "MAX_QUERIES", 2)
    catalogue.queries.create(ANN, "pumps", SEARCH)
    with pytest.raises(Refused, match=r"conflict.*delete one"):
        catalogue.queries.create(ANN, "travel", SEARCH)
    catalogue.queries.create(BEN, "travel", SEARCH)
