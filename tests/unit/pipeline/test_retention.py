"""How long documents are kept: generated rules, dates and documents against a plain reading, day by day."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import Document, Stage, State
from pipeline.errors import Misconfigured
from pipeline.retention import REVIEW, STARTS, RetentionRule, after, proposal

DAYS = st.dates(datetime.date(1990, 1, 1), datetime.date(2040, 12, 31))
PERIODS = st.builds(
    "{} {}".format, st.integers(0, 30), st.sampled_from(["day", "days", "month", "months", "year", "years"])
)
NAMES = st.sampled_from(["invoice", "contract", "letter"])
SOURCES = st.sampled_from(["hr", "tray"])
RULES = st.builds(
    RetentionRule,
    st.sampled_from(["a", "b", "c", "d"]),
    st.lists(NAMES, max_size=2).map(tuple),
    st.lists(SOURCES, max_size=1).map(tuple),
    PERIODS,
    st.sampled_from(STARTS),
    st.sampled_from(["review", "erase"]),
)


def make_document(label: str, source: str, arrived: datetime.date, dated: str) -> Document:
    at = datetime.datetime.combine(arrived, datetime.time(13), datetime.UTC).timestamp()
    fields = {"label": label, "metadata": {"date": dated} if dated else {}}
    place = ("1.txt", source, "1.txt", (), (), State.INDEXED, Stage.INDEX, at)
    return Document("1", 1, "default", "0" * 64, 1, *place, **fields)


def is_kept(rule: RetentionRule, document: Document, day: datetime.date, dated: str, arrived: datetime.date) -> bool:
    """Return True if a rule keeps a document on a day, by counting days, or by comparing calendars."""
    if rule.labels and document.label not in rule.labels:
        return False
    if rule.sources and document.source not in rule.sources:
        return False
    start = datetime.date.fromisoformat(dated) if dated and rule.start == "document-date" else arrived
    count, unit = rule.keep.split()
    if unit.startswith("day"):
        return (day - start).days < int(count)
    months = int(count) * (12 if unit.startswith("year") else 1)
    passed = (day.year - start.year) * 12 + day.month - start.month
    is_last_of_month = (day + datetime.timedelta(1)).month != day.month
    return passed < months or (passed == months and day.day < start.day and not is_last_of_month)


@given(
    st.lists(RULES, max_size=4),
    NAMES,
    SOURCES,
    DAYS,
    st.one_of(st.just(""), DAYS.map(str)),
    st.sampled_from(["", "dpdp"]),
)
def test_a_document_is_kept_until_the_last_rule_lets_go(rules, label, source, arrived, dated, profile) -> None:
    document = make_document(label, source, arrived, dated)
    result = proposal(rules, document, profile)
    matching = [rule for rule in rules if rule.matches(document)]
    if not matching:
        assert result is None
        return
    day_before = result.due - datetime.timedelta(1)
    keeping = [rule for rule in matching if is_kept(rule, document, day_before, dated, arrived)]
    assert not [rule for rule in matching if is_kept(rule, document, result.due, dated, arrived)]
    within_a_year = result.due == after(arrived, "1 year")
    assert (
        keeping
        or (profile and within_a_year)
        or result.due in (arrived, datetime.date.fromisoformat(dated or str(arrived)))
    )
    if profile:
        assert result.due >= after(arrived, "1 year")
    if keeping and not (profile and within_a_year):
        assert (result.then == REVIEW) == any(rule.then == REVIEW for rule in keeping)


@pytest.mark.parametrize(
    ("day", "period", "end"),
    [
        ("2024-01-31", "1 month", "2024-02-29"),
        ("2023-01-31", "1 month", "2023-02-28"),
        ("2024-02-29", "1 year", "2025-02-28"),
        ("2024-12-31", "90 days", "2025-03-31"),
        ("2024-05-31", "6 months", "2024-11-30"),
        ("9999-12-30", "99999 years", "9999-12-31"),
    ],
)
def test_periods_end_on_days_of_the_calendar(day: str, period: str, end: str) -> None:
    assert str(after(datetime.date.fromisoformat(day), period)) == end


@pytest.mark.parametrize("period", ["", "year", "-1 days", "1.5 years", "7 weeks"])
def test_text_that_is_not_a_period_is_refused(period: str) -> None:
    with pytest.raises(Misconfigured, match="bad-settings"):
        after(datetime.date(2024, 1, 1), period)


def test_a_date_that_is_none_counts_from_the_arrival() -> None:
    rule = RetentionRule("a", keep="1 year", start="document-date")
    arrived = datetime.date(2024, 5, 1)
    for dated in ("yesterday", "2024-13-01", ""):
        assert proposal([rule], make_document("x", "hr", arrived, dated)).due == datetime.date(2025, 5, 1)
