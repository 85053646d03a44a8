"""What the document service returns to a caller agrees with the catalogue's access rule, whatever the access list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents import Arrival
from pipeline.questions import ADMINISTRATOR, Caller, Filters
from workers.assemble import Mailroom
from workers.settings import load_settings

PRINCIPALS = st.lists(st.sampled_from(["user:a", "user:b", "group:hr", "*"]), max_size=3, unique=True)


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailroom]:
    overrides = {"data.path": str(tmp_path_factory.mktemp("data")), "catalogue.url": "memory:"}
    mailroom = Mailroom(load_settings(overrides, environ={}).settings)
    yield mailroom
    mailroom.close()


@settings(deadline=None, max_examples=60)
@given(access=PRINCIPALS, principals=PRINCIPALS, admin=st.booleans(), other=st.booleans())
def test_may_read_is_the_rule_of_the_catalogue(
    mailroom: Mailroom, access: list[str], principals: list[str], admin: bool, other: bool
) -> None:
    store, service = mailroom.catalogue.documents, mailroom.documents
    number = store.find(ADMINISTRATOR, Filters(), limit=1)[1]
    document, _ = store.receive(f"{number:064x}", 1, Arrival("api", "x", 1.0, tuple(access)))
    caller = Caller(tuple(principals), tenant="other" if other else "default", admin=admin)
    visible = {document.id for document in store.find(caller, Filters(), limit=500)[0]}
    assert service.may_read(caller, document.id) == (document.id in visible)
    store.delete(document.id)
    assert not service.may_read(caller, document.id)
