"""What filters and facets ask of documents that stands in no column: languages, owner, metadata. And facets counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.tables import attributes, documents
from pipeline import facets as words
from pipeline.facets import CUSTOM, Count, Facet, field_of
from pipeline.questions import Filters

_COLUMNS = {name: documents.c[name] for name in ("label", "source", "state", "media_type")}
#: Names of the house's own fields that an error tells.
_TOLD = 50


def store(connection: sa.Connection, number: int, languages: Sequence[str], metadata: Mapping[str, Any]) -> None:
    """Put the document's attributes in the place of those that it had."""
    forget(connection, number)
    rows = [{"number": number, "field": name, "value": value} for name, value in words.attributes(languages, metadata)]
    if rows:
        connection.execute(sa.insert(attributes), rows)


def forget(connection: sa.Connection, number: int) -> None:
    connection.execute(sa.delete(attributes).where(attributes.c.number == number))


def conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """The part of a filter that is about attributes."""
    asked = {"language": filters.languages, "owner": filters.owners}
    asked |= {CUSTOM + name: values for name, values in filters.metadata}
    return [_having(name, values) for name, values in asked.items() if values]


def _having(name: str, values: Sequence[str]) -> sa.ColumnElement[bool]:
    # IN and not EXISTS: the index gives the few that have the value, and no document is looked at.
    chosen = sa.select(attributes.c.number).where(
        attributes.c.field == name, attributes.c.value.in_([words.cut(v) for v in values])
    )
    return documents.c.number.in_(chosen)


def counts(connection: sa.Connection, name: str, where: Sequence[sa.ColumnElement[bool]]) -> Counter[str]:
    """How many of the documents have each value of a facet."""
    field = field_of(name)
    value = _value(connection, field)
    query = (
        sa.select(value.label("value"), sa.func.count().label("n")).where(*where, value.is_not(None)).group_by("value")
    )
    if value is attributes.c.value:
        query = query.join_from(documents, attributes, attributes.c.number == documents.c.number).where(
            attributes.c.field == field
        )
    return Counter({str(row.value): int(row.n) for row in connection.execute(query)})


def _value(connection: sa.Connection, field: str) -> sa.ColumnElement[Any]:
    if field in _COLUMNS:
        return _COLUMNS[field]
    return _time(connection, field) if field in ("year", "month") else attributes.c.value


def _time(connection: sa.Connection, field: str) -> sa.ColumnElement[str]:
    """Year or month of the arrival, UTC."""
    at = documents.c.received_at
    if connection.dialect.name == "sqlite":
        return sa.func.strftime("%Y" if field == "year" else "%Y-%m", at, "unixepoch")
    return sa.func.to_char(sa.func.timezone("UTC", sa.func.to_timestamp(at)), "YYYY" if field == "year" else "YYYY-MM")


def facet(name: str, counted: Counter[str], limit: int) -> Facet:
    """The values to show."""
    newest = field_of(name) in ("year", "month")
    order = sorted(counted.items(), reverse=True) if newest else sorted(counted.items(), key=lambda e: (-e[1], e[0]))
    return Facet(name, tuple(Count(*each) for each in order[:limit]), max(0, len(order) - limit))


def unknown(connection: sa.Connection, names: Sequence[str], readable: Sequence[sa.ColumnElement[bool]]) -> list[str]:
    """Which of these fields of metadata no readable document has."""
    return [name for name in names if not _is_held(connection, CUSTOM + name, readable)]


def known(connection: sa.Connection, readable: Sequence[sa.ColumnElement[bool]]) -> list[str]:
    """Fields of metadata that readable documents have, in order, the first fifty. One seek in the index for each, so that
    millions of documents do not matter."""
    found: list[str] = []
    last = CUSTOM
    while len(found) < _TOLD:
        query = sa.select(sa.func.min(attributes.c.field)).where(
            attributes.c.field > last, attributes.c.field < CUSTOM + "\U0010ffff"
        )
        after = connection.scalar(query)
        if after is None:
            break
        if _is_held(connection, after, readable):
            found.append(after.removeprefix(CUSTOM))
        last = after
    return found


def _is_held(connection: sa.Connection, field: str, readable: Sequence[sa.ColumnElement[bool]]) -> bool:
    joined = sa.select(attributes.c.number).join_from(attributes, documents, attributes.c.number == documents.c.number)
    return connection.scalar(joined.where(attributes.c.field == field, *readable).limit(1)) is not None
