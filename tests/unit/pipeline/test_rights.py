"""What a key may do, compared with a plain specification on generated keys, places and principals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.questions import Caller
from pipeline.rights import SCOPES, Access

NAMES = ["hr", "HR", "hr2", "pay", "board"]
FOLDERS = st.lists(st.sampled_from([*NAMES, "", "."]), max_size=3).map("/".join)
SOURCES = st.one_of(st.just("*"), st.builds("{}/{}".format, st.sampled_from(NAMES), FOLDERS), st.sampled_from(NAMES))
PRINCIPALS = st.sampled_from(["*", "user:ann", "user:al", "user:*", "group:hr", "group:hr2", "user:"])
GRANTS = st.one_of(PRINCIPALS, st.sampled_from(["user:a*", "group:*", "group:hr*", "u*"]))
ACCESSES = st.builds(
    Access,
    st.builds(Caller, st.lists(PRINCIPALS, max_size=2).map(tuple), admin=st.sampled_from([False] * 9 + [True])),
    st.frozensets(st.sampled_from(sorted(SCOPES)), max_size=3),
    st.lists(SOURCES, max_size=2).map(tuple),
    st.lists(GRANTS, max_size=2).map(tuple),
    st.sampled_from([None, 10.0, 20.0]),
)


def specified_may_write(access: Access, source: str, folder: str) -> bool:
    """Compare the parts of a place with those of each of the key's places, one by one."""
    place = [source, *(part for part in folder.split("/") if part not in ("", "."))]
    for allowed in access.sources:
        name, *parts = allowed.split("/")
        parts = [name, *(part for part in parts if part not in ("", "."))]
        if allowed == "*" or place[: len(parts)] == parts:
            return True
    return access.caller.admin


def specified_may_name(access: Access, principal: str) -> bool:
    """Compare the principal with each name of the key, and with the beginning of each grant that ends with a star."""
    if access.caller.admin or principal in (*access.caller.principals, *access.grants):
        return True
    return any(grant[-1:] == "*" and principal[: len(grant) - 1] == grant[:-1] for grant in access.grants)


@settings(deadline=None, max_examples=400)
@given(ACCESSES, st.sampled_from([*NAMES, "hr/pay"]), FOLDERS)
def test_a_key_writes_to_its_places_and_below(access: Access, source: str, folder: str) -> None:
    expected = specified_may_write(access, source, folder)
    assert access.may_write_file(source, f"{folder}/a.txt") is expected


@pytest.mark.parametrize("path", ["hr2/a", "HR/a", "a", "hr", "hr ", "board/hr/a", "../hr/a", "hr\\a"])
def test_a_folder_s_neighbours_are_other_places(path: str) -> None:
    assert not Access(Caller(()), sources=("scans/hr",)).may_write_file("scans", path)
    assert Access(Caller(()), sources=("scans/hr",)).may_write_file("scans", f"hr/{path}")


@settings(deadline=None, max_examples=1000)
@given(ACCESSES, GRANTS)
def test_a_key_names_its_own_principals_and_its_grants(access: Access, principal: str) -> None:
    assert access.may_name(principal) is specified_may_name(access, principal)


@settings(deadline=None, max_examples=1000)
@given(ACCESSES, ACCESSES, st.sampled_from(NAMES), FOLDERS, GRANTS)
@example(Access(Caller(("user:*",))), Access(Caller(()), grants=("user:*",)), "hr", "", "user:ann")
@example(Access(Caller(("*",))), Access(Caller(()), grants=("*",)), "hr", "", "user:ann")
def test_a_key_without_excess_may_do_nothing_that_the_other_may_not(
    creator: Access, new: Access, source: str, folder: str, principal: str
) -> None:
    if creator.excess(new):
        return
    assert new.scopes <= creator.scopes or creator.caller.admin
    assert creator.caller.admin or not new.caller.admin
    path = f"{folder}/a.txt"
    assert creator.may_write_file(source, path) or not new.may_write_file(source, path)
    assert creator.may_name(principal) or not new.may_name(principal)
    assert creator.caller.admin or (new.expires_at or 1e9) <= (creator.expires_at or 1e9)


@settings(deadline=None)
@given(ACCESSES)
def test_a_key_has_no_excess_over_itself(access: Access) -> None:
    assert access.excess(access) == []
    if not access.caller.admin:
        administrator = replace(access, caller=replace(access.caller, admin=True))
        assert "all rights of an administrator" in access.excess(administrator)
