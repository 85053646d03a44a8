"""The authorisation function agrees with the catalogue's rule, whatever the access list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.open import open_catalogue
from pipeline.documents import Arrival
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller, Filters
from workers.api.auth import readable

PRINCIPALS = st.lists(st.sampled_from(["user:a", "user:b", "group:hr", "*"]), max_size=3, unique=True)
CATALOGUE = open_catalogue("memory:")


def may_read(caller: Caller, document_id: str) -> bool:
    try:
        return readable(CATALOGUE, caller, document_id).id == document_id
    except Refused:
        return False


@settings(deadline=None, max_examples=60)
@given(access=PRINCIPALS, principals=PRINCIPALS, admin=st.booleans(), other=st.booleans())
def test_may_read_is_the_rule_of_the_catalogue(
    access: list[str], principals: list[str], admin: bool, other: bool
) -> None:
    number = CATALOGUE.documents.find(ADMINISTRATOR, Filters(), limit=1)[1]
    document, _ = CATALOGUE.documents.receive(f"{number:064x}", 1, Arrival("api", "x", 1.0, tuple(access)))
    caller = Caller(tuple(principals), tenant="other" if other else "default", admin=admin)
    found = {each.id for each in CATALOGUE.documents.find(caller, Filters(), limit=500)[0]}
    assert may_read(caller, document.id) == (document.id in found)
    CATALOGUE.documents.delete(document.id)
    assert not may_read(caller, document.id)
