"""Wrong keys by address, compared with a plain count on generated attempts and clocks."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from pipeline.errors import Refused
from workers.api import wrong_keys
from workers.api.wrong_keys import WrongKeys

CORRECT = "mr_correct"


class Attempts:
    """Sends keys at times of its own clock, and counts what is left in each address's bucket one failure at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_minute: int) -> None:
        self.now, self.per_minute = 1000.0, per_minute
        self.registry = CollectorRegistry()
        self.keys = WrongKeys.of(per_minute, self.registry)
        self.left: defaultdict[str, float] = defaultdict(lambda: float(per_minute))
        monkeypatch.setattr(wrong_keys.time, "monotonic", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for address, left in self.left.items():
            self.left[address] = min(self.per_minute, left + seconds * self.per_minute / 60)

    def send(self, address: str, secret: str) -> int:
        """Return the status: 200, 401 or 429."""
        try:
            self.keys.check(address, secret)
        except Refused as error:
            assert error.code == "too-many-requests" and error.retry_after >= 1
            return 429
        self.keys.count(address, secret, secret == CORRECT)
        return 200 if secret == CORRECT else 401


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([CORRECT, "x", "y"]), st.integers(0, 40)), max_size=40),
)
def test_an_address_is_slowed_by_its_own_wrong_keys_only(per_minute: int, attempts: list) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        side, before = Attempts(monkeypatch, per_minute), set()
        for address, secret, seconds in attempts:
            side.wait(float(seconds))
            may_try = side.left[address] >= 1 - 1e-6 or (secret == CORRECT and address in before)
            status = side.send(address, secret)
            assert status == (429 if not may_try else 200 if secret == CORRECT else 401)
            if status == 401:
                side.left[address] -= 1
            if status == 200:
                before.add(address)


def test_whoever_waits_as_long_as_said_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Attempts(monkeypatch, 3)
    assert [side.send("a", "x") for _ in range(5)] == [401, 401, 401, 429, 429]
    with pytest.raises(Refused) as refusal:
        side.keys.check("a", "x")
    side.wait(refusal.value.retry_after)
    assert [side.send("a", "x") for _ in range(2)] == [401, 429]
    outcomes = {
        name: side.registry.get_sample_value("mailroom_wrong_keys_total", {"outcome": name}) for name in OUTCOMES
    }
    assert outcomes == {"refused": 4, "slowed": 4}


OUTCOMES = ("refused", "slowed")


def test_0_is_no_limit_and_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Attempts(monkeypatch, 0)
    assert {side.send("a", "x") for _ in range(100)} == {401}
    monkeypatch.setattr(wrong_keys, "MAX_REMEMBERED", 10)
    side = Attempts(monkeypatch, 1)
    for number in range(100):
        side.send(str(number), "x"), side.send(str(number + 1000), CORRECT)
    assert len(side.keys._full_at) == len(side.keys._correct) == 10
    assert side.send("99", "x") == 429
    assert math.isfinite(side.keys._logged_at)
