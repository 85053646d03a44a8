"""Numbers and dates in a text, so that a query can ask for a range of them."""

from __future__ import annotations

import calendar
import contextlib
import datetime
import re
from collections.abc import Iterator

#: At most this many numbers and dates of a passage are indexed; a table of measurements may hold thousands.
MAX_VALUES = 200
#: Names of the months and their abbreviations: English, German, French, Spanish, Italian, Dutch, Portuguese, Swedish.
_NAMES = (
    "january jan januar jän jänner janvier janv enero ene gennaio gen januari janeiro",
    "february feb februar février févr fév febrero febbraio februari fevereiro fev",
    "march mar märz mär mars marzo maart mrt março",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag mei maio maj",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug août agosto ago augustus augusti",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre déc diciembre dic dicembre dezembro",
)
_MONTHS = {name: number for number, names in enumerate(_NAMES, 1) for name in names.split()}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_ENGLISH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    rf"(?<![\w-])(?:(?P<y1>\d{{4}})-(?P<m1>\d\d)-(?P<d1>\d\d)"  # 2026-11-24
    rf"|(?P<d2>\d{{1,2}})\.(?P<m2>\d{{1,2}})\.(?P<y2>\d{{4}})"  # 24.11.2026
    # 24 November 2026, 24. März 2026, 1er juin 2026, 24 de noviembre de 2026
    rf"|(?P<d3>\d{{1,2}})(?:st|nd|rd|th|er|º|\.)?\s(?:of\s|de\s)?(?P<m3>{_MONTH})\.?,?\s(?:de\s)?(?P<y3>\d{{4}})"
    rf"|(?P<m4>{_ENGLISH})\.?\s(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?,?\s(?P<y4>\d{{4}}))(?![\w-])",  # Nov 24, 2026
    re.IGNORECASE,
)
#: Not inside a code: PPR-9087 and 12.3.4 are not numbers.
_NUMBER = re.compile(r"(?<![\w.,/-])[-−]?(\d+(?:[.,' ]\d{3})*(?:[.,]\d+)?)(?![\w/-]|[.,]\d)")
_DIGIT = re.compile(r"\d")
_ISO = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d))?")
_FIRST = datetime.date(1970, 1, 1)


def number(text: str) -> float | None:
    """Return the value of "1,234.56", "1.234,56" or "1 234" as people mean it; None for anything else. A single comma
    before three digits separates thousands, a single point the fraction."""
    bare = text.strip().replace("−", "-").replace("'", "").replace("\u00a0", "").replace(" ", "")
    if not re.fullmatch(r"-?\d[\d.,]{0,30}", bare):
        return None
    comma, point = bare.rfind(","), bare.rfind(".")
    if comma > point and (point >= 0 or not re.fullmatch(r"-?\d{1,3}(,\d{3})+", bare)):
        bare = bare.replace(".", "").replace(",", ".")  # the comma separates the fraction
    elif bare.count(".") > 1:
        bare = bare.replace(".", "") if re.fullmatch(r"-?\d{1,3}(\.\d{3})+", bare) else "no"
    try:
        return float(bare.replace(",", ""))
    except ValueError:
        return None


def day(date: datetime.date) -> int:
    """Return the days since 1970-01-01."""
    return (date - _FIRST).days


def days(text: str) -> tuple[int, int] | None:
    """Return the first and last day of "2026-11-24" or "2026-11"; None for anything else."""
    match = _ISO.fullmatch(text)
    if not match:
        return None
    year, month = int(match[1]), int(match[2])
    if year < 1 or not 1 <= month <= 12:
        return None
    last = calendar.monthrange(year, month)[1]
    if match[3] is None:
        return day(datetime.date(year, month, 1)), day(datetime.date(year, month, last))
    if not 1 <= int(match[3]) <= last:
        return None
    exact = day(datetime.date(year, month, int(match[3])))
    return exact, exact


def numbers_and_dates(text: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return (numbers, days) in the text, without repeats. A date does not count as a number, but its year does."""
    if not _DIGIT.search(text):
        return (), ()
    day_numbers: dict[int, None] = {}
    numbers: dict[float, None] = {}
    for date in dates_in(text):
        day_numbers[day(date)] = None
        numbers[float(date.year)] = None
    rest = _DATE.sub(" ", text)
    for match in _NUMBER.finditer(rest):
        value = number(match.group())
        if value is not None and abs(value) < 1e15:
            numbers[value] = None
        if len(numbers) >= MAX_VALUES:
            break
    return tuple(numbers)[:MAX_VALUES], tuple(day_numbers)[:MAX_VALUES]


def dates_in(text: str) -> Iterator[datetime.date]:
    """Yield the dates in a text; an impossible one is left out."""
    for match in _DATE.finditer(text):
        form = next(digit for digit in "1234" if match[f"y{digit}"])
        year, month, date = (match[f"{part}{form}"].lower() for part in "ymd")
        number_of_month = int(month) if month.isdigit() else _MONTHS.get(month) or _MONTHS[month[:3]]
        with contextlib.suppress(ValueError):  # 31.02.2026
            yield datetime.date(int(year), number_of_month, int(date))
