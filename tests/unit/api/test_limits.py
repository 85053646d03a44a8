"""Limits for each key, and the line for expensive requests."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MailroomError, Refused, Unavailable
from workers.api import limits
from workers.api.limits import BURST_SECONDS, ExpensiveRequests, KeyLimits


def test_a_key_has_its_own_requests_at_a_time() -> None:
    keys = KeyLimits(concurrent=2, rate=0)
    with keys.request("a"), keys.request("a"):
        with pytest.raises(Refused, match="too-many-requests"), keys.request("a"):
            pass
        with keys.request("b"):
            pass
    with keys.request("a"):
        pass


def test_all_keys_together_have_a_limit() -> None:
    keys = KeyLimits(concurrent=1, rate=0)
    with ExitStack() as stack:
        for number in range(limits.MAX_REQUESTS):
            stack.enter_context(keys.request(str(number)))
        with pytest.raises(Unavailable, match="overloaded"), keys.request("late"):
            pass
    with keys.request("late"):
        pass


@settings(deadline=None)
@given(
    # Quarters are exact in binary, so that both computations agree on the boundary.
    rate=st.sampled_from([0.25, 0.5, 1.0, 4.0, 64.0]),
    pauses=st.lists(st.integers(0, 12), min_size=1, max_size=300),
)
def test_a_key_has_the_rate_of_a_token_bucket(rate: float, pauses: list[int]) -> None:
    keys, now = KeyLimits(concurrent=1, rate=rate), 0.0
    size = max(1.0, BURST_SECONDS * rate)
    tokens = size
    for pause in pauses:
        now += pause / 4
        tokens = min(size, tokens + rate * pause / 4)
        if tokens >= 1:
            tokens -= 1
            keys._spend("a", now)
        else:
            with pytest.raises(Refused, match="too-many-requests"):
                keys._spend("a", now)


def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 3)
    keys = KeyLimits(concurrent=1, rate=1)
    for number in range(10):
        keys._spend(str(number), 0.0)
    assert set(keys._full_at) == {"7", "8", "9"}


def test_the_line_is_bounded_and_shared() -> None:
    """Two keys ask 30 times each while nothing ends: each gets half of the places, and a third key none."""

    async def play() -> list[str]:
        line, free, results = ExpensiveRequests(2), anyio.Event(), []

        async def ask(key: str) -> None:
            try:
                async with line.slot(key):
                    await free.wait()
                results.append("done")
            except MailroomError as error:
                results.append(error.code)

        async with anyio.create_task_group() as tasks:
            for key in ("a", "b", "c"):
                for _ in range(30):
                    tasks.start_soon(ask, key)
            await anyio.wait_all_tasks_blocked()
            free.set()
        async with line.slot("c"):
            results.append("later")
        return results

    results = anyio.run(play)
    assert results.count("done") == 18
    assert results.count("too-many-requests") == 42
    assert results.count("overloaded") == 30
    assert results[-1] == "later"


def test_a_turn_that_does_not_come_is_refused_and_leaves_no_place_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WAIT_SECONDS", 0.05)

    async def play() -> None:
        line = ExpensiveRequests(1)
        async with line.slot("a"):
            for _ in range(20):
                with pytest.raises(Unavailable):
                    async with line.slot("b"):
                        pass
        async with line.slot("b"):
            pass

    anyio.run(play)
