"""The port Queries: searches under a name, each its owner's alone."""

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


def test_a_query_is_kept_found_and_forgotten(catalogue: Catalogue) -> None:
    made = catalogue.queries.create(ANN, "leases é", SEARCH)
    catalogue.queries.create(ANN, "a first", {"query": "x"})
    assert catalogue.queries.get(ANN, made.id) == made
    assert made.search == SEARCH
    assert names(catalogue, ANN) == ["a first", "leases é"]
    catalogue.queries.delete(ANN, made.id)
    assert names(catalogue, ANN) == ["a first"]
    with pytest.raises(Refused, match="not-found"):
        catalogue.queries.delete(ANN, made.id)
    with pytest.raises(Refused, match="not-found"):
        catalogue.queries.get(ANN, made.id)


@pytest.mark.parametrize(
    "other",
    [BEN, replace(BEN, admin=True), Caller(("group:hr",), key_id="k1"), replace(ANN, tenant="other"), Caller(())],
)
def test_to_others_it_is_not_there(catalogue: Catalogue, other: Caller) -> None:
    made = catalogue.queries.create(ANN, "leases", SEARCH)
    assert names(catalogue, other) == []
    for attempt in (catalogue.queries.get, catalogue.queries.delete):
        with pytest.raises(Refused, match="not-found"):
            attempt(other, made.id)
    assert catalogue.queries.create(other, "leases", SEARCH).id != made.id
    assert names(catalogue, ANN) == ["leases"]


def test_for_measuring_everyones_are_told_of_one_tenant(catalogue: Catalogue) -> None:
    for caller in (ANN, BEN, replace(ANN, tenant="other")):
        catalogue.queries.create(caller, "leases", {"query": caller.principals[-1]})
    assert [query.search["query"] for query in catalogue.queries.of_tenant()] == ["user:ann", "user:ben"]


def test_a_user_has_them_by_every_key_and_a_service_by_its_own(catalogue: Catalogue) -> None:
    catalogue.queries.create(ANN, "leases", SEARCH)
    assert names(catalogue, replace(ANN, key_id="k9", principals=("user:ann",))) == ["leases"]
    service = Caller(("group:hr",), key_id="k3")
    catalogue.queries.create(service, "pumps", SEARCH)
    assert names(catalogue, replace(service, key_id="k4")) == []


def test_a_name_stands_for_one_and_there_are_so_many(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.queries.create(ANN, "leases", SEARCH)
    with pytest.raises(Refused, match=r"conflict.*'leases'"):
        catalogue.queries.create(ANN, "leases", {"query": "other"})
    monkeypatch.setattr(queries, "MAX_QUERIES", 2)
    catalogue.queries.create(ANN, "pumps", SEARCH)
    with pytest.raises(Refused, match=r"conflict.*delete one"):
        catalogue.queries.create(ANN, "travel", SEARCH)
    catalogue.queries.create(BEN, "travel", SEARCH)
