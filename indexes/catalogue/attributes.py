"""Attributes that no column of `documents` holds (languages, owner, kinds of personal data,
metadata), and the counts of facets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.tables import attributes, documents
from pipeline import facets
from pipeline.facets import CUSTOM, Count, Facet, field_of
from pipeline.questions import Filters

_COLUMNS = {name: documents.c[name] for name in ("label", "source", "state", "media_type")}
#: The columns of a document that its attributes are made from, as `store` takes them.
SOURCES = ("languages", "metadata", "personal_data")
#: Names of the organisation's own fields that an error message lists at most.
_MAX_NAMES = 50

Conditions = Sequence[sa.ColumnElement[bool]]


def store(
    connection: sa.Connection,
    number: int,
    languages: Sequence[str],
    metadata: Mapping[str, Any],
    personal_data: Iterable[str] = (),
) -> None:
    """Replace the attributes of document ``number``."""
    forget(connection, number)
    pairs = facets.attributes(languages, metadata, personal_data)
    if pairs:
        rows = [{"number": number, "field": name, "value": value} for name, value in pairs]
        connection.execute(sa.insert(attributes), rows)


def forget(connection: sa.Connection, number: int) -> None:
    """Delete the attributes of document ``number``."""
    connection.execute(sa.delete(attributes).where(attributes.c.number == number))


def conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on `documents` for the part of ``filters`` that is about attributes."""
    values_of = {"language": filters.languages, "owner": filters.owners, "personal_data": filters.personal_data}
    values_of |= {CUSTOM + name: values for name, values in filters.metadata}
    c = attributes.c
    # IN and not EXISTS: the index yields the few documents that have the value, and no other row is read.
    return [
        documents.c.number.in_(sa.select(c.number).where(c.field == name, c.value.in_(map(facets.normalized, values))))
        for name, values in values_of.items()
        if values
    ]


def counts(connection: sa.Connection, name: str, conditions: Conditions) -> Counter[str]:
    """Return how many of the documents under ``conditions`` have each value of the facet ``name``."""
    field = field_of(name)
    value = _value(connection, field)
    columns = sa.select(value.label("value"), sa.func.count().label("n"))
    query = columns.where(*conditions, value.is_not(None)).group_by("value")
    if value is attributes.c.value:
        query = query.join_from(documents, attributes, attributes.c.number == documents.c.number)
        query = query.where(attributes.c.field == field)
    return Counter({str(row.value): int(row.n) for row in connection.execute(query)})


def _value(connection: sa.Connection, field: str) -> sa.ColumnElement[Any]:
    """Return the expression that a facet's field counts; "year" and "month" are those of the arrival, UTC."""
    if field in _COLUMNS:
        return _COLUMNS[field]
    if field not in ("year", "month"):
        return attributes.c.value
    received_at = documents.c.received_at
    if connection.dialect.name == "sqlite":
        return sa.func.strftime("%Y" if field == "year" else "%Y-%m", received_at, "unixepoch")
    time = sa.func.timezone("UTC", sa.func.to_timestamp(received_at))
    return sa.func.to_char(time, "YYYY" if field == "year" else "YYYY-MM")


def facet(name: str, counter: Counter[str], limit: int) -> Facet:
    """Return the first ``limit`` values of a facet: the most frequent ones, of years and months the newest."""
    if field_of(name) in ("year", "month"):
        entries = sorted(counter.items(), reverse=True)
    else:
        entries = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))
    return Facet(name, tuple(Count(*entry) for entry in entries[:limit]), max(0, len(entries) - limit))


def unknown_fields(connection: sa.Connection, names: Sequence[str], readable: Conditions) -> list[str]:
    """Return those of the metadata fields ``names`` that no document under the conditions ``readable`` has."""
    return [name for name in names if not _exists(connection, CUSTOM + name, readable)]


def known_fields(connection: sa.Connection, readable: Conditions) -> list[str]:
    """Return the metadata fields of the documents under the conditions ``readable``, sorted, the first fifty. Each
    costs one seek in the index, however many documents there are."""
    names: list[str] = []
    last = CUSTOM
    while len(names) < _MAX_NAMES:
        following = (attributes.c.field > last, attributes.c.field < CUSTOM + "\U0010ffff")
        field = connection.scalar(sa.select(sa.func.min(attributes.c.field)).where(*following))
        if field is None:
            break
        if _exists(connection, field, readable):
            names.append(field.removeprefix(CUSTOM))
        last = field
    return names


def _exists(connection: sa.Connection, field: str, readable: Conditions) -> bool:
    joined = sa.select(attributes.c.number).join_from(attributes, documents, attributes.c.number == documents.c.number)
    return connection.scalar(joined.where(attributes.c.field == field, *readable).limit(1)) is not None
